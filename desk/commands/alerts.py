"""`tickertape alerts`: the newest alerts, the last one at the bottom."""

import sys
import time
from itertools import islice
from typing import Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from common.settings import read_settings
from desk import ticks
from desk.alerts import News, Wanted, newest
from desk.command import FollowSettings, run, symbols_of
from desk.moments import Moment
from desk.output import Column, Output, output
from desk.quotes import time_of
from desk.rows import Row
from desk.system import System, find_system

_NEWEST = 50
_INTERVAL_SECONDS = 1.0
_NEW_SYMBOLS_SECONDS = 30.0
_STYLES = {"info": "cyan", "warning": "yellow", "critical": "bold red"}

_NAMES = (
    *("symbol", "alert_id", "timestamp", "rule", "direction", "severity", "kind", "price", "value", "threshold"),
    *("message", "status", "published_at", "expires_at"),
)


class AlertsSettings(FollowSettings):
    """Show alerts, the newest at the bottom."""

    symbols: CliPositionalArg[list[str]] = Field([], description="The symbols; all that there are without any.")
    since: Moment | None = Field(
        None, description="Event time of the first: 30m, 1h, 2d, 1w ago, or a time as 2026-01-31T14:30Z."
    )
    until: Moment | None = Field(None, description="Event time of the last, likewise.")
    severity: Literal["info", "warning", "critical"] | None = Field(None, description="The least severity.")
    rule: str | None = Field(None, description="Only alerts of this rule.")
    kind: str | None = Field(None, description="Only alerts of this kind: signal, or quality for those about the data.")
    limit: int | None = Field(
        None, ge=1, description=f"At most so many, the newest; without --since and --until {_NEWEST}, else all."
    )


def main(arguments: list[str]) -> int:
    """Show them; returns the exit code."""
    return run(lambda: _alerts(read_settings(AlertsSettings, arguments, "alerts")))


def _alerts(settings: AlertsSettings) -> None:
    system = find_system(settings)
    wanted = Wanted(settings.since, settings.until, settings.severity, settings.rule, settings.kind)
    names = symbols_of(settings.symbols)
    known = names or ticks.symbols(system)
    news = News(system, known) if settings.follow else None
    limit = settings.limit or (None if settings.since or settings.until else _NEWEST)
    found = list(islice(newest(system, known, wanted), limit))
    if not found:
        _complain_of_unknown(system, names)
    shown = output(settings.format, _COLUMNS, _NAMES)
    shown.write(reversed(found))
    if news:
        _follow(system, names, news, wanted, shown)
    shown.end()


def _complain_of_unknown(system: System, names: list[str]) -> None:
    known = ticks.latest(system, names)
    for name in names:
        if name not in known:
            raise ticks.unknown(system, name)


def _follow(system: System, names: list[str], news: News, wanted: Wanted, shown: Output) -> None:
    while True:
        known, looked = names or ticks.symbols(system), time.monotonic()
        while time.monotonic() < looked + _NEW_SYMBOLS_SECONDS:
            time.sleep(_INTERVAL_SECONDS)
            shown.write([alert for alert in news.look(known) if alert in wanted])


def _style(row: Row) -> str:
    return _STYLES.get(row["severity"], "")


_COLUMNS = (
    Column("timestamp", lambda row: time_of(row["timestamp"]), "dim"),
    Column("severity", style=_style),
    Column("symbol", style="bold"),
    Column("rule"),
    Column("direction"),
    Column("message", style=_style, wraps=True),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
