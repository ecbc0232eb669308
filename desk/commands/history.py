"""`tickertape history`: the ticks of one symbol, oldest first."""

import sys
from collections.abc import Iterable
from itertools import chain, islice

from pydantic import Field
from pydantic_settings import CliPositionalArg

from common.errors import UserError
from common.settings import read_settings
from desk import quotes, ticks
from desk.command import QuestionSettings, run, symbols_of
from desk.moments import Moment
from desk.output import output
from desk.rows import Row
from desk.system import System, find_system

_NEWEST = 50
_LOOKED_AT = 500


class HistorySettings(QuestionSettings):
    """Show the rows of a symbol, oldest first: each tick, or fewer where ROW_SECONDS is set."""

    symbol: CliPositionalArg[str] = Field(description="The symbol.")
    since: Moment | None = Field(
        None, description="Event time of the first: 30m, 1h, 2d, 1w ago, or a time as 2026-01-31T14:30Z."
    )
    until: Moment | None = Field(None, description="Event time of the last, likewise.")
    limit: int | None = Field(
        None, ge=1, description=f"At most so many, the newest; without --since and --until {_NEWEST}, else all."
    )


def main(arguments: list[str]) -> int:
    """Show it; returns the exit code."""
    return run(lambda: _history(read_settings(HistorySettings, arguments, "history")))


def _history(settings: HistorySettings) -> None:
    system = find_system(settings)
    (symbol,) = symbols_of([settings.symbol])
    rows = iter(_rows(system, symbol, settings))
    first = list(islice(rows, _LOOKED_AT))
    if not first:
        raise _nothing(system, symbol)
    shown = output(settings.format, quotes.columns(first, with_symbol=False), quotes.NAMES)
    shown.write(chain(first, rows))
    shown.end()


def _rows(system: System, symbol: str, settings: HistorySettings) -> Iterable[Row]:
    limit = settings.limit
    if limit is None and (settings.since or settings.until):
        return ticks.history(system, symbol, settings.since, settings.until)
    newest = ticks.history(
        system, symbol, settings.since, settings.until, newest_first=True, page=min(limit or _NEWEST, 1000)
    )
    return reversed(list(islice(newest, limit or _NEWEST)))


def _nothing(system: System, symbol: str) -> UserError:
    newest = ticks.latest(system, [symbol])
    if not newest:
        return ticks.unknown(system, symbol)
    timestamp = newest[symbol]["timestamp"]
    return UserError(f"{symbol} has no ticks between these times: its newest is of {timestamp}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
