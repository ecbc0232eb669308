"""Rows of the tables, as people and programs want them."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import msgspec

from common.aws import ask

if TYPE_CHECKING:
    from desk.system import System

Row = dict[str, Any]
"""A table's row: numbers are Decimals, sets are sorted lists."""

_PAGE = 1000


def row_of(item: Mapping[str, Mapping[str, Any]]) -> Row:
    """Read an item as DynamoDB's API has it."""
    return {name: _value(*attribute.items()) for name, attribute in item.items()}


def _value(typed: tuple[str, Any]) -> Any:  # noqa: ANN401  (whatever a table holds)
    kind, value = typed
    if kind == "N":
        return Decimal(value)
    if kind == "SS":
        return sorted(value)
    return value


def read_answer(body: bytes) -> dict[str, Any]:
    """Read the body of an answer to Query: its ``Items`` become rows."""
    answer: dict[str, Any] = msgspec.json.decode(body)
    answer["Items"] = [row_of(item) for item in answer["Items"]]
    return answer


def query(
    system: "System",
    table: str,
    symbol: str,
    range_key: str,
    between: tuple[str | None, str | None],
    *,
    newest_first: bool = False,
    page: int = _PAGE,
) -> Iterator[Row]:
    """Read a symbol's rows in the order of their keys, page by page as they are wanted.

    Parameters
    ----------
    system
        Whose table it is.
    table
        The table's name.
    symbol
        The hash key.
    range_key
        The name of the range key.
    between
        The first and the last key that is wanted; None for no such bound.
    newest_first
        Whether the order is that of falling keys.
    page
        How many rows are asked for at a time.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    first, last = between
    request: dict[str, Any] = {
        "TableName": table,
        "KeyConditionExpression": "symbol = :symbol AND #key BETWEEN :first AND :last",
        "ExpressionAttributeNames": {"#key": range_key},
        "ExpressionAttributeValues": {
            ":symbol": {"S": symbol},
            ":first": {"S": first or " "},
            ":last": {"S": last or "~"},
        },
        "ScanIndexForward": not newest_first,
        "Limit": page,
    }
    while True:
        answer = cast("dict[str, Any]", ask(f"table {table}", lambda: system.dynamodb.query(**request)))
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
