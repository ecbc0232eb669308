"""Where quotes come from: one module a feed, each an iterator of ticks that ends when its clock says so."""
