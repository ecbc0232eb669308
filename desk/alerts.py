"""Alerts of all symbols or some, newest first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import chain, islice

from desk.rows import Row, query
from desk.system import System

SEVERITIES = ("info", "warning", "critical")
"""From the least to the highest."""

SIGNAL = "signal"
"""The kind of an alert that names none."""

_PAGE = 100
_AFTER_ALL_RULES = "$"
"""Comes after the ``#`` between the timestamp and the rule in an alert's id."""


@dataclass(frozen=True)
class Wanted:
    """Which alerts are wanted; None is all. ``severity`` is the least one, and bounds of time are included."""

    since: str | None = None
    until: str | None = None
    severity: str | None = None
    rule: str | None = None
    kind: str | None = None

    def __contains__(self, alert: Row) -> bool:
        """Tell whether an alert of a wanted time is wanted."""
        return (
            (self.severity is None or _rank(alert["severity"]) >= _rank(self.severity))
            and self.rule in {None, alert["rule"]}
            and self.kind in {None, alert.get("kind", SIGNAL)}
        )


def newest(system: System, symbols: Iterable[str], wanted: Wanted) -> Iterator[Row]:
    """Read alerts, newest first, page by page as they are wanted.

    The first page of each symbol is asked for side by side. There is no index by time: the table's writers would pay
    for it.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    by_symbol = system.side_by_side(lambda symbol: _begun(of_symbol(system, symbol, wanted)), symbols)
    merged = merge(*by_symbol, key=lambda alert: (alert["alert_id"], alert["symbol"]), reverse=True)
    return (alert for alert in merged if alert in wanted)


def of_symbol(system: System, symbol: str, wanted: Wanted) -> Iterator[Row]:
    """Read a symbol's alerts within the wanted time, whatever they are, newest first."""
    until = wanted.until and wanted.until + _AFTER_ALL_RULES
    return query(system, system.alerts_table, symbol, "alert_id", (wanted.since, until), newest_first=True, page=_PAGE)


class News:
    """The alerts that have come since it was made, or since the last look.

    A symbol's alerts come in the order of their event times, so only those after the last one are read.
    """

    def __init__(self, system: System, symbols: Iterable[str]) -> None:
        self._system = system
        self._last: dict[str, tuple[str, frozenset[str]]] = {}
        """By symbol the timestamp of its last alert, and the ids of all its alerts of that time."""
        self.look(symbols, newest_only=True)

    def look(self, symbols: Iterable[str], *, newest_only: bool = False) -> list[Row]:
        """Read what is new of some symbols, oldest first; of symbols that were not there before, all.

        Raises
        ------
        UserError
            AWS refuses, or does not answer.

        """
        limit = 1 if newest_only else None
        found = self._system.side_by_side(lambda symbol: list(islice(self._new(symbol), limit)), symbols)
        new = sorted((alert for alerts in found for alert in alerts), key=lambda alert: alert["alert_id"])
        for alert in new:
            timestamp, ids = self._last.get(alert["symbol"], ("", frozenset()))
            known = ids if alert["timestamp"] == timestamp else frozenset()
            self._last[alert["symbol"]] = alert["timestamp"], known | {alert["alert_id"]}
        return new

    def _new(self, symbol: str) -> Iterator[Row]:
        timestamp, ids = self._last.get(symbol, (None, frozenset[str]()))
        rows = of_symbol(self._system, symbol, Wanted(since=timestamp))
        return (alert for alert in rows if alert["alert_id"] not in ids)


def _begun(rows: Iterator[Row]) -> Iterator[Row]:
    """Have the first page read now."""
    return chain(list(islice(rows, 1)), rows)


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0
