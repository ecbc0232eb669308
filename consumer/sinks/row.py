"""A processed tick as the stores see it: one row, whose columns are defined here and nowhere else."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from math import nan
from typing import TYPE_CHECKING, Any

import msgspec

from common.tick import Tick, decimal_text, timestamp_of
from consumer.detection import Column, Detection
from consumer.detection.rounding import change_percent

if TYPE_CHECKING:
    from consumer.protocol import Record  # with kclpy, which settings are read without

Row = tuple[Any, ...]
"""Values in the order of the columns: text for S, an integer in units of 10^-places for N, a tuple of text for SS, True
for BOOL, None for absent."""

_OF_DAY = ("open", "previous_close")
_MOST_TEXTS = len(_OF_DAY) * 20_000

_EXACT = 10**15
"""Decimals of up to 15 digits are doubles of their own: below this, a double's shortest text is the decimal itself."""


class RowWriter:
    """Makes rows of one shard.

    Parameters
    ----------
    shard_id
        The shard that the ticks came from.
    of_rules
        The columns that the rules add.
    retention_days
        After how many days, counted from a tick's arrival, its row expires.

    """

    def __init__(self, shard_id: str, of_rules: Sequence[Column], retention_days: int) -> None:
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
            *of_rules,
            Column("anomalies", "SS"),
            Column("suppressed", "SS"),
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
        self._no_indicators = (None,) * (len(of_rules) + 2)  # and neither anomalies nor suppressed ones
        self._shard_id = shard_id
        self._retention_seconds = retention_days * 24 * 3600
        self._arrived_ms, self._arrived_at = -1, ""
        self._texts_of_day = _Texts()

    def accepted(self, tick: Tick, detection: Detection, record: "Record") -> Row:
        """Row of a tick that detection saw."""
        alerts = detection.alerts
        fired = (
            tuple(alert.rule for alert in alerts) if alerts else None,
            tuple(alert.rule for alert in alerts if alert.suppressed) or None if alerts else None,
        )
        return self._row(tick, record, (*detection.values, *fired), (None, None, None))

    def late(self, tick: Tick, record: "Record") -> Row:
        """Row of a tick that came after a later one: stored, but not seen by detection."""
        return self._row(tick, record, self._no_indicators, (True, None, None))

    def conflict(self, tick: Tick, record: "Record") -> Row:
        """Row of a tick that has another price than the one whose place it would take: for the archive only."""
        return self._row(tick, record, self._no_indicators, (None, True, None))

    def misplaced(self, tick: Tick, record: "Record") -> Row:
        """Row of a tick that came on another shard than its partition key's: stored, but not seen by detection."""
        return self._row(tick, record, self._no_indicators, (None, None, True))

    def _row(self, tick: Tick, record: "Record", indicators: tuple[Any, ...], flags: tuple[Any, ...]) -> Row:
        """Put a row together: ``flags`` tell that it is late, a conflict, misplaced."""
        symbol, price, close = tick.symbol, tick.price, tick.previous_close
        arrived_ms = record.approximate_arrival_timestamp
        if arrived_ms != self._arrived_ms:  # records of one request have one time
            self._arrived_ms, self._arrived_at = arrived_ms, timestamp_of(arrived_ms)
        return (
            symbol,
            tick.timestamp,
            price,
            tick.open,
            tick.high,
            tick.low,
            close,
            None if close is None else price - close,
            None if close is None else change_percent(price, close),
            tick.volume,
            tick.source,
            *indicators,
            *flags,
            None if record.partition_key == symbol else record.partition_key,
            self._shard_id,
            record.sequence_number,
            record.sub_sequence_number,
            record.record_index,
            self._arrived_at,
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
        columns: list[Iterable[str]] = []
        in_all = "{"
        for index in self._order:
            before, texts, after = self._written(self.columns[index], by_column[index])
            in_all += before
            if texts:
                columns += [repeat(in_all, len(rows)), texts]
                in_all = ""
            in_all += after
        return list(map("".join, zip(*columns, repeat(in_all + "}", len(rows)), strict=True)))

    def _written(self, column: Column, values: tuple[Any, ...]) -> tuple[str, Iterable[str] | None, str]:
        """Write a column as items' JSON has it: what all begin with, what differs, what all end with."""
        comma = "," if column is not self.columns[self._order[0]] else ""
        before, after = f'{comma}"{column.name}":{{"{column.kind}":', "}"
        if values[0] == values[-1] and values.count(values[0]) == len(values):
            return "" if values[0] is None else f"{before}{_json(column, values[0])}{after}", None, ""
        if not _is_wrapped(column):
            written = {value: f"{before}{_json(column, value)}{after}" for value in set(values) - {None}}
            return "", [written.get(value, "") for value in values], ""
        texts = self._texts(column, values)
        if all(values) or None not in values:  # the first is much faster
            return f'{before}"', texts, f'"{after}'
        return "", ["" if text is None else f'{before}"{text}"{after}' for text in texts], ""

    def _texts(self, column: Column, values: Sequence[Any]) -> Iterable[Any]:
        """Write what a column has, numbers as decimals; None stays."""
        if column.kind == "S":
            return values
        if not column.places:
            return [None if value is None else str(value) for value in values]
        if column.name in _OF_DAY:
            return map(self._texts_of_day.__getitem__, values)
        return _decimal_texts(values, column.places)


class _Texts(dict[int | None, str | None]):
    """Prices' texts: a day's come again and again."""

    def __missing__(self, units: int | None) -> str | None:
        if len(self) == _MOST_TEXTS:
            self.clear()
        text = self[units] = None if units is None else decimal_text(units)
        return text


def _is_wrapped(column: Column) -> bool:
    """Tell whether a column's values are there as a rule, and are numbers or text that needs no escaping."""
    return column.kind in {"S", "N"} and column.name not in {"source", "partition_key", "record_index"}


def _json(column: Column, value: Any) -> str:  # noqa: ANN401  (whatever a column has)
    return msgspec.json.encode(_number_text(value, column.places) if column.kind == "N" else value).decode()


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
