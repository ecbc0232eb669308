"""The page: a small web server over what the pipeline wrote, and the browser's part of it in ``page/``.

``settings.py`` is what it can be told, ``app.py`` the addresses, ``safety.py`` who may ask, ``hub.py`` the one poll
that serves everybody who looks; ``market.py``, ``history.py`` and ``pipeline.py`` are what is read.
"""
