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

from infra.local.stores import Row
from infra.local.watch import MOST_SYMBOLS, Quote, Shard, Snapshot

_BARS = "▁▂▃▄▅▆▇█"
_SEVERITY_STYLE = {"info": "cyan", "warning": "yellow", "critical": "bold red"}
_PICTURE_SIZE = (100, 30)
_MOVERS_IN_A_LINE = 3


def screen(snapshot: Snapshot, width: int, height: int) -> Layout:
    """Fill a terminal of ``width`` columns and ``height`` rows."""
    summary_height = 4 if width >= 90 else 6
    room = height - summary_height
    below = max(5, min(len(snapshot.shards) + 4, room // 3)) if width < 90 else max(8, room - _quotes_height(snapshot))
    layout = Layout()
    layout.split_column(
        Layout(_summary(snapshot), size=summary_height),
        Layout(_quotes(snapshot, width, max(1, room - below - 4)), name="quotes"),
        Layout(name="below", size=below),
    )
    alerts = Layout(_alerts(snapshot, below - 2), ratio=3)
    if width >= 90:
        layout["below"].split_row(alerts, Layout(_shards(snapshot.shards), ratio=2))
    elif room >= 20:
        layout["below"].size = 2 * below
        layout["quotes"].update(_quotes(snapshot, width, max(1, room - 2 * below - 4)))
        layout["below"].split_column(Layout(_alerts(snapshot, below - 2)), Layout(_shards(snapshot.shards)))
    else:
        layout["below"].update(_alerts(snapshot, below - 2))
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
        f"{snapshot.elapsed_seconds:4.0f} s  {snapshot.phase}: {snapshot.stored:,} ticks stored"
        f" ({snapshot.stored_per_second:,.0f}/s), {snapshot.alerts:,} alerts, {snapshot.duplicates:,} duplicates,"
        f" {snapshot.late:,} late, {snapshot.quarantined:,} quarantined, {snapshot.archive_objects:,} archive objects"
        f"{_behind_text(snapshot)}"
    )
    movers = sorted(snapshot.quotes, key=lambda quote: -abs(quote.row.get("change_percent") or 0))
    return " | ".join([counts, *(_quote_text(quote) for quote in movers[:_MOVERS_IN_A_LINE])])


def alert_line(alert: Row) -> str:
    """Say an alert in one line."""
    return f"        alert ({alert['severity']}) {alert['message']}"


def _summary(snapshot: Snapshot) -> Panel:
    title = Text.assemble(("tickertape local", "bold"), "  ", (snapshot.phase, "dim"))
    cells = [
        ("ticks stored", f"{snapshot.stored:,}", "bold green"),
        ("per second", f"{snapshot.stored_per_second:,.0f}", ""),
        ("alerts", f"{snapshot.alerts:,}", "bold"),
        ("suppressed", f"{snapshot.suppressed:,}", ""),
        ("duplicates", f"{snapshot.duplicates:,}", ""),
        ("late", f"{snapshot.late:,}", ""),
        ("quarantined", f"{snapshot.quarantined:,}", "bold red" if snapshot.quarantined else ""),
        ("archive objects", f"{snapshot.archive_objects:,}", ""),
    ]
    text = Text("   ").join(
        Text.assemble((value, style), " ", (name.replace(" ", "\u00a0"), "dim")) for name, value, style in cells
    )
    minutes, seconds = divmod(int(snapshot.elapsed_seconds), 60)
    return Panel(
        text,
        title=title,
        title_align="left",
        subtitle=Text(f"{minutes:02}:{seconds:02}   Ctrl-C stops", style="dim"),
        subtitle_align="right",
        box=box.ROUNDED,
        border_style="blue",
    )


def _quotes_height(snapshot: Snapshot) -> int:
    return len(snapshot.quotes) + 4


def _quotes(snapshot: Snapshot, width: int, most: int) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1), header_style="dim")
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
    if not snapshot.quotes:
        return Panel(Text(f"{snapshot.phase} ...", style="dim", justify="center"), title="quotes", border_style="blue")
    hidden = len(snapshot.quotes) - most
    full = len(snapshot.quotes) >= MOST_SYMBOLS
    note = Text(f"and {hidden} more" if hidden > 0 and not full else "and more", style="dim")
    return Panel(
        table,
        title="quotes",
        title_align="left",
        subtitle=note if hidden > 0 or full else None,
        subtitle_align="right",
        padding=(0, 0),
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
            f"{shard.ticks:,}",
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
    return f", {max(known) / 1000:.1f} s behind" if known else ""


def _number(value: Decimal | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.6f}"


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
