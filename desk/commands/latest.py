"""`tickertape latest`: the newest tick of all symbols or some."""

import sys
import time
from collections.abc import Iterator

from pydantic import Field
from pydantic_settings import CliPositionalArg

from common.errors import UserError
from common.settings import read_settings
from desk import quotes, ticks
from desk.command import FollowSettings, run, symbols_of
from desk.output import Column, Output, is_table, output, redrawn
from desk.rows import Row
from desk.system import System, find_system

_INTERVAL_SECONDS = 1.0
_NEW_SYMBOLS_SECONDS = 30.0


class LatestSettings(FollowSettings):
    """Show the newest tick of each symbol, with its averages and what fired on it."""

    symbols: CliPositionalArg[list[str]] = Field([], description="The symbols; all that there are without any.")


def main(arguments: list[str]) -> int:
    """Show them; returns the exit code."""
    return run(lambda: _latest(read_settings(LatestSettings, arguments, "latest")))


def _latest(settings: LatestSettings) -> None:
    system = find_system(settings)
    wanted = symbols_of(settings.symbols)
    rows = _newest(system, wanted)
    columns = quotes.columns(rows, with_symbol=True)
    if settings.follow and is_table(settings.format):
        _redraw(system, wanted, columns)
    shown = output(settings.format, columns, quotes.NAMES)
    shown.write(rows)
    if settings.follow:
        _follow(system, wanted, rows, shown)
    shown.end()


def _newest(system: System, wanted: list[str]) -> list[Row]:
    found = ticks.latest(system, wanted or ticks.symbols(system))
    for name in wanted:
        if name not in found:
            raise ticks.unknown(system, name)
    if not found:
        raise UserError("there are no symbols yet: they are known when the first archive window is complete")
    return list(found.values())


def _redraw(system: System, wanted: list[str], columns: list[Column]) -> None:
    with redrawn(columns) as draw:
        for rows in _again_and_again(system, wanted):
            draw(rows)


def _follow(system: System, wanted: list[str], rows: list[Row], shown: Output) -> None:
    last = {row["symbol"]: row["timestamp"] for row in rows}
    for found in _again_and_again(system, wanted):
        shown.write([row for row in found if row["timestamp"] > last.get(row["symbol"], "")])
        last |= {row["symbol"]: row["timestamp"] for row in found}


def _again_and_again(system: System, wanted: list[str]) -> Iterator[list[Row]]:
    """Read the newest rows, those of new symbols included, once a second."""
    while True:
        names, looked = wanted or ticks.symbols(system), time.monotonic()
        while time.monotonic() < looked + _NEW_SYMBOLS_SECONDS:
            yield list(ticks.latest(system, names).values())
            time.sleep(_INTERVAL_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
