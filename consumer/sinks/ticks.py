"""Processed ticks in DynamoDB: one item a (symbol, timestamp), written again and again with the same content."""

from collections.abc import Sequence
from typing import Any, cast

from botocore.exceptions import ClientError

from consumer.backpressure import persist
from consumer.sinks.dynamodb import BatchPutter
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
        return persist(lambda: self._put_if_absent(item), about=f"table {self._table}")

    def _put_if_absent(self, item: dict[str, Any]) -> bool:
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(symbol)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            taken = cast("dict[str, Any]", error.response.get("Item", {}))
            return all(taken.get(name) == item[name] for name in ("sequence_number", "sub_sequence_number"))
        return True
