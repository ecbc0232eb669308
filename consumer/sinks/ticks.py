"""Processed ticks in DynamoDB: one item a (symbol, timestamp), written again and again with the same content."""

from collections.abc import Sequence
from typing import Any

from consumer.sinks.dynamodb import BatchPutter, put_unless_taken
from consumer.sinks.row import Row, RowWriter


class TicksTable:
    """The ticks table, written by the process of one shard."""

    def __init__(self, client: Any, putter: BatchPutter, table: str, rows: RowWriter) -> None:  # noqa: ANN401  (a boto3 client)
        self._client = client
        self._putter = putter
        self._table = table
        self._rows = rows

    def write(self, rows: Sequence[Row]) -> None:
        """Store rows of accepted ticks; returns when all of them are durable."""
        self._putter.put_all(self._table, [self._rows.item_json(row) for row in rows])

    def write_if_absent(self, row: Row) -> bool:
        """Store the row of a late tick unless its (symbol, timestamp) is taken.

        Returns
        -------
        True when the row is in the table, also when an earlier life of this process wrote it; False when the record
        is a duplicate of another one.

        """
        item = self._rows.item(row)
        taken = put_unless_taken(self._client, self._table, item)
        return taken is None or all(
            taken.get(name) == item[name] for name in ("sequence_number", "sub_sequence_number")
        )
