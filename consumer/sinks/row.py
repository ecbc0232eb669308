"""A processed tick as the stores see it: one row, whose columns are defined here and nowhere else."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from math import nan
from typing import Any, NamedTuple

import msgspec

from common.tick import Tick, decimal_text, timestamp_of
from consumer.detection import Detection, Rules
from consumer.detection.detector import change_percent
from consumer.protocol import Record


class Column(NamedTuple):
    """``kind`` is DynamoDB's (S, N, SS, BOOL); ``places`` are the decimals of a number.

    ``name`` is the attribute's. ``archived_name`` is the archive's, where it is another: Athena's table has the same
    columns whatever the windows' sizes are.
    """

    name: str
    kind: str
    places: int = 0
    archived_name: str | None = None


Row = tuple[Any, ...]
"""Values in the order of the columns: text for S, an integer in units of 10^-places for N, a tuple of text for SS, True
for BOOL, None for absent."""

_NO_INDICATORS = (None,) * 8
"""From the averages to the trend."""

_EXACT = 10**15
"""Decimals of up to 15 digits are doubles of their own: below this, a double's shortest text is the decimal itself."""


class RowWriter:
    """Makes rows of one shard.

    Parameters
    ----------
    shard_id
        The shard that the ticks came from.
    rules
        Their window sizes are in the names of the averages' attributes.
    retention_days
        After how many days, counted from a tick's arrival, its row expires.

    """

    def __init__(self, shard_id: str, rules: Rules, retention_days: int) -> None:
        self.columns = (
            Column("symbol", "S"),
            Column("timestamp", "S"),
            Column("price", "N", 9),
            Column("open", "N", 9),
            Column("high", "N", 9),
            Column("low", "N", 9),
            Column("previous_close", "N", 9),
            Column("change", "N", 9),
            Column("change_percent", "N", 6),
            Column("volume", "N"),
            Column("source", "S"),
            Column(f"sma_{rules.sma_fast}", "N", 9, "sma_fast"),
            Column(f"sma_{rules.sma_slow}", "N", 9, "sma_slow"),
            Column("z_score", "N", 6),
            Column("bollinger_upper", "N", 9),
            Column("bollinger_lower", "N", 9),
            Column("anomalies", "SS"),
            Column("suppressed", "SS"),
            Column("trend", "S"),
            Column("late", "BOOL"),
            Column("conflict", "BOOL"),
            Column("misplaced", "BOOL"),
            Column("partition_key", "S"),
            Column("shard_id", "S"),
            Column("sequence_number", "S"),
            Column("sub_sequence_number", "N"),
            Column("record_index", "N"),
            Column("arrived_at", "S"),
            Column("expires_at", "N"),
        )
        self._order = sorted(range(len(self.columns)), key=lambda index: not _is_wrapped(self.columns[index]))
        self._shard_id = shard_id
        self._retention_seconds = retention_days * 24 * 3600

    def accepted(self, tick: Tick, detection: Detection, record: Record) -> Row:
        """Row of a tick that detection saw."""
        alerts = detection.alerts
        indicators = (
            detection.sma_fast,
            detection.sma_slow,
            detection.z_score,
            detection.bollinger_upper,
            detection.bollinger_lower,
            tuple(alert.rule for alert in alerts) if alerts else None,
            tuple(alert.rule for alert in alerts if alert.suppressed) or None if alerts else None,
            (None, "up", "down")[detection.sides[0]],
            None,
            None,
            None,
        )
        return (*_quote(tick), *indicators, *self._origin(tick, record))

    def late(self, tick: Tick, record: Record) -> Row:
        """Row of a tick that came after a later one: stored, but not seen by detection."""
        return (*_quote(tick), *_NO_INDICATORS, True, None, None, *self._origin(tick, record))

    def conflict(self, tick: Tick, record: Record) -> Row:
        """Row of a tick that has another price than the one whose place it would take: for the archive only."""
        return (*_quote(tick), *_NO_INDICATORS, None, True, None, *self._origin(tick, record))

    def misplaced(self, tick: Tick, record: Record) -> Row:
        """Row of a tick that came on another shard than its partition key's: stored, but not seen by detection."""
        return (*_quote(tick), *_NO_INDICATORS, None, None, True, *self._origin(tick, record))

    def _origin(self, tick: Tick, record: Record) -> tuple[Any, ...]:
        arrived_ms = record.approximate_arrival_timestamp
        return (
            None if record.partition_key == tick.symbol else record.partition_key,
            self._shard_id,
            record.sequence_number,
            record.sub_sequence_number,
            record.record_index,
            timestamp_of(arrived_ms),
            arrived_ms // 1000 + self._retention_seconds,
        )

    def item(self, row: Row) -> dict[str, dict[str, Any]]:
        """Write a row as a DynamoDB item, for calls that take one."""
        return {
            column.name: {column.kind: _number_text(value, column.places) if column.kind == "N" else value}
            for column, value in zip(self.columns, row, strict=True)
            if value is not None
        }

    def items_json(self, rows: Sequence[Row]) -> list[str]:
        """Write rows as the JSON of DynamoDB items, for requests whose body is built directly."""
        if not rows:
            return []
        by_column = list(zip(*rows, strict=True))
        pieces = [piece for index in self._order for piece in _pieces(self.columns[index], by_column[index])]
        return [f"{{{item[1:]}}}" for item in map("".join, zip(*pieces, strict=False))]  # some repeat without end


def _is_wrapped(column: Column) -> bool:
    """Tell whether a column's values are there as a rule, and are numbers or text that needs no escaping."""
    return column.kind in {"S", "N"} and column.name not in {"source", "partition_key", "record_index"}


def _pieces(column: Column, values: Sequence[Any]) -> list[Iterable[str]]:
    """Write a column as an item's JSON has it, in pieces that are joined row by row; nothing where it is absent."""
    beginning, end = f',"{column.name}":{{"{column.kind}":', "}"
    if _is_wrapped(column):
        texts = _texts(column, values)
        if None not in values:
            return [repeat(f'{beginning}"'), texts, repeat('"}')]
        return [["" if text is None else f'{beginning}"{text}"{end}' for text in texts]]
    different = set(values) - {None}
    if not different:
        return []
    written = {value: f"{beginning}{_json(column, value)}{end}" for value in different}
    return [[written.get(value, "") for value in values]]


def _json(column: Column, value: Any) -> str:  # noqa: ANN401  (whatever a column has)
    return msgspec.json.encode(str(value) if column.kind == "N" else value).decode()


def _texts(column: Column, values: Sequence[Any]) -> Iterable[Any]:
    """Write what a column has, numbers as decimals; None stays."""
    if column.kind == "S":
        return values
    if not column.places:
        return [None if value is None else str(value) for value in values]
    return _decimal_texts(values, column.places)


def _decimal_texts(values: Sequence[int | None], places: int) -> Sequence[str | None]:
    """Write decimals all in one stroke, as doubles; by itself what a double has with an exponent, or not exactly."""
    unit = float(10**places)
    doubles = [value / unit if value is not None and -_EXACT < value < _EXACT else nan for value in values]
    written = msgspec.json.encode(doubles)[1:-1].decode() + ","
    texts = written.replace(".0,", ",").split(",")[:-1]
    if "n" not in written and "e" not in written:
        return texts
    return [
        None if value is None else decimal_text(value, places) if "n" in text or "e" in text else text
        for text, value in zip(texts, values, strict=True)
    ]


def _number_text(value: int, places: int) -> str:
    return decimal_text(value, places) if places else str(value)


def _quote(tick: Tick) -> tuple[Any, ...]:
    close = tick.previous_close
    return (
        tick.symbol,
        tick.timestamp,
        tick.price,
        tick.open,
        tick.high,
        tick.low,
        close,
        None if close is None else tick.price - close,
        change_percent(tick),
        tick.volume,
        tick.source,
    )
