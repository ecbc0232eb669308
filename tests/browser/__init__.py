"""The page in a real browser, over a real local run: ``make test-browser``."""
