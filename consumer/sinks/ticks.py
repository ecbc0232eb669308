"""Processed ticks in DynamoDB: one item a (symbol, timestamp), written again and again with the same content."""

from collections.abc import Sequence
from decimal import Decimal
from enum import Enum, auto
from typing import Any

from consumer.sinks.dynamodb import BatchPutter, put_unless_taken
from consumer.sinks.row import Row, RowWriter

_POSITION = ("sequence_number", "sub_sequence_number", "record_index")


class Place(Enum):
    """Who has the (symbol, timestamp) of a row that was to be stored."""

    OURS = auto()
    """The row; an earlier life of this process may have written it."""
    SAME_PRICE = auto()
    """Another record's tick of the same price."""
    OTHER_PRICE = auto()
    """Another record's tick of another price."""


class TicksTable:
    """The ticks table, written by the process of one shard."""

    def __init__(self, client: Any, putter: BatchPutter, table: str, rows: RowWriter) -> None:  # noqa: ANN401  (a boto3 client)
        self._client = client
        self._putter = putter
        self._table = table
        self._rows = rows

    def write(self, rows: Sequence[Row]) -> None:
        """Store rows of accepted ticks; returns when all of them are durable."""
        self._putter.put_all(self._table, self._rows.items_json(rows))

    def write_if_absent(self, row: Row) -> Place:
        """Store the row of a late tick unless its (symbol, timestamp) is taken; says who has the place now."""
        item = self._rows.item(row)
        taken = put_unless_taken(self._client, self._table, item)
        if taken is None or all(taken.get(name) == item.get(name) for name in _POSITION):
            return Place.OURS
        price = taken.get("price", item["price"])
        return Place.SAME_PRICE if Decimal(price["N"]) == Decimal(item["price"]["N"]) else Place.OTHER_PRICE
