"""Where ticks wait for the stream: a lane for each symbol, which lets them out one record at a time.

PutRecords may take some records of a request and refuse others. So a lane has at most one record under way, in
whatever request, and its later ticks wait until that is settled: nothing overtakes what was refused. Lanes are
independent: while one waits, the others go on.
"""

import heapq
import random
import threading
import time
from collections import deque
from collections.abc import Callable

from producer.aggregation import PAYLOAD_OVERHEAD

REQUEST_RECORDS = 500
"""The most records in a PutRecords request."""

REQUEST_BYTES = 10 * 1024 * 1024
"""The most bytes in a PutRecords request, partition keys included."""

AGGREGATE_TICKS, AGGREGATE_BYTES = 200, 50_000
"""An aggregate takes no more ticks than this, and none that makes it larger than this."""

QUEUE_TICKS, AGGREGATED_QUEUE_TICKS = 10_000, 50_000
"""The most ticks that wait: what a shard takes in ten seconds, as a stop must not take longer than thirty."""

QUEUE_BYTES = 16 * 1024 * 1024
"""The most bytes that wait, however large the ticks are; and one more tick."""

COLLECT_SECONDS = 0.05
"""The longest that ticks wait for a request under way: others come meanwhile, and one that hangs delays nobody."""

LANE_TICKS = 200
"""The most ticks of one symbol that wait if each is a record: they go out one after another."""

_STOP_CHECK_SECONDS = 0.2
_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 0.05, 5.0


class Lane:
    """One symbol's ticks, oldest first; the first ``leaving`` of them are in a request."""

    __slots__ = ("leaving", "payloads", "refusals", "symbol", "taken")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.payloads: list[bytes] = []
        self.taken: list[Callable[[], None]] | None = None
        """Who is told that the stream has taken a tick: of each tick, or nobody."""
        self.leaving = 0
        self.refusals = 0
        """How often the stream has refused the first tick."""

    def next_record(self, most_ticks: int) -> tuple[int, int]:
        """Tell how many ticks the next record takes, and at most how many bytes it has."""
        size = 32 + 2 * len(self.symbol) + len(self.payloads[0])
        count = 1
        for payload in self.payloads[1:most_ticks]:
            larger = size + PAYLOAD_OVERHEAD + len(payload)
            if larger > AGGREGATE_BYTES:
                break
            size = larger
            count += 1
        return count, size


class Lanes:
    """All lanes; feeds put ticks in, several senders take batches out.

    Parameters
    ----------
    linger_seconds
        How long a tick waits for others to share its request while none is under way. While one is, ticks wait for its
        end, but no longer than `COLLECT_SECONDS` or this, whichever is longer.
    aggregate
        Whether a record may take more than one tick.
    live
        Whether a feed that is ahead loses ticks instead of waiting: of a symbol for which there is no room, only the
        newest tick that waits is kept.
    stop
        When it is set, feeds wait no more.

    """

    def __init__(self, *, linger_seconds: float, aggregate: bool, live: bool, stop: threading.Event) -> None:
        self._linger_seconds = linger_seconds
        self._record_ticks = AGGREGATE_TICKS if aggregate else 1
        self._queue_ticks = AGGREGATED_QUEUE_TICKS if aggregate else QUEUE_TICKS
        self._lane_ticks = AGGREGATED_QUEUE_TICKS if aggregate else LANE_TICKS
        # Aggregates grow while they linger, so that many of them are no reason to send them.
        self._full_at = AGGREGATED_QUEUE_TICKS if aggregate else REQUEST_RECORDS
        self._live = live
        self._stop = stop

        self._lock = threading.Lock()  # guards all that follows
        self._work = threading.Condition(self._lock)  # for senders
        self._room = threading.Condition(self._lock)  # for feeds
        self._lanes: dict[str, Lane] = {}  # those with ticks; each is also ready, resting or in a request
        self._ready: deque[Lane] = deque()
        self._under_way = 0  # requests
        self._leave_at = 0.0  # when those that are ready go out, full batch or not
        self._resting: list[tuple[float, str, Lane]] = []  # a heap: until when, which
        self._closed = self._abandoned = False
        self._bytes = 0
        self.waiting = 0
        """Ticks that were put and are not settled yet."""
        self.dropped = 0
        """Ticks that were lost to newer ones."""

    def put(self, symbol: str, payload: bytes, taken: Callable[[], None] | None = None) -> None:
        """Queue a tick; without room for it, wait, or drop older ones if the feed is live.

        ``taken`` is called when the stream has the tick. It must be quick: other feeds and senders wait for it.
        """
        with self._lock:
            if self._is_full_for(symbol):
                self._make_room(symbol)
            lane = self._lanes.get(symbol)
            if lane is None:
                lane = self._lanes[symbol] = Lane(symbol)
                self._make_ready(lane)
            lane.payloads.append(payload)
            if taken is not None:
                lane.taken = lane.taken or []
                lane.taken.append(taken)
            self.waiting += 1
            self._bytes += len(payload)
            if len(lane.payloads) == AGGREGATE_TICKS:
                self._hurry()

    def take_batch(self) -> list[Lane]:
        """Wait for lanes that may leave, and take them; none means that there will be no more."""
        with self._lock:
            while not self._abandoned and not (self._closed and not self._lanes):
                now = time.monotonic()
                self._wake_rested(now)
                if self._ready and self._may_leave(now):
                    return self._fill_batch()
                self._work.wait(self._patience(now))
            self._work.notify_all()  # the other senders end, too
            return []

    def settle(self, taken: list[Lane], refused: list[Lane]) -> None:
        """Let go of the ticks that the stream took; those that it refused rest, and leave again later."""
        now = time.monotonic()
        with self._lock:
            self._under_way -= 1
            for lane in taken:
                if lane.taken:
                    for tell in lane.taken[: lane.leaving]:
                        tell()
                    del lane.taken[: lane.leaving]
                self._forget(lane, slice(lane.leaving))
                lane.leaving = lane.refusals = 0
                if lane.payloads:
                    self._ready.append(lane)
                else:
                    del self._lanes[lane.symbol]
            for lane in refused:
                lane.leaving = 0
                lane.refusals += 1
                longest = min(_LONGEST_REST_SECONDS, _FIRST_REST_SECONDS * 2.0**lane.refusals)
                heapq.heappush(self._resting, (now + random.uniform(0, longest), lane.symbol, lane))  # noqa: S311  (jitter)
            if self._ready:
                self._leave_at = now  # these have waited for this request: long enough
            self._room.notify_all()

    def close(self) -> None:
        """Say that no more ticks will be put: what waits does not linger."""
        with self._lock:
            self._closed = True
            self._work.notify_all()

    def abandon(self) -> None:
        """Give up what waits: senders get no more."""
        with self._lock:
            self._abandoned = True
            self._work.notify_all()

    def _is_full_for(self, symbol: str) -> bool:
        if self.waiting >= self._queue_ticks or self._bytes >= QUEUE_BYTES:
            return True
        lane = self._lanes.get(symbol)
        return lane is not None and len(lane.payloads) >= self._lane_ticks

    def _make_room(self, symbol: str) -> None:
        self._hurry()
        if self._live:
            lane = self._lanes.get(symbol)
            if lane is not None:
                self.dropped += self._forget(lane, slice(lane.leaving, None))
            return
        while self._is_full_for(symbol) and not self._stop.is_set():
            self._room.wait(_STOP_CHECK_SECONDS)

    def _forget(self, lane: Lane, which: slice) -> int:
        gone = lane.payloads[which]
        del lane.payloads[which]
        self.waiting -= len(gone)
        self._bytes -= sum(map(len, gone))
        return len(gone)

    def _make_ready(self, lane: Lane) -> None:
        self._ready.append(lane)
        if len(self._ready) == 1:
            least = COLLECT_SECONDS if self._under_way else 0
            self._leave_at = time.monotonic() + max(self._linger_seconds, least)
            self._work.notify()
        elif len(self._ready) == self._full_at:
            self._work.notify()

    def _hurry(self) -> None:
        self._leave_at = 0.0
        self._work.notify()

    def _may_leave(self, now: float) -> bool:
        return now >= self._leave_at or len(self._ready) >= self._full_at or self._closed

    def _wake_rested(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            self._ready.append(heapq.heappop(self._resting)[2])
            self._leave_at = now

    def _patience(self, now: float) -> float | None:
        moments = [self._leave_at] if self._ready else []
        if self._resting:
            moments.append(self._resting[0][0])
        return min(moments) - now if moments else None

    def _fill_batch(self) -> list[Lane]:
        self._under_way += 1
        batch: list[Lane] = []
        size = 0
        while self._ready and len(batch) < REQUEST_RECORDS:
            lane = self._ready[0]
            ticks, record_size = lane.next_record(self._record_ticks)
            size += record_size
            if size > REQUEST_BYTES:
                break
            lane.leaving = ticks
            batch.append(self._ready.popleft())
        if self._ready or self._resting:
            self._work.notify()  # another sender sees to the rest, now or when it is due
        return batch
