"""What one URL is told, in a thread of its own: so one that fails or is slow holds up no other."""

import logging
import random
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from desk.notify.alerts import Alert, Key, notice_of
from desk.notify.queue import AlertQueue
from desk.notify.receivers import Receiver, UndeliveredError
from desk.notify.recent import Recent

log = logging.getLogger(__name__)

_MOST_IN_HAND = 500
"""More are put back into the queue until there is room: a URL may fail for hours."""

_LONGEST_WAIT_SECONDS = 300
_STUCK_SECONDS = 300


class InHand(NamedTuple):
    """An alert with the message of the queue that is to be deleted when the URL is told."""

    message: str
    alert: Alert


class Delivery:
    """Tells one URL of alerts.

    Parameters
    ----------
    receiver
        The URL.
    queue
        Where the alerts come from.
    group_seconds
        There is at most one message in so many.

    """

    def __init__(self, receiver: Receiver, queue: AlertQueue, group_seconds: float) -> None:
        self.receiver = receiver
        self._queue = queue
        self._group_seconds = group_seconds
        self._waiting: dict[Key, InHand] = {}
        self._told = Recent[Key]()
        self._due = 0.0
        self._failures = 0
        self._busy_since: float | None = None
        self._stopped = False
        self._changed = threading.Condition()

    @property
    def is_stuck(self) -> bool:
        """Whether one try takes so long that it will hardly end."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > _STUCK_SECONDS

    def take(self, offered: Iterable[InHand]) -> None:
        """Take alerts in hand: the queue's messages are deleted once they are told, or at once if they are known."""
        known: list[str] = []
        too_many: list[str] = []
        with self._changed:
            for one in offered:
                if one.alert.key in self._told or one.alert.key in self._waiting:
                    known.append(one.message)
                elif self._stopped or len(self._waiting) >= _MOST_IN_HAND:
                    too_many.append(one.message)
                else:
                    self._waiting[one.alert.key] = one
            room_in = self._due - time.monotonic() + 1
            self._changed.notify()
        self._queue.delete(known)
        self._queue.release(too_many, max(1, room_in))

    def run(self) -> None:
        """Tell of what there is whenever it may, until stopped; what is left is put back into the queue."""
        while group := self._next_group():
            self._busy_since = time.monotonic()
            self._tell(group)
            self._busy_since = None
        with self._changed:
            left = [one.message for one in self._waiting.values()]
        self._queue.release(left, 0)

    def stop(self) -> None:
        """Begin no other message."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _next_group(self) -> list[InHand]:
        """Wait until there is something to tell and it may be told; gives nothing once stopped."""
        with self._changed:
            while not self._stopped:
                left = self._due - time.monotonic()
                if self._waiting and left <= 0:
                    return sorted(self._waiting.values(), key=lambda one: (one.alert.timestamp, one.alert.key))
                self._changed.wait(left if self._waiting else None)
        return []

    def _tell(self, group: list[InHand]) -> None:
        """Tell of as many as one message holds."""
        notice = notice_of([one.alert for one in group], self.receiver.room)
        told = group[: notice.alerts]
        try:
            self.receiver.tell(notice)
        except UndeliveredError as error:
            self._wait_longer(str(error), len(group))
            return
        self._failures = 0
        self._due = time.monotonic() + self._group_seconds
        with self._changed:
            for one in told:
                self._told.add(one.alert.key)
                del self._waiting[one.alert.key]
        self._queue.delete(one.message for one in told)
        log.info("notified", extra={"url": self.receiver.name, "alerts": len(told), "waiting": len(group) - len(told)})

    def _wait_longer(self, reason: str, waiting: int) -> None:
        self._failures += 1
        seconds = min(2 ** min(self._failures - 1, 30), _LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311  (it spreads tries)
        self._due = time.monotonic() + seconds
        extra = {"url": self.receiver.name, "reason": reason, "waiting": waiting, "retry_in_seconds": round(seconds, 1)}
        log.warning("notify_failed", extra=extra)
