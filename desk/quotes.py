"""How people see rows of the ticks table."""

from collections.abc import Iterable
from decimal import Decimal
from re import compile as regex

from common.tick import significant_text
from desk.output import Column, plain
from desk.rows import Row

NAMES = (
    *("symbol", "timestamp", "price", "open", "high", "low", "previous_close", "change", "change_percent", "volume"),
    *("source", "z_score", "bollinger_upper", "bollinger_lower", "expected_low", "expected_high"),
    *("anomalies", "suppressed", "trend", "late"),
    *("misplaced", "partition_key", "shard_id", "sequence_number", "sub_sequence_number", "record_index"),
    *("arrived_at", "expires_at"),
)
"""The attributes of a row that may be absent in the first rows; averages are named by their windows."""

_AVERAGE = regex(r"sma_(\d+)")


def columns(rows: Iterable[Row], *, with_symbol: bool) -> list[Column]:
    """Give the columns of a table, with the averages that these rows have."""
    found = {name: int(average[1]) for row in rows for name in row if (average := _AVERAGE.fullmatch(name))}
    return [
        *([Column("symbol", style="bold")] if with_symbol else []),
        Column("timestamp", _time, "dim"),
        Column("price", _price, right=True),
        Column("change_percent", _percent, _up_or_down, right=True, header="change"),
        Column("volume", _volume, right=True),
        *(_average(name) for name in sorted(found, key=lambda name: found[name])),
        Column("trend", _trend, _trend_style),
        Column("anomalies", _flags, "yellow"),
    ]


def time_of(timestamp: str) -> str:
    """Write a timestamp for people: without microseconds where there are none."""
    return timestamp.removesuffix("Z").removesuffix(".000000").replace("T", " ")


def _time(row: Row) -> str:
    return time_of(row["timestamp"])


def _price(row: Row) -> str:
    """Give all digits, cents included."""
    whole, _, decimals = plain(row["price"]).partition(".")
    return f"{whole}.{decimals:0<2}"


def _percent(row: Row) -> str:
    percent = row.get("change_percent")
    return "" if percent is None else f"{percent:+.2f} %"


def _up_or_down(row: Row) -> str:
    percent = row.get("change_percent") or 0
    return "green" if percent > 0 else "red" if percent < 0 else ""


def _volume(row: Row) -> str:
    volume = row.get("volume")
    return "" if volume is None else f"{volume:,}"


def _average(name: str) -> Column:
    def show(row: Row) -> str:
        value = row.get(name)
        return "" if value is None else _like_price(value, row["price"])

    return Column(name, show, right=True)


def _like_price(value: Decimal, price: Decimal) -> str:
    """Round to the price's decimals, at least two; but not so that a coin's average becomes nothing."""
    _, _, decimals = plain(price).partition(".")
    return f"{value:.{len(decimals)}f}" if len(decimals) > 2 else significant_text(value)


def _trend(row: Row) -> str:
    return {"up": "▲", "down": "▼"}.get(row.get("trend", ""), "")


def _trend_style(row: Row) -> str:
    return "green" if row.get("trend") == "up" else "red"


def _flags(row: Row) -> str:
    held_back = row.get("suppressed", ())
    rules = [f"({rule})" if rule in held_back else rule for rule in row.get("anomalies", ())]
    return " ".join([*rules, *(flag for flag in ("late", "misplaced") if row.get(flag))])
