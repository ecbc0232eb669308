"""How tests wait for what others do in their own time."""

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], seconds: float = 60, *, pause_seconds: float = 0.01) -> None:
    """Wait until it is so; fail if that takes too long. What is expensive to ask deserves a pause."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(pause_seconds)
