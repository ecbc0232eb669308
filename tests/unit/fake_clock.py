"""A clock whose waits take no time."""

import threading
from datetime import UTC, datetime, timedelta

from producer.clock import Clock


class FakeClock(Clock):
    """Starts at noon, jumps to the moment of each wait, and says at ``end`` seconds that the feed should end."""

    def __init__(self, end: float = float("inf")) -> None:
        super().__init__(threading.Event())
        self.now = 0.0
        self.end = end
        self.waits: list[float] = []

    def utc(self) -> datetime:
        """Noon plus the seconds that were waited for."""
        return datetime(2024, 3, 4, 12, tzinfo=UTC) + timedelta(seconds=self.now)

    def monotonic(self) -> float:
        """The seconds that were waited for."""
        return self.now

    def sleep_until(self, moment: float) -> bool:
        """Be at ``moment`` at once."""
        self.waits.append(moment)
        self.now = max(self.now, moment)
        return self.now < self.end
