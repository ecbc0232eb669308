"""Puts into DynamoDB: many at once, however often that takes, and one unless its key is taken."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import msgspec
from botocore.exceptions import ClientError

from common.aws import UnfinishedError, build_body_with
from consumer.backpressure import persist
from consumer.sinks.shortcut import Shortcut

Item = dict[str, dict[str, Any]]
"""An item as DynamoDB's API has it: ``{"symbol": {"S": "AAPL"}}``."""

_BATCH = 25  # BatchWriteItem's limit


class BatchPutter:
    """Puts items into tables, all of them, however often that takes.

    Parameters
    ----------
    client
        A DynamoDB client; its BatchWriteItem then takes JSON of put requests, and nothing else.
    pool
        Runs several requests at a time.

    """

    def __init__(self, client: Any, pool: ThreadPoolExecutor) -> None:  # noqa: ANN401  (a boto3 client)
        self._client = client
        self._pool = pool
        self._shortcut = Shortcut(client)
        build_body_with(client, "BatchWriteItem", "RequestItems", _body)

    def put_all(self, table: str, items: Sequence[str]) -> None:
        """Put items, each the JSON of a DynamoDB item, into ``table``; no two may have the same key.

        Raises
        ------
        UserError
            AWS refuses for good: denied access, no such table.

        """
        requests = [f'{{"PutRequest":{{"Item":{item}}}}}' for item in items]
        batches = [requests[start : start + _BATCH] for start in range(0, len(requests), _BATCH)]
        for _ in self._pool.map(partial(self._put_batch, table), batches):
            pass  # fetching the results raises what went wrong

    def _put_batch(self, table: str, requests: list[str]) -> None:
        pending = self._shortcut.write(table, requests)

        def attempt() -> None:
            nonlocal pending
            pending = self._send(table, pending)
            if pending:
                raise UnfinishedError(f"{len(pending)} items of {table} were not processed")

        if pending:
            persist(attempt, about=f"table {table}")

    def _send(self, table: str, requests: list[str]) -> list[str]:
        """Send one request; returns what DynamoDB left unprocessed."""
        answer = self._client.batch_write_item(RequestItems={table: requests})
        left = answer.get("UnprocessedItems", {}).get(table, [])
        return [msgspec.json.encode(request).decode() for request in left]


def put_unless_taken(
    client: Any,  # noqa: ANN401  (a boto3 client)
    table: str,
    item: Item,
    *,
    but: str = "",
    names: Mapping[str, str] | None = None,
    values: Item | None = None,
) -> Item | None:
    """Put an item unless its key is taken.

    Parameters
    ----------
    client
        A DynamoDB client.
    table
        The table's name.
    item
        What to put.
    but
        A condition on the item that has the key already: where it holds, the item is replaced.
    names, values
        What the condition calls attributes and values.

    Returns
    -------
    The item that has the key already, and keeps it; None when ``item`` has it now.

    """
    condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(symbol)"}
    if but:
        condition["ConditionExpression"] += f" OR ({but})"
        condition |= {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}

    def attempt() -> Item | None:
        try:
            client.put_item(TableName=table, Item=item, ReturnValuesOnConditionCheckFailure="ALL_OLD", **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return cast("Item", error.response.get("Item", {}))
        return None

    return persist(attempt, about=f"table {table}")


def _body(parameters: dict[str, Any]) -> bytes:
    tables = (f'"{table}":[{",".join(requests)}]' for table, requests in parameters["RequestItems"].items())
    return f'{{"RequestItems":{{{",".join(tables)}}}}}'.encode()
