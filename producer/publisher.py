"""Ticks into the stream: in batches, each symbol's in order, none lost."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from common.aws import build_body_with, is_retryable, persist, read_body_with
from common.errors import UserError
from common.telemetry import metrics
from common.tick import Tick
from producer.aggregation import aggregate
from producer.lanes import Lane, Lanes
from producer.wire import Received, payload

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient  # a development dependency: types only

log = logging.getLogger(__name__)

RECORD_BYTES = 1024 * 1024
"""The most bytes in a record, its partition key included."""

SENDERS = 4
"""Requests under way at a time."""

_REPORT_SECONDS = 10
_THROTTLED = {"KMSThrottlingException", "LimitExceededException", "ProvisionedThroughputExceededException"}


class _Result(msgspec.Struct, rename="pascal", gc=False):
    """What has become of a record: the stream took it, or refused it."""

    shard_id: str = ""
    sequence_number: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class _Answer(msgspec.Struct, rename="pascal"):
    records: list[_Result]


_decode_answer = msgspec.json.Decoder(_Answer).decode


class Publisher:
    """Publishes ticks in threads of its own, until it is finished.

    What the stream refuses is tried again, with jittered and growing rests, for as long as it takes; `Lanes` keeps
    each symbol's order.

    Parameters
    ----------
    kinesis
        A client that tries each call once, as `common.aws.client` makes it.
    stop
        Set by the publisher when publishing has failed for good; set by others to end a `put` that waits for room.
    linger_seconds
        How long a tick waits for others to share its request, if none is under way: `Lanes`.
    aggregate
        Whether a symbol's ticks share records, in the format of the Kinesis Producer Library.
    live
        Whether `put` drops a symbol's older ticks when there is no room, instead of waiting.
    beat
        Is called every ten seconds in which the stream took something, or nothing is left for it to take.
    embedded_metrics
        Whether CloudWatch makes metrics of the counts in the log.

    """

    def __init__(
        self,
        kinesis: "KinesisClient",
        stream_name: str,
        stop: threading.Event,
        *,
        linger_seconds: float = 0,
        aggregate: bool = False,
        live: bool = False,
        beat: Callable[[], None] = lambda: None,
        embedded_metrics: bool = True,
    ) -> None:
        self._kinesis = kinesis
        build_body_with(kinesis, "PutRecords", "Records", msgspec.json.encode)  # bytes become base64
        read_body_with(kinesis, "PutRecords", _read_answer)
        self._stream_name = stream_name
        self._embedded_metrics = embedded_metrics
        self._stop = stop
        self._beat = beat
        self._lanes = Lanes(linger_seconds=linger_seconds, aggregate=aggregate, live=live, stop=stop)
        self._senders = [threading.Thread(target=self._send, name=f"sender-{n}", daemon=True) for n in range(SENDERS)]
        self._reporter = threading.Thread(target=self._report_regularly, name="reporter", daemon=True)
        self._finished = threading.Event()
        self._failure: BaseException | None = None
        self._newest = ""  # of the ticks' timestamps
        self._reported: dict[str, int] = {}

        self._counting = threading.Lock()  # guards all that follows
        self._last_sequence_numbers: dict[str, int] = {}
        self._retried = self._throttled = 0
        self.published = 0
        """Ticks that the stream has taken."""

    @property
    def waiting(self) -> int:
        """Ticks that were put and not published yet."""
        return self._lanes.waiting

    @property
    def last_sequence_numbers(self) -> dict[str, str]:
        """The last sequence number of each shard that took a tick."""
        with self._counting:
            return {shard: str(number) for shard, number in sorted(self._last_sequence_numbers.items())}

    def start(self) -> None:
        """Begin to publish."""
        for thread in (*self._senders, self._reporter):
            thread.start()

    def put(self, tick: Tick | Received) -> None:
        """Queue a tick; without room for it, wait, or drop older ones of its symbol if the feed is live.

        What was received from another system is told when the stream has taken it, from a sender's thread.

        Raises
        ------
        UserError
            The tick is larger than a record may be.

        """
        if isinstance(tick, Received):
            self._newest = max(self._newest, tick.timestamp)
            self._lanes.put(tick.key, tick.payload, tick.taken)
            return
        data = payload(tick)
        if len(data) + len(tick.symbol) > RECORD_BYTES:
            raise UserError(
                f"the tick of {tick.symbol} at {tick.timestamp} has {len(data)} bytes: more than Kinesis takes"
            )
        self._newest = max(self._newest, tick.timestamp)
        self._lanes.put(tick.symbol, data)

    def finish(self) -> None:
        """Publish what is queued, and end.

        Raises
        ------
        UserError
            AWS refused for a reason that waiting does not mend.

        """
        self._lanes.close()
        for sender in self._senders:
            sender.join()
        self._finished.set()
        self._reporter.join()
        if self._failure is not None:
            raise self._failure

    def _send(self) -> None:
        try:
            while batch := self._lanes.take_batch():
                self._publish(batch)
        except BaseException as error:  # finish raises it, where somebody listens
            self._failure = self._failure or error
            self._stop.set()
            self._lanes.abandon()

    def _publish(self, batch: list[Lane]) -> None:
        records = [{"Data": _data(lane), "PartitionKey": lane.symbol} for lane in batch]
        results = persist(
            lambda: self._put_records(records, batch),
            about=f"stream {self._stream_name}",
            stop=lambda _: self._failure is not None,
        )
        taken, refused = [], []
        with self._counting:
            for lane, result in zip(batch, results, strict=True):
                if result.sequence_number is not None:
                    taken.append(lane)
                    self.published += lane.leaving
                    self._remember(result.shard_id, int(result.sequence_number))
                else:
                    refused.append(lane)
                    self._count_retry(lane.leaving, result.error_code)
                    if lane.refusals == 4:  # fewer are everyday life
                        log.warning(
                            "record_refused",
                            extra={"symbol": lane.symbol, "code": result.error_code, "error": result.error_message},
                        )
        self._lanes.settle(taken, refused)

    def _put_records(self, records: Any, batch: list[Lane]) -> Any:  # noqa: ANN401  (our own types: botocore sees neither body)
        try:
            return self._kinesis.put_records(StreamName=self._stream_name, Records=records)["Records"]
        except (ClientError, BotoCoreError) as error:
            if is_retryable(error):
                code = error.response["Error"]["Code"] if isinstance(error, ClientError) else None
                with self._counting:
                    self._count_retry(sum(lane.leaving for lane in batch), code)
            raise

    def _count_retry(self, ticks: int, code: str | None) -> None:
        self._retried += ticks
        if code in _THROTTLED:
            self._throttled += ticks

    def _remember(self, shard: str, sequence_number: int) -> None:
        if sequence_number > self._last_sequence_numbers.get(shard, -1):
            self._last_sequence_numbers[shard] = sequence_number

    def _report_regularly(self) -> None:
        while not self._finished.wait(_REPORT_SECONDS):
            self._report()
        self._report()

    def _report(self) -> None:
        totals = {
            "published": self.published,
            "retried": self._retried,
            "throttled": self._throttled,
            "dropped": self._lanes.dropped,
        }
        since = {name: total - self._reported.get(name, 0) for name, total in totals.items()}
        self._reported = totals
        if since["published"] or not self.waiting:
            self._beat()
        values: dict[str, tuple[float, str]] = {name: (count, "Count") for name, count in since.items()}
        values["waiting"] = (self.waiting, "Count")
        if self._newest:
            lag = datetime.now(UTC) - datetime.fromisoformat(self._newest)
            values["feed_lag_seconds"] = (lag.total_seconds(), "Seconds")
        level = logging.WARNING if since["dropped"] else logging.INFO
        extra = metrics(values, StreamName=self._stream_name)
        if not self._embedded_metrics:
            del extra["emf"]
        log.log(level, "published", extra=extra)


def _data(lane: Lane) -> bytes:
    leaving = lane.payloads[: lane.leaving]
    return leaving[0] if len(leaving) == 1 else aggregate(lane.symbol, leaving)


def _read_answer(body: bytes) -> dict[str, Any]:
    try:
        return {"Records": _decode_answer(body).records}
    except msgspec.DecodeError as error:
        raise ResponseParserError(str(error)) from None  # which is worth another try
