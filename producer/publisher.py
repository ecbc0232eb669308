"""Ticks into the stream: in batches, each symbol's in order, none lost."""

import heapq
import logging
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from common.aws import build_body_with, persist
from common.errors import UserError
from common.tick import Tick, encode

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient  # a development dependency: types only

log = logging.getLogger(__name__)

_to_json = msgspec.json.Encoder().encode

REQUEST_RECORDS = 500
"""The most records in a PutRecords request."""

REQUEST_BYTES = 10 * 1024 * 1024
"""The most bytes in a PutRecords request, partition keys included."""

RECORD_BYTES = 1024 * 1024
"""The most bytes in a record, its partition key included."""

LINGER_SECONDS = 0.05
"""How long a tick may wait for others to share its request."""

QUEUE_TICKS = 10_000
"""The most ticks that wait to be published; then the feed waits."""

LANE_TICKS = 200
"""The most ticks of one symbol that wait: they go out one a request, and a stop should not take long."""

_PROGRESS_SECONDS = 10
_STOP_CHECK_SECONDS = 0.2
_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 0.05, 5.0


class _Lane:
    """One symbol's waiting ticks, oldest first; at most its first one is in a request."""

    __slots__ = ("failures", "payloads", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.payloads: deque[bytes] = deque()
        self.failures = 0  # of the first payload, in a row

    def first_size(self) -> int:
        return len(self.symbol) + len(self.payloads[0])


class Publisher:
    """Publishes ticks in a thread of its own, until it is finished.

    PutRecords may take some records of a request and refuse others. A symbol therefore has at most one record in a
    request: whatever is refused, nothing overtakes it. Refused records are tried again, with jittered and growing
    rests, for as long as it takes; meanwhile other symbols go on.

    Parameters
    ----------
    kinesis
        A client that tries each call once, as `common.aws.client` makes it.
    stop
        Set by the publisher when publishing has failed for good; set by others to end a `put` that waits for room.

    """

    def __init__(self, kinesis: "KinesisClient", stream_name: str, stop: threading.Event) -> None:
        self._kinesis = kinesis
        build_body_with(kinesis, "PutRecords", "Records", _to_json)  # bytes become base64, as the protocol wants them
        self._stream_name = stream_name
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._failure: BaseException | None = None
        self._retried = 0
        self._last_sequence_numbers: dict[str, int] = {}
        self.published = 0
        """Ticks that the stream has taken."""

        # What follows is shared by the threads; _changed guards it.
        self._changed = threading.Condition()
        self._lanes: dict[str, _Lane] = {}  # those with ticks; each is also ready, resting or in a request
        self._ready: deque[_Lane] = deque()
        self._resting: list[tuple[float, str, _Lane]] = []  # a heap: until when, which
        self._leave_at = 0.0  # when what is ready goes out, full batch or not
        self._closed = False
        self.waiting = 0
        """Ticks that were put and not published yet."""

    @property
    def last_sequence_numbers(self) -> dict[str, str]:
        """The last sequence number of each shard that took a tick."""
        return {shard: str(number) for shard, number in sorted(self._last_sequence_numbers.copy().items())}

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def put(self, tick: Tick) -> None:
        """Queue a tick; wait while the queue is full.

        Raises
        ------
        UserError
            The tick is larger than a record may be.

        """
        payload = encode(tick)
        symbol = tick.symbol
        if len(payload) + len(symbol) > RECORD_BYTES:
            raise UserError(
                f"the tick of {symbol} at {tick.timestamp} has {len(payload)} bytes: more than Kinesis takes"
            )
        with self._changed:
            while self._is_full_for(symbol) and not self._stop.is_set():
                self._changed.wait(_STOP_CHECK_SECONDS)
            lane = self._lanes.get(symbol)
            if lane is None:
                lane = self._lanes[symbol] = _Lane(symbol)
                self._make_ready(lane)
            lane.payloads.append(payload)
            self.waiting += 1

    def finish(self) -> None:
        """Publish what is queued, and end.

        Raises
        ------
        UserError
            AWS refused for a reason that waiting does not mend.

        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _is_full_for(self, symbol: str) -> bool:
        lane = self._lanes.get(symbol)
        return self.waiting >= QUEUE_TICKS or (lane is not None and len(lane.payloads) >= LANE_TICKS)

    def _make_ready(self, lane: _Lane) -> None:
        self._ready.append(lane)
        if len(self._ready) == 1:
            self._leave_at = time.monotonic() + LINGER_SECONDS
        if len(self._ready) in {1, REQUEST_RECORDS}:
            self._changed.notify_all()

    def _run(self) -> None:
        report_at = time.monotonic() + _PROGRESS_SECONDS
        try:
            while batch := self._next_batch():
                self._publish(batch)
                if time.monotonic() >= report_at:
                    self._report()
                    report_at = time.monotonic() + _PROGRESS_SECONDS
        except BaseException as error:  # finish raises it, where somebody listens
            self._failure = error
            self._stop.set()

    def _report(self) -> None:
        log.info(
            "published",
            extra={"published": self.published, "waiting": self.waiting, "retried": self._retried},
        )

    def _next_batch(self) -> list[_Lane]:
        """Wait until a batch is full or has waited long enough; an empty one means that all is published."""
        with self._changed:
            while True:
                now = time.monotonic()
                self._wake_rested(now)
                if self._ready and (len(self._ready) >= REQUEST_RECORDS or now >= self._leave_at or self._closed):
                    return self._take_batch()
                if self._closed and not self._lanes:
                    return []
                self._changed.wait(self._patience(now))

    def _wake_rested(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            self._ready.append(heapq.heappop(self._resting)[2])
            self._leave_at = now

    def _patience(self, now: float) -> float | None:
        moments = [self._leave_at] if self._ready else []
        if self._resting:
            moments.append(self._resting[0][0])
        return min(moments) - now if moments else None

    def _take_batch(self) -> list[_Lane]:
        batch: list[_Lane] = []
        size = 0
        while self._ready and len(batch) < REQUEST_RECORDS:
            size += self._ready[0].first_size()
            if size > REQUEST_BYTES:
                break
            batch.append(self._ready.popleft())
        return batch

    def _publish(self, batch: list[_Lane]) -> None:
        records = [{"Data": lane.payloads[0], "PartitionKey": lane.symbol} for lane in batch]
        answer = persist(
            lambda: self._kinesis.put_records(StreamName=self._stream_name, Records=records),  # type: ignore[arg-type]  # the stubs want a union of unions
            about=f"stream {self._stream_name}",
        )
        now = time.monotonic()
        with self._changed:
            for lane, result in zip(batch, answer["Records"], strict=True):
                if "SequenceNumber" in result:
                    self._settle(lane, result)
                else:
                    self._rest(lane, now, result)
            if self._ready:
                self._leave_at = now  # these have waited for this request: long enough
            self._changed.notify_all()  # there is room

    def _settle(self, lane: _Lane, result: Any) -> None:  # noqa: ANN401  (a plain dict at run time; its stub is a TypedDict of strings)
        shard, number = result["ShardId"], int(result["SequenceNumber"])
        if number > self._last_sequence_numbers.get(shard, -1):
            self._last_sequence_numbers[shard] = number
        self.published += 1
        self.waiting -= 1
        lane.payloads.popleft()
        lane.failures = 0
        if lane.payloads:
            self._ready.append(lane)
        else:
            del self._lanes[lane.symbol]

    def _rest(self, lane: _Lane, now: float, result: Any) -> None:  # noqa: ANN401  (as above)
        self._retried += 1
        lane.failures += 1
        longest = min(_LONGEST_REST_SECONDS, _FIRST_REST_SECONDS * 2.0**lane.failures)
        heapq.heappush(self._resting, (now + random.uniform(0, longest), lane.symbol, lane))  # noqa: S311  (jitter)
        if lane.failures == 5:  # fewer are everyday life
            log.warning(
                "record_refused",
                extra={
                    "symbol": lane.symbol,
                    "code": result.get("ErrorCode"),
                    "error": result.get("ErrorMessage"),
                },
            )
