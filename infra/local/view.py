"""Draws a snapshot of a run: as a screen of a terminal, as an SVG picture, or as a line of text."""

from decimal import Decimal
from io import StringIO
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from common.tick import significant_text
from desk.rows import Row
from infra.local.watch import MOST_SYMBOLS, Quote, Shard, Snapshot

_BARS = "▁▂▃▄▅▆▇█"
_SEVERITY_STYLE = {"info": "cyan", "warning": "yellow", "critical": "bold red"}
_PICTURE_SIZE = (100, 30)
_WIDE = 90
_SUMMARY_IN_TWO_ROWS = 76
_QUOTES_FRAME = 4  # borders, header and its rule
_SHARDS_WIDTH = 36
_MOVERS_IN_A_LINE = 3


def screen(snapshot: Snapshot, width: int, height: int) -> Layout:
    """Fill a terminal of ``width`` columns and ``height`` rows."""
    wide = width >= _WIDE
    summary_height = (4 if width >= _SUMMARY_IN_TWO_ROWS else 6) + bool(snapshot.conflicts)
    room = height - summary_height
    below = max(8, room - len(snapshot.quotes) - _QUOTES_FRAME) if wide else max(5, room // 3)
    layout = Layout()
    layout.split_column(
        Layout(_summary(snapshot, width), size=summary_height),
        Layout(_quotes(snapshot, width, max(1, room - below - _QUOTES_FRAME))),
        Layout(name="below", size=below),
    )
    alerts = Layout(_alerts(snapshot, below - 2))
    if wide:
        layout["below"].split_row(alerts, Layout(_shards(snapshot.shards), size=_SHARDS_WIDTH))
    else:
        layout["below"].split_column(alerts)
    return layout


def write_picture(snapshot: Snapshot, file: Path) -> None:
    """Draw the screen as an SVG."""
    width, height = _PICTURE_SIZE
    console = Console(record=True, width=width, height=height, file=StringIO(), force_terminal=True)
    console.print(screen(snapshot, width, height), height=height)
    console.save_svg(str(file), title="tickertape local")


def line(snapshot: Snapshot) -> str:
    """Say in one line how far a run is, with the quotes that moved most."""
    counts = (
        f"{snapshot.elapsed_seconds:4.0f} s  {snapshot.phase}: {snapshot.stored:,} rows stored"
        f" ({snapshot.stored_per_second:,.0f}/s), {snapshot.alerts:,} alerts,"
    )
    logged = {"duplicates": snapshot.duplicates, "late": snapshot.late, "quarantined": snapshot.quarantined}
    for name, count in logged.items():
        counts += f" {count:,} {name}," if count is not None else ""
    counts += f" {snapshot.archive_objects:,} archive objects"
    if snapshot.conflicts:
        counts += f", {snapshot.conflicts:,} conflicts"
    if behind := _behind_text(snapshot):
        counts += f", {behind} behind"
    movers = sorted(snapshot.quotes, key=lambda quote: -abs(quote.row.get("change_percent") or 0))
    return " | ".join([counts, *(_quote_text(quote) for quote in movers[:_MOVERS_IN_A_LINE])])


def alert_line(alert: Row) -> str:
    """Say an alert in one line."""
    return f"        alert ({alert['severity']}) {alert['message']}"


def _summary(snapshot: Snapshot, width: int) -> Panel:
    counts = [
        (f"{snapshot.stored:,}", "bold green", f"rows ({snapshot.stored_per_second:,.0f}/s)"),
        (f"{snapshot.alerts:,}", "bold", "alerts"),
        (_count(snapshot.suppressed), "", "suppressed"),
        (f"{snapshot.archive_objects:,}", "", "archive objects"),
        (_count(snapshot.duplicates), "", "duplicates"),
        (_count(snapshot.late), "", "late"),
        (_count(snapshot.quarantined), "bold red" if snapshot.quarantined else "", "quarantined"),
        (_behind_text(snapshot) or "-", "", "behind"),
    ]
    if snapshot.conflicts:  # rare, so no room is kept for it
        counts.append((_count(snapshot.conflicts), "bold red", "conflicts"))
    cells = [Text.assemble((value, style), " ", (name, "dim")) for value, style, name in counts]
    columns = 4 if width >= _SUMMARY_IN_TWO_ROWS else 2
    grid = Table.grid(expand=True, padding=(0, 1))
    for _ in range(columns):
        grid.add_column(ratio=1, no_wrap=True)
    for first in range(0, len(cells), columns):
        grid.add_row(*cells[first : first + columns])
    minutes, seconds = divmod(int(snapshot.elapsed_seconds), 60)
    address = f"{snapshot.dashboard}   " if snapshot.dashboard and width >= _SUMMARY_IN_TWO_ROWS else ""
    return Panel(
        grid,
        title=Text.assemble(("tickertape local", "bold"), "  ", (snapshot.phase, "dim")),
        title_align="left",
        subtitle=Text.assemble((address, "bold"), (f"{minutes:02}:{seconds:02}   Ctrl-C stops", "dim")),
        subtitle_align="right",
        border_style="blue",
    )


def _quotes(snapshot: Snapshot, width: int, most: int) -> Panel:
    if not snapshot.quotes:
        waiting = Text("waiting for the first ticks", style="dim")
        return Panel(waiting, title="quotes", title_align="left", border_style="blue")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, expand=True, padding=(0, 1), header_style="dim")
    table.add_column("symbol", style="bold", no_wrap=True)
    table.add_column("price", justify="right", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    if width >= 60:
        table.add_column("SMA-5", justify="right", no_wrap=True)
        table.add_column("SMA-20", justify="right", no_wrap=True)
    table.add_column("trend", justify="center", no_wrap=True)
    spark_width = min(40, width - (64 if width >= 60 else 42))
    if spark_width >= 6:
        table.add_column("recent", no_wrap=True, min_width=spark_width)
    for quote in snapshot.quotes[:most]:
        row = quote.row
        cells: list[RenderableType] = [row["symbol"], _number(row["price"]), _change(row)]
        if width >= 60:
            cells += [_number(row.get("sma_5")), _number(row.get("sma_20"))]
        cells.append(_trend(row))
        if spark_width >= 6:
            cells.append(_sparkline(quote.prices[-spark_width:]))
        table.add_row(*cells)
    hidden = len(snapshot.quotes) - most
    full = len(snapshot.quotes) >= MOST_SYMBOLS
    note = Text(f"and {hidden} more" if hidden > 0 and not full else "and more", style="dim")
    return Panel(
        table,
        title="quotes",
        title_align="left",
        subtitle=note if hidden > 0 or full else None,
        subtitle_align="right",
        border_style="blue",
    )


def _alerts(snapshot: Snapshot, most: int) -> Panel:
    lines = []
    for alert in snapshot.newest_alerts[:most]:
        style = _SEVERITY_STYLE.get(alert["severity"], "")
        lines.append(
            Text.assemble(
                (f"{alert['timestamp'][11:19]} ", "dim"),
                ("● ", style),
                (alert["message"], style),
                no_wrap=True,
                overflow="ellipsis",
            )
        )
    body: RenderableType = Group(*lines) if lines else Text("none yet", style="dim")
    return Panel(body, title="alerts", title_align="left", border_style="blue")


def _shards(shards: list[Shard]) -> Panel:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    table.add_column("shard", no_wrap=True)
    table.add_column("worker", no_wrap=True, overflow="ellipsis")
    table.add_column("ticks", justify="right", no_wrap=True)
    table.add_column("behind", justify="right", no_wrap=True)
    for shard in shards:
        table.add_row(
            shard.lease.shard_id.removeprefix("shardId-").lstrip("0") or "0",
            shard.lease.owner[-8:] or Text("nobody", style="yellow"),
            _count(shard.ticks),
            _behind(shard),
        )
    body: RenderableType = table if shards else Text("not taken yet", style="dim")
    return Panel(body, title="shards", title_align="left", border_style="blue")


def _behind(shard: Shard) -> Text:
    if shard.lease.checkpoint == "SHARD_END":
        return Text("ended", style="dim")
    if shard.millis_behind is None:
        return Text("-", style="dim")
    return Text(f"{shard.millis_behind / 1000:.1f} s", style="green" if shard.millis_behind < 10_000 else "yellow")


def _behind_text(snapshot: Snapshot) -> str:
    known = [shard.millis_behind for shard in snapshot.shards if shard.millis_behind is not None]
    return f"{max(known) / 1000:.1f} s" if known else ""


def _count(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _number(value: Decimal | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if abs(value) >= 10 else significant_text(value)


def _change(row: Row) -> Text:
    percent = row.get("change_percent")
    if percent is None:
        return Text("-", style="dim")
    return Text(f"{percent:+.2f} %", style="green" if percent > 0 else "red" if percent < 0 else "")


def _trend(row: Row) -> Text:
    return {"up": Text("▲", style="green"), "down": Text("▼", style="red")}.get(
        row.get("trend", ""), Text("·", style="dim")
    )


def _sparkline(prices: list[Decimal]) -> Text:
    low, high = min(prices), max(prices)
    steps = len(_BARS) - 1
    bars = "".join(_BARS[round((price - low) / (high - low) * steps) if high > low else steps // 2] for price in prices)
    return Text(bars, style="green" if prices[-1] >= prices[0] else "red")


def _quote_text(quote: Quote) -> str:
    row = quote.row
    trend = {"up": " ▲", "down": " ▼"}.get(row.get("trend", ""), "")
    return (
        f"{row['symbol']} {_number(row['price'])} {_change(row).plain}"
        f" SMA-5 {_number(row.get('sma_5'))} SMA-20 {_number(row.get('sma_20'))}{trend}"
    )
