"""A symbol's chart: its ticks in a span of time, thinned where there are more than a chart can show."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from itertools import islice
from re import compile as regex
from typing import Any

from desk import ticks
from desk.alerts import Wanted, of_symbol
from desk.dashboard.market import find_symbols, newest, public
from desk.dashboard.older import older
from desk.rows import Row
from desk.system import System

SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=31)}
_MOST_POINTS = 2000
_FEWEST_POINTS = 120
"""A span with fewer is made longer: of daily bars, an hour has one at most."""

_PARTS = 500
"""What has too many ticks is cut into so many parts, and of each the last tick is read."""

_BEFORE, _AFTER = 200, 100
_MOST_ALERTS = 500
_BEFORE_ALL = " "
_DRAWN = regex(r"price|volume|sma_\d+|(bollinger|expected)_\w+")
"""The columns that a chart shows; averages are named after the sizes of their windows."""


class UnknownSymbolError(Exception):
    """There is no tick of the symbol; ``near`` are symbols that are spelt like it."""

    def __init__(self, symbol: str, near: list[str]) -> None:
        super().__init__(symbol)
        self.near = near


class History:
    """Charts of one system's symbols."""

    def __init__(self, system: System) -> None:
        self._system = system

    def span(self, symbol: str, name: str) -> dict[str, Any]:
        """Read the hour, day or month that ends with the newest tick.

        Raises
        ------
        UnknownSymbolError
            It has no ticks.

        """
        last = self._newest(symbol, _BEFORE_ALL, None, 1)
        if not last:
            raise UnknownSymbolError(symbol, near(symbol, find_symbols(self._system)))
        end = last[0]["timestamp"]
        since = _text(_moment(end) - SPANS[name])
        rows, thinned = self._read(symbol, since, end)
        if name == "month" and rows and self._system.bucket:
            rows = [*older(self._system, rows[0], since), *rows]
        if len(rows) < _FEWEST_POINTS:
            rows = self._newest(symbol, _BEFORE_ALL, end, _FEWEST_POINTS)
        return self._chart(symbol, rows, thinned=thinned)

    def between(self, symbol: str, since: str, until: str) -> dict[str, Any]:
        """Read what is between two moments."""
        rows, thinned = self._read(symbol, since, until)
        return self._chart(symbol, rows, thinned=thinned)

    def around(self, symbol: str, moment: str) -> dict[str, Any]:
        """Read some ticks before and after a moment, whatever their distance is."""
        before = self._newest(symbol, _BEFORE_ALL, moment, _BEFORE)
        later = islice(ticks.history(self._system, symbol, moment, page=_AFTER + 1), _AFTER + 1)
        after = [row for row in later if row["timestamp"] > moment][:_AFTER]
        return self._chart(symbol, before + after, thinned=False)

    def _read(self, symbol: str, since: str, until: str) -> tuple[list[Row], bool]:
        rows = self._newest(symbol, since, until, _MOST_POINTS)
        if len(rows) < _MOST_POINTS:
            return rows, False
        return self._thinned(symbol, since, until), True

    def _newest(self, symbol: str, after: str, until: str | None, limit: int) -> list[Row]:
        return newest(self._system, symbol, after, until, limit)

    def _thinned(self, symbol: str, since: str, until: str) -> list[Row]:
        begin, end = _moment(since), _moment(until)
        cuts = [_text(begin + (end - begin) * part / _PARTS) for part in range(_PARTS)] + [until]

        def last_of(part: int) -> list[Row]:
            return self._newest(symbol, cuts[part], cuts[part + 1], 1)

        return [row for rows in self._system.side_by_side(last_of, range(_PARTS)) for row in rows]

    def _chart(self, symbol: str, rows: list[Row], *, thinned: bool) -> dict[str, Any]:
        alerts: list[Row] = []
        if rows:
            first, last = rows[0]["timestamp"], rows[-1]["timestamp"]
            found = of_symbol(self._system, symbol, Wanted(since=first, until=last))
            alerts = list(islice(found, _MOST_ALERTS))[::-1]
        return {
            "symbol": symbol,
            "thinned": thinned,
            "points": columns(rows),
            "alerts": [public(alert) for alert in alerts],
        }


def columns(rows: list[Row]) -> dict[str, list[Decimal | float | None]]:
    """Give what a chart shows as columns: ``t`` is in epoch seconds, the others are named as the table's."""
    names = sorted({name for row in rows for name in row if _DRAWN.fullmatch(name)})
    return {
        "t": [_moment(row["timestamp"]).timestamp() for row in rows],
        **{name: [row.get(name) for row in rows] for name in names},
    }


def near(symbol: str, known: Iterable[str]) -> list[str]:
    """Find symbols that somebody may have meant."""
    by_folded = {name.upper(): name for name in known}
    return [by_folded[name] for name in get_close_matches(symbol.upper(), by_folded, n=3, cutoff=0.5)]


def _moment(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp).astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
