"""`tickertape sql`: a question to the archive."""

import sys
from decimal import Decimal
from itertools import chain
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg

from common.errors import UserError
from common.settings import read_settings
from desk import athena, sql
from desk.command import QuestionSettings, run
from desk.moments import Moment, moment
from desk.output import Column, output, plain
from desk.rows import Row
from desk.system import find_system

_SINCE = "1d"


class SqlSettings(QuestionSettings):
    """Answer a SELECT over the archive's tables: ticks, raw_data, quarantine and bars.

    Each has a column dt, the day of arrival, and ticks and raw_data have hour.
    """

    query: CliPositionalArg[str] = Field(description="One SELECT of DuckDB's SQL, or of Athena's with --athena.")
    since: Moment | None = Field(
        None,
        description="Read what arrived since: 30m, 1h, 2d, 1w ago, or a time as 2026-01-31T14:30Z; whole windows of "
        f"the archive (default: {_SINCE}).",
    )
    until: Moment | None = Field(None, description="Read what arrived until then, likewise.")
    athena: bool = Field(False, description="Have Athena answer, within the workgroup CATALOG_NAME, which costs money.")
    catalog_name: str = Field(
        "tickertape", validation_alias="catalog_name", description="Glue database and Athena workgroup."
    )

    @model_validator(mode="after")
    def _athena_has_its_own_words(self) -> Self:
        if self.athena and (self.since or self.until):
            raise ValueError("--since and --until pick objects to fetch; to Athena say WHERE dt >= DATE '2026-01-31'")
        return self


def main(arguments: list[str]) -> int:
    """Answer it; returns the exit code."""
    return run(lambda: _sql(read_settings(SqlSettings, arguments, "sql")))


def _sql(settings: SqlSettings) -> None:
    system = find_system(settings)
    if settings.athena:
        if system.is_local:
            raise UserError("a local run has no Athena: leave out --athena")
        _write(athena.ask(settings.query, settings.catalog_name), settings)
        return
    since = settings.since or (None if settings.until else moment(_SINCE))
    with sql.ask(system, settings.query, since, settings.until) as answer:
        _write(answer, settings)


def _write(answer: sql.Answer, settings: SqlSettings) -> None:
    numbers = (int, float, Decimal)
    rows = iter(answer.rows)
    first = next(rows, None)
    columns = [
        Column(name, right=first is not None and isinstance(first[index], numbers))
        for index, name in enumerate(answer.names)
    ]
    shown = output(settings.format, columns, answer.names)
    if first is not None:
        all_rows = (dict(zip(answer.names, row, strict=True)) for row in chain([first], rows))
        shown.write(map(_short, all_rows) if settings.format in {"json", "jsonl"} else all_rows)
    shown.end()


def _short(row: Row) -> Row:
    """Leave out what is zero at a decimal's end, as text does: the archive's have all nine places."""
    return {name: Decimal(plain(value)) if type(value) is Decimal else value for name, value in row.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
