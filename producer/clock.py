"""Time as the feeds see it."""

import threading
import time
from datetime import UTC, datetime


class Clock:
    """Real time, whose waits end at once when ``stop`` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def utc(self) -> datetime:
        """Give the time of day."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give seconds that only ever grow."""
        return time.monotonic()

    def sleep_until(self, moment: float) -> bool:
        """Wait for a moment of `monotonic`; False means that the feed should end instead of going on."""
        return not self._stop.wait(max(0.0, moment - time.monotonic()))
