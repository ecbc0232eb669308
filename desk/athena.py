"""The same questions, asked of Athena: within its workgroup, whose limit of what a query may read holds."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

from common import aws
from common.errors import UserError
from desk.sql import Answer

_POLL_SECONDS = 0.5
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_READS = re.compile(r"\s*\(*\s*(SELECT|WITH|VALUES|TABLE|SHOW|DESCRIBE)\b", re.IGNORECASE)

_READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("tinyint", "smallint", "integer", "bigint"), int),
    **dict.fromkeys(("float", "double", "real"), float),
    "decimal": Decimal,
    "boolean": lambda text: text == "true",
    "date": date.fromisoformat,
}
"""How values are read by the names of their types; others are text."""


def ask(query: str, catalog: str) -> Answer:
    """Run a query to its end.

    Parameters
    ----------
    query
        One statement of Athena's SQL that reads.
    catalog
        The name of both Glue's database and Athena's workgroup.

    Raises
    ------
    UserError
        It does not read, or Athena refuses or fails.

    """
    _refuse_writes(query)
    athena = aws.client("athena")
    about = f"workgroup {catalog}"
    started = aws.ask(
        about,
        lambda: athena.start_query_execution(
            QueryString=query, QueryExecutionContext={"Database": catalog}, WorkGroup=catalog
        ),
    )
    execution = {"QueryExecutionId": started["QueryExecutionId"]}
    try:
        while (status := _status(athena, about, execution))["State"] in {"QUEUED", "RUNNING"}:
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        aws.ask(about, lambda: athena.stop_query_execution(**execution))
        raise
    if status["State"] != "SUCCEEDED":
        raise UserError(f"Athena: {' '.join(status.get('StateChangeReason', status['State']).split())}")
    return _answer(_pages(athena, about, execution))


def _refuse_writes(query: str) -> None:
    plain = _COMMENT.sub(" ", query).strip().removesuffix(";")
    without_texts = re.sub(r"'[^']*'|\"[^\"]*\"", "", plain)
    if not _READS.match(plain) or ";" in without_texts:
        raise UserError("only one SELECT is answered: the archive is read, never written")


def _status(athena: Any, about: str, execution: dict[str, str]) -> dict[str, Any]:  # noqa: ANN401  (a boto3 client)
    answer = aws.ask(about, lambda: athena.get_query_execution(**execution))
    status: dict[str, Any] = answer["QueryExecution"]["Status"]
    return status


def _pages(athena: Any, about: str, execution: dict[str, str]) -> Iterator[dict[str, Any]]:  # noqa: ANN401  (a boto3 client)
    request = dict(execution)
    while True:
        page = aws.ask(about, partial(athena.get_query_results, **request))
        yield page
        if not page.get("NextToken"):
            return
        request["NextToken"] = page["NextToken"]


def _answer(pages: Iterator[dict[str, Any]]) -> Answer:
    first = next(pages)
    columns = first["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
    names = [column["Name"] for column in columns]
    read = [_READ.get(column["Type"], str) for column in columns]

    def rows() -> Iterator[tuple[Any, ...]]:
        yield from _rows(first, read, header=names)
        for page in pages:
            yield from _rows(page, read)

    return Answer(names, rows())


def _rows(
    page: dict[str, Any], read: list[Callable[[str], Any]], header: list[str] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Read a page; the first one of a SELECT begins with the names of the columns."""
    for number, row in enumerate(page["ResultSet"]["Rows"]):
        texts = [cell.get("VarCharValue") for cell in row["Data"]]
        if number == 0 and texts == header:
            continue
        yield tuple(None if text is None else how(text) for how, text in zip(read, texts, strict=True))
