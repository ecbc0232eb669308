"""The newest ticks of all symbols and their alerts, read bit by bit: what was seen is not read again.

A look costs at most a fixed number of requests, however many symbols there are: with more than that, each symbol waits
for its turn, but those whose charts are open are read each time.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from common.aws import ask
from desk import ticks
from desk.alerts import Wanted, of_symbol
from desk.rows import Row
from desk.system import System

MOST_SYMBOLS = 1000
_REQUESTS = 32
"""Of one look. There is one a second: of a hundred symbols each is read every 3 s, at a few per cent of a core."""

_TOLD_AT_ONCE = 16
"""So many symbols are read before they are told: a first look begins to show soon, and takes little memory."""

_FEWEST = 10
"""So many symbols' alerts are asked for in a look at least, until all are known."""

_SPARK = 40
_NEW_ROWS = 200
_ALERTS_OF_A_SYMBOL = 20
_ALERTS_KEPT = 500
_SEARCH_SECONDS = 10
"""New symbols are looked for so often."""


class News(msgspec.Struct):
    """What a look has found."""

    quotes: list[Row] = msgspec.field(default_factory=list)
    """Each symbol that moved: its newest tick's numbers, and ``spark``, the prices since the last look."""
    alerts: list[Row] = msgspec.field(default_factory=list)
    """New ones, oldest first."""
    rows: dict[str, list[Row]] = msgspec.field(default_factory=dict)
    """All new rows of the symbols that are watched."""


class _Symbol:
    def __init__(self, name: str) -> None:
        self.name = name
        self.seen = " "
        """The newest timestamp."""
        self.seen_alert = " "
        self.knows_alerts = False
        self.looked = 0
        """The number of the look that read it last."""
        self.row: Row | None = None
        self.prices: deque[Decimal] = deque(maxlen=_SPARK)
        self.last_alert: Row | None = None


class Market:
    """What the page's first view shows; one thread looks at a time."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._symbols: dict[str, _Symbol] = {}
        self._alerts: deque[Row] = deque(maxlen=_ALERTS_KEPT)
        self._looks = 0
        self._search_due = 0.0

    def quotes(self) -> list[Row]:
        """Give every symbol's newest tick, with the prices that led to it."""
        return [_quote(symbol, symbol.prices) for symbol in list(self._symbols.values()) if symbol.row]

    def alerts(self) -> list[Row]:
        """Give the newest alerts, oldest first."""
        return list(self._alerts)

    def newest_rows(self) -> Iterable[Row]:
        """Give each symbol's newest row."""
        return [symbol.row for symbol in list(self._symbols.values()) if symbol.row]

    def look(self, watched: Collection[str], tell: Callable[[News], None]) -> None:
        """Read what is new, and tell it bit by bit: a first look takes long."""
        self._looks += 1
        self._search()
        waiting = sorted(self._symbols.values(), key=lambda symbol: (symbol.name not in watched, symbol.looked))
        turn = waiting if self._looks == 1 else waiting[:_REQUESTS]
        for start in range(0, len(turn), _TOLD_AT_ONCE):
            self._read(turn[start : start + _TOLD_AT_ONCE], watched, tell)
        room = max(_REQUESTS - len(turn), _FEWEST)
        unknown = [symbol for symbol in waiting if not symbol.knows_alerts][:room]
        self._tell_alerts(unknown, tell)

    def _read(self, symbols: list[_Symbol], watched: Collection[str], tell: Callable[[News], None]) -> None:
        news, fired = News(), []
        for symbol, rows in zip(symbols, self._system.side_by_side(self._new_rows, symbols), strict=True):
            symbol.looked = self._looks
            if symbol.name in watched and rows:
                news.rows[symbol.name] = rows
            timely = [row for row in rows if not row.get("late")]
            if timely:
                symbol.row = timely[-1]
                symbol.prices.extend(row["price"] for row in timely)
                news.quotes.append(_quote(symbol, [row["price"] for row in timely[-_SPARK:]]))
            if symbol.knows_alerts and (len(rows) == _NEW_ROWS or any(map(_fired, rows))):
                fired.append(symbol)
        tell(news)
        self._tell_alerts(fired, tell)

    def _new_rows(self, symbol: _Symbol) -> list[Row]:
        limit = _NEW_ROWS if symbol.row else _SPARK
        rows = newest(self._system, symbol.name, symbol.seen, None, limit)
        if rows:
            symbol.seen = rows[-1]["timestamp"]
        return rows

    def _tell_alerts(self, symbols: list[_Symbol], tell: Callable[[News], None]) -> None:
        found = [alert for alerts in self._system.side_by_side(self._new_alerts, symbols) for alert in alerts]
        if found:
            found.sort(key=lambda alert: alert["alert_id"])
            self._keep(found)
            tell(News(alerts=found))

    def _keep(self, found: list[Row]) -> None:
        """Keep alerts in their order: those of a symbol that was found late may be older than what is there."""
        newest = self._alerts[-1]["alert_id"] if self._alerts else ""
        self._alerts.extend(found)
        if found[0]["alert_id"] < newest:
            self._alerts = deque(sorted(self._alerts, key=lambda alert: alert["alert_id"]), maxlen=_ALERTS_KEPT)

    def _new_alerts(self, symbol: _Symbol) -> list[Row]:
        limit = _NEW_ROWS if symbol.knows_alerts else _ALERTS_OF_A_SYMBOL
        found = of_symbol(self._system, symbol.name, Wanted(since=symbol.seen_alert))
        alerts = [alert for alert in islice(found, limit) if alert["alert_id"] > symbol.seen_alert][::-1]
        symbol.knows_alerts = True
        if alerts:
            symbol.last_alert, symbol.seen_alert = alerts[-1], alerts[-1]["alert_id"]
        return [public(alert) for alert in alerts]

    def _search(self) -> None:
        """Look for symbols: at each look while there are new ones, else now and then."""
        if time.monotonic() < self._search_due:
            return
        before = len(self._symbols)
        for name in find_symbols(self._system):
            if len(self._symbols) < MOST_SYMBOLS:
                self._symbols.setdefault(name, _Symbol(name))
        if len(self._symbols) == before > 0:
            self._search_due = time.monotonic() + _SEARCH_SECONDS


def find_symbols(system: System) -> list[str]:
    """Name all symbols: those of the shards' snapshots, or while there are none, those of the table."""
    return (ticks.symbols(system) if system.bucket else []) or list(_symbols_of_table(system))


def _symbols_of_table(system: System) -> Iterator[str]:
    """Jump through the table from each symbol to the next."""
    request: dict[str, Any] = {"TableName": system.ticks_table, "Limit": 1, "ProjectionExpression": "symbol"}
    while True:
        page = ask(f"table {system.ticks_table}", lambda: system.dynamodb.scan(**request))
        if not page["Items"]:
            return
        symbol = page["Items"][0]["symbol"]["S"]
        yield symbol
        request["ExclusiveStartKey"] = {"symbol": {"S": symbol}, "timestamp": {"S": "~"}}


def newest(system: System, symbol: str, after: str, until: str | None, limit: int) -> list[Row]:
    """Read at most ``limit`` of the newest rows of a symbol between two timestamps, oldest first."""
    rows = islice(ticks.history(system, symbol, after, until, newest_first=True, page=limit + 1), limit + 1)
    return [row for row in rows if row["timestamp"] > after][:limit][::-1]


def _fired(row: Row) -> bool:
    return bool(set(row.get("anomalies", ())) - set(row.get("suppressed", ())))


_SHOWN = ("symbol", "timestamp", "price", "change", "change_percent", "trend", "volume", "arrived_at")


def _quote(symbol: _Symbol, prices: Iterable[Decimal]) -> dict[str, Any]:
    row = symbol.row or {}
    quote = {name: row[name] for name in _SHOWN if name in row}
    alert = symbol.last_alert
    return {**quote, "spark": list(prices), "alert": public(alert) if alert else None}


_HIDDEN = {"status", "expires_at", "claimed_by", "claimed_at"}


def public(alert: Row) -> Row:
    """Leave out what is between the consumer and the table."""
    return {name: value for name, value in alert.items() if name not in _HIDDEN}
