"""A processed tick as the stores see it: one row, whose columns are defined here and nowhere else."""

from collections.abc import Sequence
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
        # Text that needs no escaping, and numbers, which nearly all of a row is, are only wrapped.
        self._wrapped = [index for index, column in enumerate(self.columns) if _is_wrapped(column)]
        self._others = [index for index, column in enumerate(self.columns) if not _is_wrapped(column)]
        self._attributes = [f'"{column.name}":{{"{column.kind}":"%s"}}' for column in self.columns]
        self._all_wrapped = "{" + ",".join(self._attributes[index] for index in self._wrapped)
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
        wrapped = zip(*(_texts(by_column[index], self.columns[index].places) for index in self._wrapped), strict=True)
        others = (_attributes(self.columns[index], by_column[index]) for index in self._others)
        beginnings = [self._beginning(texts) if None in texts else self._all_wrapped % texts for texts in wrapped]
        return list(map("".join, zip(beginnings, *filter(None, others), repeat("}"))))

    def _beginning(self, texts: tuple[Any, ...]) -> str:
        """Write what is there of the wrapped values."""
        wrapped = zip(self._wrapped, texts, strict=True)
        return "{" + ",".join(self._attributes[index] % text for index, text in wrapped if text is not None)


def _is_wrapped(column: Column) -> bool:
    return column.kind in {"S", "N"} and column.name not in {"source", "partition_key", "record_index"}


def _texts(values: Sequence[Any], places: int) -> Sequence[Any]:
    """Write a column's decimals, all in one stroke; what is text already, or will be, stays."""
    if not places:
        return values
    unit = float(10**places)
    doubles = [value / unit if value is not None and -_EXACT < value < _EXACT else nan for value in values]
    written = msgspec.json.encode(doubles)[1:-1].decode() + ","
    texts = written.replace(".0,", ",").split(",")[:-1]
    if "n" not in written and "e" not in written:
        return texts
    return [
        text if text != "null" and "e" not in text else None if value is None else decimal_text(value, places)
        for text, value in zip(texts, values, strict=True)
    ]


def _attributes(column: Column, values: Sequence[Any]) -> list[str] | None:
    """Write a column that is seldom there, or needs escaping; None if no row has it."""
    different = set(values)
    if different == {None}:
        return None
    texts = {value: _attribute(column, value) for value in different if value is not None}
    return [texts.get(value, "") for value in values]


def _attribute(column: Column, value: Any) -> str:  # noqa: ANN401  (whatever a column has)
    text = str(value) if column.kind == "N" else value
    return f',"{column.name}":{{"{column.kind}":{msgspec.json.encode(text).decode()}}}'


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
