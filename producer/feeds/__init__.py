"""Where quotes come from: one module a feed, of its name, each with ``open_feed(settings, clock)``.

That gives an iterator of ticks that ends when the clock says so. `producer.settings.FeedName` lists the names.
"""
