"""One shard, batch by batch, in the order of effects that loses nothing and doubles nothing.

decode - detect - alerts - ticks - archive - snapshot - checkpoint: nothing is checkpointed before its effects are
durable, and every effect is idempotent, so stopping at any moment is the same as crashing, and both are harmless. A
batch is cut where a chunk of the archive ends, so that the snapshot there is of the very records that it covers.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
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
from consumer.detection import Alert, Detector, Failure
from consumer.handover import give_up_lease
from consumer.memory import Memory, UnusableError
from consumer.origin import require_same_stream
from consumer.protocol import Record
from consumer.shards import Shard, read_shards
from consumer.sinks.alerts import AlertSink
from consumer.sinks.archive import Archive, Chunk, Rejected
from consumer.sinks.dynamodb import BatchPutter
from consumer.sinks.row import Row, RowWriter
from consumer.sinks.ticks import Place, TicksTable
from consumer.skips import RecordsSkippedError, Skips
from consumer.snapshots import END, Snapshots
from consumer.staleness import stale_symbols
from consumer.unpacking import unpack

log = logging.getLogger(__name__)

_REQUESTS_AT_A_TIME = 8
_MOST_NAMED = 10

_RETRYABLE_CHECKPOINT_ERRORS = ("ThrottlingException", "KinesisClientLibDependencyException")

Arguments = ParamSpec("Arguments")


class _LeaseLostError(Exception):
    """Another worker has the shard: whatever is not archived is its to archive."""


class _Unsettled(NamedTuple):
    """A tick that detection does not see; what becomes of it may depend on what is stored in its place."""

    tick: Tick


class _Misplaced(_Unsettled):
    """It belongs to another shard."""


class _Late(_Unsettled):
    """It came after a later one."""


class _Conflict(_Unsettled):
    """It contradicts the last one of its symbol."""


class _Effects(NamedTuple):
    """What a batch asks for: alerts to send, each with its record's arrival, and rows for the table."""

    alerts: list[tuple[Alert, int]]
    rows: list[Row]


_DUPLICATE = None
_Read = Tick | _Misplaced | Rejected
"""What a record is read as: a tick, one that belongs to another shard, or a reason why it is none."""
_Outcome = Row | _Unsettled | Rejected | None
"""What became of it: a row, one that is not settled yet, no tick, or nothing new."""


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
        self._row_ms = config.row_seconds * 1000
        self._memory = Memory(self._detector, config.retention_days)
        self._lease_is_lost = False
        self.shard_id = ""
        self._pulse = Pulse()
        self._skips = Skips()
        self._told_minute = 0
        self._seen = (0, 0)
        self._warned = False
        self._stale = frozenset[str]()
        """The symbols that were silent when it was last looked."""
        self._failures = Counter[str]()
        """How often each rule has failed since the last chunk was archived."""
        self._failing: dict[str, int] = {}
        """The minute in which it was last told of a rule that it fails."""

    @_or_exit
    def initialize(self, shard_id: str, checkpoint: str | None) -> None:
        """Open the stores for ``shard_id``, and remember what was known of it at its last checkpoint."""
        config = self._config
        self.shard_id = shard_id
        self._skips.expect()
        pool = ThreadPoolExecutor(_REQUESTS_AT_A_TIME)
        dynamodb = self._dynamodb = aws.client("dynamodb", connections=_REQUESTS_AT_A_TIME)
        self._rows = RowWriter(shard_id, self._detector.columns, config.retention_days)
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
        s3 = aws.client("s3")
        self._archive = Archive(s3, config.archive_bucket, shard_id, self._rows.columns, config.archive_seconds)
        self._shard = Shard(shard_id, read_shards(config.stream_name))
        self._snapshots = Snapshots(s3, config.archive_bucket, config.application_name, shard_id)
        self._remember(checkpoint)
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
            for number, part in enumerate(self._archive.cut(records)):
                if number:
                    self._finish(self._archive.take(), checkpointer, millis_behind_latest)
                if part:
                    self._process(part)
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
        self._snapshots.write(END, self._memory.save())
        self._checkpoint(checkpointer.checkpoint)
        self._snapshots.follow(END)
        self._stop("shard_ended")

    @_or_exit
    def shutdown_requested(self) -> None:
        """Give the shard up at once. Stopping is crashing: the next owner replays at most one archive window."""
        self._give_up()
        give_up_lease(self._dynamodb, self._config.application_name, self.shard_id, self._config.worker_id)
        self._stop("shutdown_requested")

    def _remember(self, checkpoint: str | None) -> None:
        """Take up the memory that belongs to a checkpoint; without one, that of the shard's parents."""
        found = (
            self._snapshots.of_parents(self._shard.parents) if checkpoint is None else self._snapshots.at(checkpoint)
        )
        for key, body in found:
            about = {"shard_id": self.shard_id, "key": key}
            if body is None:
                log.warning("snapshot_missing", extra={**about, "cost": "averages and sides start afresh"})
                continue
            try:
                changed = self._memory.load(body)
            except UnusableError as error:
                log.warning("snapshot_unusable", extra={**about, "error": str(error)})
            else:
                if changed:
                    log.warning("snapshot_of_other_rules", extra={**about, "changed": changed})

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
            about = {"shard_id": self.shard_id, "millis_behind_latest": millis_behind_latest}
            log.info("processing", extra={**about, "stale_symbols": self._count_stale(millis_behind_latest)})

    def _count_stale(self, millis_behind_latest: int | None) -> int:
        """Count the symbols whose quotes have stopped, and name those that are new among them."""
        after = self._config.stale_seconds
        if not after or (millis_behind_latest or 0) >= after * 1000:
            return 0  # whoever is late himself cannot tell
        stale = stale_symbols(self._memory, int(time.time() * 1000), after)
        if added := [name for name in stale if name not in self._stale]:
            about = {"shard_id": self.shard_id, "symbols": added[:_MOST_NAMED], "count": len(added)}
            log.warning("symbols_stale", extra={**about, "see": "docs/operate.md, Stale symbols"})
        self._stale = frozenset(stale)
        return len(stale)

    def _give_up(self) -> None:
        self._lease_is_lost = True
        self._archive.discard()

    def _stop(self, reason: str) -> None:
        self._pulse.end()
        log.info("shard_stopped", extra={"shard_id": self.shard_id, "reason": reason})

    def _process(self, batch: list[Record]) -> None:
        """Make a batch's rows and alerts durable, then add what became of each tick to the archive's open chunk."""
        records, ticks = self._read(batch)
        self._warn_of_foreign_keys(records, ticks)
        effects = _Effects([], [])
        outcomes = [self._detect(record, tick, effects) for record, tick in zip(records, ticks, strict=True)]
        self._alerts.deliver(effects.alerts)
        self._ticks.write(effects.rows)
        settled = [
            self._settle(record, outcome) if isinstance(outcome, _Unsettled) else outcome
            for record, outcome in zip(records, outcomes, strict=True)
        ]
        self._archive.add(records, settled)

    def _read(self, batch: list[Record]) -> tuple[list[Record], list[_Read]]:
        """Decode a batch; a record that holds several ticks becomes as many."""
        ticks = list(map(self._decode, batch))
        if Rejected not in map(type, ticks):
            return batch, ticks  # the common case
        read = [part for record, tick in zip(batch, ticks, strict=True) for part in self._parts(record, tick)]
        return [record for record, _ in read], [tick for _, tick in read]

    def _parts(self, record: Record, tick: _Read) -> list[tuple[Record, _Read]]:
        """What a record holds: what was read as a whole, or if that is no tick, the several that it may hold."""
        parts = unpack(record) if isinstance(tick, Rejected) else []
        return [(part, self._decode(part)) for part in parts] or [(record, tick)]

    def _decode(self, record: Record) -> _Read:
        try:
            tick = self._decoder.decode(record.data, record.approximate_arrival_timestamp)
        except NotATickError as error:
            return Rejected(str(error))
        shard = self._shard
        return tick if shard.is_whole_stream or shard.takes(record.partition_key) else _Misplaced(tick)

    def _warn_of_foreign_keys(self, records: Iterable[Record], ticks: Iterable[_Read]) -> None:
        """Say once, where it matters, that a symbol comes under a key that is not its own."""
        if self._shard.is_whole_stream or self._warned:
            return
        for record, tick in zip(records, ticks, strict=True):
            if isinstance(tick, Tick) and record.partition_key != tick.symbol:
                self._warned = True
                log.warning(
                    "foreign_partition_key",
                    extra={
                        "shard_id": self.shard_id,
                        "symbol": tick.symbol,
                        "partition_key": record.partition_key,
                        "see": "docs/contract.md, A tick that two shards see",
                    },
                )
                return

    def _detect(self, record: Record, tick: _Read, effects: _Effects) -> _Outcome:
        if not isinstance(tick, Tick):
            return tick
        arrived_ms = record.approximate_arrival_timestamp
        symbol = self._memory.recall(tick.symbol, arrived_ms)
        last = symbol.state.history.last
        try:
            if last is not None and tick.timestamp <= last.timestamp:
                if tick.timestamp < last.timestamp:
                    return _Late(tick)
                return _DUPLICATE if tick.price == last.price else _Conflict(tick)
            detection = self._detector.detect(symbol.state, tick)
            row = self._rows.accepted(tick, detection, record)
        except Exception as error:
            log.exception("record_failed", extra={"shard_id": self.shard_id, "sequence_number": record.sequence_number})
            return Rejected(f"processing failed: {error!r}")
        if detection.alerts:
            effects.alerts.extend((alert, arrived_ms) for alert in detection.alerts if not alert.suppressed)
        if detection.failures:
            self._tell_of_failures(tick, detection.failures)
        # a record may have arrived before the one that it follows: Kinesis's times are approximate
        if not self._row_ms or detection.alerts or arrived_ms - symbol.stored_ms >= self._row_ms:
            symbol.stored_ms = arrived_ms
            effects.rows.append(row)
        return row

    def _tell_of_failures(self, tick: Tick, failures: Iterable[Failure]) -> None:
        """Count a rule's failures, and tell of one a minute: it may fail on every tick."""
        minute = int(time.time() / 60)
        for failure in failures:
            self._failures[failure.rule] += 1
            if self._failing.get(failure.rule) != minute:
                self._failing[failure.rule] = minute
                about = {"rule": failure.rule, "symbol": tick.symbol, "timestamp": tick.timestamp}
                log.error("rule_failed", extra={"shard_id": self.shard_id, **about, "error": failure.error})

    def _settle(self, record: Record, unsettled: _Unsettled) -> Row | None:
        """Give a tick's row for the archive. A late or misplaced one is stored first, unless its place is taken.

        With thin rows it is for the archive alone: the table does not know which ticks there were.
        """
        if isinstance(unsettled, _Misplaced):
            return self._store_misplaced(unsettled.tick, record)
        if isinstance(unsettled, _Late):
            return self._store_late(unsettled.tick, record)
        return self._rows.conflict(unsettled.tick, record)

    def _store_misplaced(self, tick: Tick, record: Record) -> Row:
        """Store a tick of another shard, which writes over it when it gets it, too: the archive has both."""
        row = self._rows.misplaced(tick, record)
        if not self._row_ms:
            self._ticks.write_if_absent(row)
        return row

    def _store_late(self, tick: Tick, record: Record) -> Row | None:
        """Store a late tick, after all that was on time; where its place is taken, the price decides what it is."""
        row = self._rows.late(tick, record)
        place = Place.OURS if self._row_ms else self._ticks.write_if_absent(row)
        if place is Place.OURS:
            return row
        return _DUPLICATE if place is Place.SAME_PRICE else self._rows.conflict(tick, record)

    def _finish(self, chunk: Chunk | None, checkpointer: Checkpointer, millis_behind_latest: int | None) -> None:
        """Write a complete chunk and the snapshot after it, then checkpoint the last record it covers."""
        if chunk is None:
            return
        objects = self._archive.write(chunk)
        last = chunk.last
        self._snapshots.write(last.checkpoint, self._memory.save())
        self._checkpoint(lambda: checkpointer.checkpoint(last.sequence_number, last.sub_sequence_number))
        self._snapshots.follow(last.checkpoint)
        log.info(
            "archived",
            extra={
                "shard_id": self.shard_id,
                **self._archive.summary(chunk),
                "objects": objects,
                "symbols_forgotten": self._memory.forgotten,
                "rule_failures": dict(self._failures),
                "millis_behind_latest": millis_behind_latest,
            },
        )
        self._memory.forgotten = 0
        self._failures.clear()

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
