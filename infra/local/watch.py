"""Collects what there is to see of a run, from what the pipeline wrote."""

import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from desk.rows import Row
from infra.local.stores import Lease, Stores

MOST_SYMBOLS = 24
_HISTORY = 40
_ALERTS_KEPT = 50
_SYMBOLS_EVERY_SECONDS = 5
_OBJECTS_EVERY_SECONDS = 5
_RATE_SECONDS = 10


@dataclass(frozen=True)
class Quote:
    """The newest tick of a symbol, and the prices that led to it."""

    row: Row
    prices: list[Decimal]


@dataclass(frozen=True)
class Shard:
    """A shard's lease, and what its last archived window said."""

    lease: Lease
    ticks: int | None
    millis_behind: int | None


@dataclass(frozen=True)
class Snapshot:
    """What the view shows."""

    elapsed_seconds: float
    phase: str
    stored: int
    stored_per_second: float
    alerts: int
    suppressed: int | None
    """This and the next three are None where no consumer's log can be read."""
    duplicates: int | None
    late: int | None
    quarantined: int | None
    archive_objects: int
    quotes: list[Quote]
    newest_alerts: list[Row]
    """Newest first."""
    shards: list[Shard]
    conflicts: int | None = 0
    dashboard: str | None = None
    """The address of the page that shows more."""


class LogTail:
    """The complete new lines of a log, parsed; lines that are no JSON are passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def events(self) -> list[dict[str, Any]]:
        """Read on from where the last call ended."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._offset += len(complete)
        events = []
        for line in complete.splitlines():
            try:
                event = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(event, dict):
                events.append(event)
        return events


@dataclass
class _ShardCounts:
    ticks: int = 0
    millis_behind: int | None = None


@dataclass
class _Counts:
    """Sums over the windows that the consumers said they archived."""

    suppressed: int = 0
    duplicates: int = 0
    conflicts: int = 0
    late: int = 0
    quarantined: int = 0
    shards: dict[str, _ShardCounts] = field(default_factory=dict)

    def add(self, event: dict[str, Any]) -> None:
        for name in ("suppressed", "duplicates", "conflicts", "late", "quarantined"):
            setattr(self, name, getattr(self, name) + event.get(name, 0))
        shard = self.shards.setdefault(event["shard_id"], _ShardCounts())
        shard.ticks += event.get("ticks", 0)
        shard.millis_behind = event.get("millis_behind_latest")


class Watch:
    """Looks at the stores again and again, at little cost: what it has seen it does not read twice."""

    def __init__(self, stores: Stores, consumer_logs: list[Path], started: float, dashboard: str | None = None) -> None:
        self._stores = stores
        self._dashboard = dashboard
        self._logs = [LogTail(path) for path in consumer_logs]
        self._started = started
        self._counts = _Counts()
        self._history: dict[str, deque[Row]] = {}
        self._alerts: deque[Row] = deque(maxlen=_ALERTS_KEPT)
        self._stored: deque[tuple[float, int]] = deque()
        self._objects = 0
        self._symbols_due = self._objects_due = 0.0

    @property
    def elapsed_seconds(self) -> float:
        """Since the run began; ``started`` is that moment of the monotonic clock."""
        return time.monotonic() - self._started

    def look(self, messages: list[Row], phase: str) -> Snapshot:
        """Take a new picture; ``messages`` are the alerts that have arrived since the last."""
        for tail in self._logs:
            for event in tail.events():
                if event.get("event") == "archived":
                    self._counts.add(event)
        self._alerts.extendleft(messages)
        stored = self._stores.count_ticks()
        if stored:
            self._look_at_quotes()
        self._count_objects()
        counts = self._counts
        return Snapshot(
            elapsed_seconds=self.elapsed_seconds,
            phase=phase,
            stored=stored,
            stored_per_second=self._rate(stored),
            alerts=self._stores.count_alerts(),
            suppressed=self._logged(counts.suppressed),
            duplicates=self._logged(counts.duplicates),
            late=self._logged(counts.late),
            quarantined=self._logged(counts.quarantined),
            archive_objects=self._objects,
            quotes=[
                Quote(rows[-1], [row["price"] for row in rows]) for _, rows in sorted(self._history.items()) if rows
            ],
            newest_alerts=list(self._alerts),
            shards=[self._shard(lease) for lease in self._stores.leases()],
            conflicts=self._logged(counts.conflicts),
            dashboard=self._dashboard,
        )

    def _look_at_quotes(self) -> None:
        now = self.elapsed_seconds
        if now >= self._symbols_due and len(self._history) < MOST_SYMBOLS:
            self._symbols_due = now + _SYMBOLS_EVERY_SECONDS
            for symbol in self._stores.symbols(MOST_SYMBOLS):
                self._history.setdefault(symbol, deque(maxlen=_HISTORY))
        for symbol, rows in self._history.items():
            since = rows[-1]["timestamp"] if rows else " "
            rows.extend(row for row in self._stores.ticks_since(symbol, since, _HISTORY) if not row.get("late"))

    def _count_objects(self) -> None:
        now = self.elapsed_seconds
        if now >= self._objects_due:
            self._objects_due = now + _OBJECTS_EVERY_SECONDS
            self._objects = len(self._stores.object_keys())

    def _rate(self, stored: int) -> float:
        now = self.elapsed_seconds
        self._stored.append((now, stored))
        while now - self._stored[0][0] > _RATE_SECONDS and len(self._stored) > 2:
            self._stored.popleft()
        since, before = self._stored[0]
        return (stored - before) / (now - since) if now > since else 0.0

    def _shard(self, lease: Lease) -> Shard:
        counts = self._counts.shards.get(lease.shard_id, _ShardCounts())
        return Shard(lease, self._logged(counts.ticks), counts.millis_behind)

    def _logged(self, count: int) -> int | None:
        return count if self._logs else None
