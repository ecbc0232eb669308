"""The live view: what it shows of a snapshot, at which sizes."""

from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from desk.rows import Row
from infra.local import view
from infra.local.stores import Lease
from infra.local.watch import LogTail, Quote, Shard, Snapshot

SYMBOLS = ["AAPL", "AMZN", "BAC", "GOOGL", "JPM", "KO", "META", "MSFT", "NVDA", "TSLA", "WMT", "XOM"]


def _quote(symbol: str) -> Quote:
    row: Row = {
        "symbol": symbol,
        "price": Decimal("104.5"),
        "change_percent": Decimal("-1.234567"),
        "sma_5": Decimal("103.25"),
        "sma_20": Decimal("102.75"),
        "trend": "up",
    }
    return Quote(row, [Decimal(100 + number % 7) for number in range(40)])


def _alert(number: int, severity: str = "critical") -> Row:
    return {
        "timestamp": f"2026-11-21T07:00:{number:02}.000000Z",
        "severity": severity,
        "message": f"KO moved {number} %.",
    }


def _snapshot(quotes: int = 12, shards: int = 2) -> Snapshot:
    return Snapshot(
        elapsed_seconds=74,
        phase="running",
        stored=1308,
        stored_per_second=24,
        alerts=65,
        suppressed=3,
        duplicates=1,
        late=2,
        quarantined=4,
        archive_objects=20,
        quotes=[_quote(symbol) for symbol in SYMBOLS[:quotes]],
        newest_alerts=[_alert(number) for number in range(5)],
        shards=[Shard(Lease(f"shardId-00000000000{number}", "worker-a", "7"), 654, 250) for number in range(shards)],
    )


def _draw(snapshot: Snapshot, width: int, height: int) -> str:
    console = Console(width=width, height=height, file=StringIO(), record=True, force_terminal=True)
    console.print(view.screen(snapshot, width, height), height=height)
    return console.export_text()


def test_shows_everything_at_100_by_30() -> None:
    """A dozen quotes with averages and sparkline, counts, alerts and shards fit a terminal of 100 by 30."""
    text = _draw(_snapshot(), 100, 30)
    for shown in (*SYMBOLS, "104.50", "-1.23 %", "103.25", "102.75", "▲", "▁", "█", "KO moved 4 %."):
        assert shown in text
    for shown in ("1,308 rows (24/s)", "65 alerts", "3 suppressed", "1 duplicates", "2 late", "4 quarantined"):
        assert shown in text
    for shown in ("20 archive objects", "0.2 s behind", "01:14", "worker-a", "654"):
        assert shown in text


def test_shows_where_the_dashboard_is() -> None:
    """The page's address is on the screen, where there is room for it."""
    found = replace(_snapshot(), dashboard="http://127.0.0.1:8765/")
    assert "http://127.0.0.1:8765/   01:14" in _draw(found, 80, 24)
    assert "01:14" in _draw(found, 40, 24)


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (60, 24), (40, 20), (20, 10), (200, 60)])
@pytest.mark.parametrize("quotes", [0, 12])
def test_fills_the_terminal_and_no_more(width: int, height: int, quotes: int) -> None:
    """Every line is as wide as the terminal and there are as many as it has rows, whatever there is to show."""
    lines = _draw(_snapshot(quotes=quotes, shards=8), width, height).splitlines()
    assert len(lines) == height
    assert {len(line) for line in lines} == {width}


@pytest.mark.parametrize(("width", "height"), [(100, 30), (40, 24)])
def test_conflicts_are_shown_where_there_are_any(width: int, height: int) -> None:
    """Two ticks that contradict each other are seen in the screen and in the line, and take no room otherwise."""
    assert "conflicts" not in _draw(_snapshot(), width, height) + view.line(_snapshot())
    found = replace(_snapshot(), conflicts=3)
    assert "3 conflicts" in _draw(found, width, height)
    assert "20 archive objects, 3 conflicts, " in view.line(found)


def test_narrow_terminals_keep_prices_and_alerts() -> None:
    """At 40 columns the averages go, and price, change and alerts stay."""
    text = _draw(_snapshot(), 40, 24)
    assert "SMA" not in text
    for shown in ("AAPL", "104.50", "-1.23 %", "KO moved 0 %."):
        assert shown in text


def test_says_how_many_quotes_are_hidden() -> None:
    """Quotes for which there is no room are counted."""
    assert "and 2 more" in _draw(_snapshot(), 80, 24)


def test_quotes_without_averages_are_shown() -> None:
    """A symbol's first tick, without previous close, averages or trend, is drawn with dashes."""
    quote = Quote({"symbol": "NEW", "price": Decimal("0.000123")}, [Decimal("0.000123")])
    text = _draw(_snapshot().__class__(**{**vars(_snapshot()), "quotes": [quote]}), 100, 30)
    assert "0.000123" in text


def test_line_says_counts_and_the_quotes_that_moved_most() -> None:
    """The line for logs has the counts and the quote that moved most."""
    snapshot = _snapshot(quotes=2)
    snapshot.quotes.append(Quote({"symbol": "MOVER", "price": Decimal(9), "change_percent": Decimal(12)}, [Decimal(9)]))
    text = view.line(snapshot)
    assert "1,308 rows stored (24/s), 65 alerts, 1 duplicates, 2 late, 4 quarantined, 20 archive objects" in text
    assert "0.2 s behind | MOVER 9.00 +12.00 % SMA-5 - SMA-20 -" in text


def test_counts_that_nobody_knows_are_not_shown() -> None:
    """Where no consumer's log can be read, the line leaves out what only logs tell, and the screen shows dashes."""
    unknown = replace(_snapshot(), suppressed=None, duplicates=None, late=None, quarantined=None)
    assert "65 alerts, 20 archive objects" in view.line(unknown)
    assert "- duplicates" in _draw(unknown, 100, 30)


def test_picture_is_an_svg_of_the_screen(tmp_path: Path) -> None:
    """The picture is an SVG that holds the quotes."""
    view.write_picture(_snapshot(), tmp_path / "view.svg")
    picture = (tmp_path / "view.svg").read_text()
    assert picture.startswith("<svg")
    assert "NVDA" in picture


def test_log_tail_gives_each_complete_line_once(tmp_path: Path) -> None:
    """A log is read on from where it was left; half a line waits for its end, and what is no JSON is passed over."""
    log = tmp_path / "log"
    log.write_text('java says hello\n{"event": "archived", "ticks": 1}\n{"event": "arch')
    tail = LogTail(log)
    assert tail.events() == [{"event": "archived", "ticks": 1}]
    assert tail.events() == []
    with log.open("a") as file:
        file.write('ived", "ticks": 2}\n')
    assert tail.events() == [{"event": "archived", "ticks": 2}]
