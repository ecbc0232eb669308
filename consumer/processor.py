"""One shard, batch by batch, in the order of effects that loses nothing and doubles nothing.

decode - detect - alerts - ticks - archive - checkpoint: nothing is checkpointed before its effects are durable, and
every effect is idempotent, so stopping at any moment is the same as crashing, and both are harmless.
"""

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec

import tenacity
from amazon_kclpy.checkpoint_error import CheckpointError
from amazon_kclpy.kcl import Checkpointer

from common import aws
from common.errors import UserError
from common.health import Pulse
from common.tick import NotATickError, Tick, TickDecoder
from consumer.config import ShardConfig
from consumer.detection import Alert, Detector, SymbolState
from consumer.handover import give_up_lease
from consumer.origin import require_same_stream
from consumer.protocol import Record
from consumer.recovery import Recovery
from consumer.shards import Shard, read_shards
from consumer.sinks.alerts import AlertSink
from consumer.sinks.archive import Archive, Chunk
from consumer.sinks.dynamodb import BatchPutter
from consumer.sinks.row import Row, RowWriter
from consumer.sinks.ticks import Place, TicksTable
from consumer.skips import RecordsSkippedError, Skips
from consumer.unpacking import unpack

log = logging.getLogger(__name__)

_REQUESTS_AT_A_TIME = 8
_MOST_STATES = 10_000
"""With full windows a state takes 4.3 kB: 43 MB, which four shards' processes have left in a task of 1 GB."""

_RETRYABLE_CHECKPOINT_ERRORS = ("ThrottlingException", "KinesisClientLibDependencyException")

Arguments = ParamSpec("Arguments")


class _LeaseLostError(Exception):
    """Another worker has the shard: whatever is not archived is its to archive."""


class _Quarantined(NamedTuple):
    reason: str


class _Misplaced(NamedTuple):
    tick: Tick


class _Late(NamedTuple):
    tick: Tick


class _Conflict(NamedTuple):
    row: Row


_DUPLICATE = None
_Read = Tick | _Misplaced | _Quarantined
"""What a record is read as: a tick, one that belongs to another shard, or a reason why it is none."""
_Outcome = Row | _Misplaced | _Late | _Conflict | _Quarantined | None
"""What became of it: a row, one of another shard, a late one, one that contradicts a row, no tick, or nothing new."""


def _or_exit(
    method: Callable[Concatenate["ShardProcessor", Arguments], None],
) -> Callable[Concatenate["ShardProcessor", Arguments], None]:
    """Leave the process when a call cannot be completed: kclpy would report success, and the batch would be skipped."""

    @wraps(method)
    def guarded(self: "ShardProcessor", /, *arguments: Arguments.args, **keywords: Arguments.kwargs) -> None:
        try:
            method(self, *arguments, **keywords)
        except _LeaseLostError:
            self.lease_lost()
        except UserError as error:
            log.error("shard_failed", extra={"shard_id": self.shard_id, "error": str(error)})  # noqa: TRY400  (a person's error needs no traceback)
            sys.exit(error.exit_code)
        except RecordsSkippedError as error:
            log.error("records_skipped", extra={"shard_id": self.shard_id, "error": str(error)})  # noqa: TRY400  (the daemon's log has the traceback)
            sys.exit(1)
        except Exception:
            log.exception("shard_failed", extra={"shard_id": self.shard_id})
            sys.exit(1)

    return guarded


class ShardProcessor:
    """Does for one shard what the daemon asks; see `consumer.protocol.RecordProcessor` for when it is called."""

    def __init__(self, config: ShardConfig) -> None:
        self._config = config
        self._decoder = TickDecoder(config.max_clock_skew_seconds, config.field_map)
        self._detector = Detector(config.rules)
        self._states: OrderedDict[str, SymbolState] = OrderedDict()  # by their last record, oldest first
        self._forgotten = 0
        self._lease_is_lost = False
        self.shard_id = ""
        self._pulse = Pulse()
        self._skips = Skips()
        self._told_minute = 0
        self._seen = (0, 0)
        self._warned = False

    @_or_exit
    def initialize(self, shard_id: str) -> None:
        """Open the stores for ``shard_id``."""
        config = self._config
        self.shard_id = shard_id
        self._skips.expect()
        pool = ThreadPoolExecutor(_REQUESTS_AT_A_TIME)
        dynamodb = self._dynamodb = aws.client("dynamodb", connections=_REQUESTS_AT_A_TIME)
        self._rows = RowWriter(shard_id, config.rules, config.retention_days)
        putter = BatchPutter(dynamodb, pool)
        self._ticks = TicksTable(dynamodb, putter, config.ticks_table, self._rows)
        self._alerts = AlertSink(
            dynamodb,
            aws.client("sns"),
            putter,
            table=config.alerts_table,
            topic_arn=config.alert_topic_arn,
            retention_days=config.retention_days,
            pool=pool,
        )
        self._archive = Archive(
            aws.client("s3"), config.archive_bucket, shard_id, self._rows.columns, config.archive_seconds
        )
        self._shard = Shard(shard_id, read_shards(config.stream_name))
        self._recovery = Recovery(
            dynamodb,
            ticks_table=config.ticks_table,
            alerts_table=config.alerts_table,
            shard_id=shard_id,
            strangers=self._shard.strangers,
            detector=self._detector,
            pool=pool,
        )
        self._pulse.begin(shard_id)
        log.info("shard_started", extra={"shard_id": shard_id})

    @_or_exit
    def process_records(
        self, records: list[Record], millis_behind_latest: int | None, checkpointer: Checkpointer
    ) -> None:
        """Process a batch; an empty one closes the archive window of an idle shard in time."""
        if self._lease_is_lost:
            return  # an object that began here would have records that the shard's new owner archives too
        self._skips.check()
        records = self._new(records)
        if records:
            for record, outcome in self._process(records):
                complete = (
                    self._archive.add_reject(record, outcome.reason)
                    if isinstance(outcome, _Quarantined)
                    else self._archive.add(record, outcome)
                )
                self._finish(complete, checkpointer, millis_behind_latest)
        elif not millis_behind_latest:
            self._finish(self._archive.take_past(int(time.time() * 1000)), checkpointer, millis_behind_latest)
        self._pulse.beat()
        self._tell_each_minute(millis_behind_latest)

    @_or_exit
    def lease_lost(self) -> None:
        """Drop what is not archived: the shard's next owner reads it again."""
        self._give_up()
        self._stop("lease_lost")

    @_or_exit
    def shard_ended(self, checkpointer: Checkpointer) -> None:
        """Archive what is left, then let the children begin; to the KCL, shards of a deleted stream end too."""
        self._skips.check()
        self._finish(self._archive.take(), checkpointer, 0)
        require_same_stream(self._config.application_name, self._config.stream_name)
        self._checkpoint(checkpointer.checkpoint)
        self._stop("shard_ended")

    @_or_exit
    def shutdown_requested(self) -> None:
        """Give the shard up at once. Stopping is crashing: the next owner replays at most one archive window."""
        self._give_up()
        give_up_lease(self._dynamodb, self._config.application_name, self.shard_id, self._config.worker_id)
        self._stop("shutdown_requested")

    def _new(self, records: list[Record]) -> list[Record]:
        """Leave out what came before: the KCL may hand a batch over again when it restarts its reading of a shard."""
        if records and records[0].position <= self._seen:
            records = [record for record in records if record.position > self._seen]
        if records:
            self._seen = records[-1].position
        return records

    def _tell_each_minute(self, millis_behind_latest: int | None) -> None:
        """Say once in each minute of the clock that this shard is processed: scaling counts these lines."""
        minute = int(time.time() / 60)
        if minute != self._told_minute:
            self._told_minute = minute
            log.info("processing", extra={"shard_id": self.shard_id, "millis_behind_latest": millis_behind_latest})

    def _give_up(self) -> None:
        self._lease_is_lost = True
        self._archive.discard()

    def _stop(self, reason: str) -> None:
        self._pulse.end()
        log.info("shard_stopped", extra={"shard_id": self.shard_id, "reason": reason})

    def _process(self, batch: list[Record]) -> Iterable[tuple[Record, Row | _Quarantined | None]]:
        """Make a batch's rows and alerts durable; what became of each tick, with its record, is for the archive."""
        records, ticks = self._read(batch)
        self._recover(records, ticks)
        alerts: list[tuple[Alert, int]] = []
        outcomes = [self._detect(record, tick, alerts) for record, tick in zip(records, ticks, strict=True)]
        self._alerts.deliver(alerts)
        self._ticks.write([outcome for outcome in outcomes if type(outcome) is tuple])
        settled = [self._settle(record, outcome) for record, outcome in zip(records, outcomes, strict=True)]
        self._forget(ticks)
        return zip(records, settled, strict=True)

    def _read(self, batch: list[Record]) -> tuple[list[Record], list[_Read]]:
        """Decode a batch; a record that holds several ticks becomes as many."""
        ticks = [self._decode(record) for record in batch]
        if _Quarantined not in map(type, ticks):
            return batch, ticks  # the common case
        read = [part for record, tick in zip(batch, ticks, strict=True) for part in self._parts(record, tick)]
        return [record for record, _ in read], [tick for _, tick in read]

    def _parts(self, record: Record, tick: _Read) -> list[tuple[Record, _Read]]:
        """What a record holds: what was read as a whole, or if that is no tick, the several that it may hold."""
        parts = unpack(record) if isinstance(tick, _Quarantined) else []
        return [(part, self._decode(part)) for part in parts] or [(record, tick)]

    def _decode(self, record: Record) -> _Read:
        try:
            tick = self._decoder.decode(record.data, record.approximate_arrival_timestamp)
        except NotATickError as error:
            return _Quarantined(str(error))
        return tick if self._shard.takes(record.partition_key) else _Misplaced(tick)

    def _recover(self, records: list[Record], ticks: list[_Read]) -> None:
        """Rebuild the states of symbols that this process sees for the first time, or has forgotten."""
        first_records: dict[str, Record] = {}
        for record, tick in zip(records, ticks, strict=True):
            if isinstance(tick, Tick) and tick.symbol not in self._states:
                first_records.setdefault(tick.symbol, record)
        if first_records:
            self._states.update(self._recovery.states(first_records))
            self._warn_of_foreign_keys(first_records)

    def _forget(self, ticks: list[_Read]) -> None:
        """Drop the states of symbols that were silent for longest, if there are too many: the tables have them."""
        for symbol in {tick.symbol for tick in ticks if isinstance(tick, Tick)}:
            self._states.move_to_end(symbol)
        while len(self._states) > _MOST_STATES:
            self._states.popitem(last=False)
            self._forgotten += 1

    def _warn_of_foreign_keys(self, first_records: Mapping[str, Record]) -> None:
        """Say once, where it matters, that a symbol comes under a key that is not its own."""
        if self._shard.is_whole_stream or self._warned:
            return
        for symbol, record in first_records.items():
            if record.partition_key != symbol:
                self._warned = True
                log.warning(
                    "foreign_partition_key",
                    extra={
                        "shard_id": self.shard_id,
                        "symbol": symbol,
                        "partition_key": record.partition_key,
                        "see": "docs/contract.md, A tick that two shards see",
                    },
                )
                return

    def _detect(self, record: Record, tick: _Read, alerts: list[tuple[Alert, int]]) -> _Outcome:
        if not isinstance(tick, Tick):
            return tick
        state = self._states[tick.symbol]
        try:
            if state.last is not None and tick.timestamp <= state.last.timestamp:
                if tick.timestamp < state.last.timestamp:
                    return _Late(tick)
                return _DUPLICATE if tick.price == state.last.price else _Conflict(self._rows.conflict(tick, record))
            detection = self._detector.detect(state, tick)
            row = self._rows.accepted(tick, detection, record)
        except Exception as error:
            log.exception("record_failed", extra={"shard_id": self.shard_id, "sequence_number": record.sequence_number})
            return _Quarantined(f"processing failed: {error!r}")
        alerts.extend(
            (alert, record.approximate_arrival_timestamp) for alert in detection.alerts if not alert.suppressed
        )
        return row

    def _settle(self, record: Record, outcome: _Outcome) -> Row | _Quarantined | None:
        """Give a tick's row for the archive. A late or misplaced one is stored first, unless its place is taken."""
        if isinstance(outcome, _Misplaced):
            return self._store_misplaced(outcome.tick, record)
        if isinstance(outcome, _Late):
            return self._store_late(outcome.tick, record)
        return outcome.row if isinstance(outcome, _Conflict) else outcome

    def _store_misplaced(self, tick: Tick, record: Record) -> Row:
        """Store a tick of another shard, which writes over it when it gets it, too: the archive has both."""
        row = self._rows.misplaced(tick, record)
        self._ticks.write_if_absent(row)
        return row

    def _store_late(self, tick: Tick, record: Record) -> Row | None:
        """Store a late tick, after all that was on time; where its place is taken, the price decides what it is."""
        row = self._rows.late(tick, record)
        place = self._ticks.write_if_absent(row)
        if place is Place.OURS:
            return row
        return _DUPLICATE if place is Place.SAME_PRICE else self._rows.conflict(tick, record)

    def _finish(self, chunk: Chunk | None, checkpointer: Checkpointer, millis_behind_latest: int | None) -> None:
        """Write a complete chunk, then checkpoint the last record it covers."""
        if chunk is None:
            return
        objects = self._archive.write(chunk)
        last = chunk.last
        self._checkpoint(lambda: checkpointer.checkpoint(last.sequence_number, last.sub_sequence_number))
        log.info(
            "archived",
            extra={
                "shard_id": self.shard_id,
                **self._archive.summary(chunk),
                "objects": objects,
                "symbols_forgotten": self._forgotten,
                "millis_behind_latest": millis_behind_latest,
            },
        )
        self._forgotten = 0

    def _checkpoint(self, checkpoint: Callable[[], None]) -> None:
        """Checkpoint, patiently."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, CheckpointError) and error.value in _RETRYABLE_CHECKPOINT_ERRORS
            ),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=5),
            reraise=True,
        )
        try:
            retrying(checkpoint)
        except CheckpointError as error:
            if error.value == "ShutdownException":
                raise _LeaseLostError from error
            raise
