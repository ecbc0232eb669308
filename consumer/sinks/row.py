"""A processed tick as the stores see it: one row, whose columns are defined here and nowhere else."""

from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from common.tick import Tick, decimal_text, timestamp_of
from consumer.detection import Detection, Rules
from consumer.detection.detector import change_percent, write_sides
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
"""Values in the order of the columns: text for S and N, a tuple of text for SS, True for BOOL, None for absent."""

_NO_INDICATORS = (None,) * 8
"""From the averages to the trend."""


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
            Column("sides", "S"),
            Column("partition_key", "S"),
            Column("shard_id", "S"),
            Column("sequence_number", "S"),
            Column("sub_sequence_number", "N"),
            Column("record_index", "N"),
            Column("arrived_at", "S"),
            Column("expires_at", "N"),
        )
        # Text that needs no escaping, which is nearly all of a row, is only wrapped.
        others = [
            index
            for index, column in enumerate(self.columns)
            if column.kind in {"SS", "BOOL"} or column.name in {"source", "partition_key", "record_index"}
        ]
        plain = [index for index in range(len(self.columns)) if index not in others]
        self._plain, self._others = itemgetter(*plain), itemgetter(*others)
        self._heads = [f'"{self.columns[index].name}":{{"{self.columns[index].kind}":"' for index in plain]
        self._all_plain = ",".join(f'{head}%s"}}' for head in self._heads)
        self._other_columns = [self.columns[index] for index in others]
        self._shard_id = shard_id
        self._retention_seconds = retention_days * 24 * 3600

    def accepted(self, tick: Tick, detection: Detection, record: Record) -> Row:
        """Row of a tick that detection saw."""
        alerts = detection.alerts
        indicators = (
            None if detection.sma_fast is None else decimal_text(detection.sma_fast),
            None if detection.sma_slow is None else decimal_text(detection.sma_slow),
            _micro_text(detection.z_score),
            None if detection.bollinger_upper is None else decimal_text(detection.bollinger_upper),
            None if detection.bollinger_lower is None else decimal_text(detection.bollinger_lower),
            tuple(alert.rule for alert in alerts) or None,
            tuple(alert.rule for alert in alerts if alert.suppressed) or None,
            (None, "up", "down")[detection.sides[0]],
            None,
            None,
            None,
            write_sides(detection.sides),
        )
        return (*_quote(tick), *indicators, *self._origin(tick, record))

    def late(self, tick: Tick, record: Record) -> Row:
        """Row of a tick that came after a later one: stored, but not seen by detection."""
        return (*_quote(tick), *_NO_INDICATORS, True, None, None, None, *self._origin(tick, record))

    def conflict(self, tick: Tick, record: Record) -> Row:
        """Row of a tick that has another price than the one whose place it would take: for the archive only."""
        return (*_quote(tick), *_NO_INDICATORS, None, True, None, None, *self._origin(tick, record))

    def misplaced(self, tick: Tick, record: Record) -> Row:
        """Row of a tick that came on another shard than its partition key's: stored, but not seen by detection."""
        return (*_quote(tick), *_NO_INDICATORS, None, None, True, None, *self._origin(tick, record))

    def _origin(self, tick: Tick, record: Record) -> tuple[Any, ...]:
        arrived_ms = record.approximate_arrival_timestamp
        return (
            None if record.partition_key == tick.symbol else record.partition_key,
            self._shard_id,
            record.sequence_number,
            str(record.sub_sequence_number),
            None if record.record_index is None else str(record.record_index),
            timestamp_of(arrived_ms),
            str(arrived_ms // 1000 + self._retention_seconds),
        )

    def item(self, row: Row) -> dict[str, dict[str, Any]]:
        """Write a row as a DynamoDB item, for calls that take one."""
        return {
            column.name: {column.kind: value}
            for column, value in zip(self.columns, row, strict=True)
            if value is not None
        }

    def item_json(self, row: Row) -> str:
        """Write a row as the JSON of a DynamoDB item, for requests whose body is built directly."""
        texts = self._plain(row)
        if None in texts:
            attributes = [f'{head}{text}"}}' for head, text in zip(self._heads, texts, strict=True) if text is not None]
        else:
            attributes = [self._all_plain % texts]  # nothing is absent: the common case, in one stroke
        for (name, kind, *_), value in zip(self._other_columns, self._others(row), strict=True):
            if value is not None:
                attributes.append(f'"{name}":{{"{kind}":{msgspec.json.encode(value).decode()}}}')
        return "{" + ",".join(attributes) + "}"


def _quote(tick: Tick) -> tuple[Any, ...]:
    close = tick.previous_close
    return (
        tick.symbol,
        tick.timestamp,
        decimal_text(tick.price),
        _price_text(tick.open),
        _price_text(tick.high),
        _price_text(tick.low),
        _price_text(close),
        None if close is None else decimal_text(tick.price - close),
        _micro_text(change_percent(tick)),
        None if tick.volume is None else str(tick.volume),
        tick.source,
    )


@lru_cache(maxsize=4096)  # a session's open, high, low and previous close come again and again
def _price_text(units: int | None) -> str | None:
    return None if units is None else decimal_text(units)


def _micro_text(units: int | None) -> str | None:
    return None if units is None else decimal_text(units, 6)
