"""Files of anything: never a traceback, never a number or a time that is not in the file, no row unaccounted for."""

import gzip
import json
import logging
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from common.tick import Tick, decimal_text
from tests.unit.test_cases import replay

NAMES = [".csv", ".txt", ".json", ".jsonl", ".parquet", ".csv.gz", ".json.zst"]

WORDS = ["Date", "Close", "Price", "Ticker", "timestamp", "symbol", "Adj Close", "Stock Splits", "Time", "", "MSFT"]
DATES = {
    "2025-03-04": {"2025-03-04"},
    "03/04/2025": {"2025-03-04", "2025-04-03"},
    "31/12/2024": {"2024-12-31"},
    "12/31/2024": {"2024-12-31"},
    "1735689600000": {"2025-01-01"},
    "20250303": {"2025-03-03"},
    "2025-03-04 23:30:00-05:00": {"2025-03-05"},
}
NUMBERS = {
    "1,234": {"1.234", "1234"},
    "1.234": {"1.234", "1234"},
    "1.234,5": {"1234.5"},
    "0.5": {"0.5"},
    "7": {"7"},
    "$71.66": {"71.66"},
    "8e-06": {"0.000008"},
}
NOTHING = ["", "null", "NaN", "0"]
CELLS = st.one_of(st.sampled_from([*WORDS, *DATES, *NUMBERS, *NOTHING, "-1", "18:49"]), st.text(max_size=6))
PRICED = st.sampled_from([*NUMBERS, *NUMBERS, *NOTHING])


@pytest.fixture(autouse=True)
def _without_log() -> Iterator[None]:
    logger = logging.getLogger("producer")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


def outcome(name: str, content: bytes) -> tuple[list[Tick], int | None]:
    """Give the ticks of a file, and how many rows were passed over; None where it is refused, in one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{name}")
        path.write_bytes(content)
        ticks: list[Tick] = []
        try:
            feed = replay(path, "T")
            ticks.extend(feed)
        except UserError as error:
            message = str(error)
        else:
            return ticks, feed.skipped
    assert str(path) in message
    assert "\n" not in message
    return ticks, None


@given(st.sampled_from(NAMES), st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes(name: str, content: bytes) -> None:
    """Bytes under any name are read or refused in one line."""
    outcome(name, content)


@given(st.binary(max_size=60), st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_damaged_text(damage: bytes, place: int) -> None:
    """A good file with any bytes in the middle is read or refused in one line, compressed or not."""
    good = b"Date,Open,Close,Volume\n" + b"".join(b"2025-01-%02d,1,2,3\n" % day for day in range(1, 11))
    damaged = good[:place] + damage + good[place:]
    outcome(".csv", damaged)
    outcome(".csv.gz", gzip.compress(good)[: place + 20] + damage)


@given(st.lists(st.lists(CELLS, max_size=6), max_size=6), st.sampled_from(",;\t|"))
@settings(max_examples=200, deadline=None)
def test_any_table(rows: list[list[str]], separator: str) -> None:
    """Cells of headers and of values in any place are read or refused in one line."""
    text = "\n".join(separator.join(cell.replace('"', "") for cell in row) for row in rows)
    outcome(".csv", text.encode("utf-8", "surrogatepass"))


@given(
    st.permutations(["Date", "Close", "Volume", "Other"]),
    st.lists(st.tuples(st.sampled_from([*DATES]), PRICED, PRICED, CELLS), min_size=1, max_size=5),
    st.sampled_from(",;\t|"),
)
@settings(max_examples=150, deadline=None)
def test_ticks_say_what_the_file_says(order: list[str], rows: list[tuple[str, str, str, str]], separator: str) -> None:
    """In any order of columns, a tick has a time and a price of one row, as that row can be read."""
    lines = [dict(zip(("Date", "Close", "Volume", "Other"), row, strict=True)) for row in rows]
    table = [order, *([line[name].replace('"', "").strip("\r\n") for name in order] for line in lines)]
    text = "\n".join(separator.join(f'"{cell}"' for cell in row) for row in table)
    ticks, skipped = outcome(".csv", text.encode("utf-8", "surrogatepass"))
    for tick in ticks:
        assert any(
            tick.timestamp[:10] in DATES[line["Date"]] and decimal_text(tick.price) in NUMBERS.get(line["Close"], ())
            for line in lines
        )
    if skipped is not None:
        assert skipped == sum(line["Close"] in NOTHING for line in lines)
        assert {tick.timestamp[:10] for tick in ticks} <= {day for line in lines for day in DATES[line["Date"]]}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), CELLS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([".json", ".jsonl"]))
@settings(max_examples=150, deadline=None)
def test_any_json(document: object, name: str) -> None:
    """JSON of any shape is read or refused in one line."""
    outcome(name, json.dumps(document).encode())


PRICES = st.one_of(st.integers(1, 10**9).map(lambda units: str(Decimal(units).scaleb(-4))), st.sampled_from(NOTHING))


@given(st.lists(st.tuples(st.integers(0, 40), PRICES), min_size=1, max_size=30), st.data())
@settings(max_examples=200, deadline=None)
def test_every_row_is_accounted_for(rows: list[tuple[int, str]], data: st.DataObject) -> None:
    """In any order and with repeats, each row is a tick, passed over, or replaced by a later row of the same day."""
    days = [(date(2025, 1, 1) + timedelta(days=day)).isoformat() for day, _ in rows]
    lines = [f"{day},{price}" for day, (_, price) in zip(days, rows, strict=True)]
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    ticks, skipped = outcome(".csv", end.join(["Date,Close", *lines, ""]).encode())
    priced = [
        (day, price) for day, (_, price) in zip(days, rows, strict=True) if price[:1].isdecimal() and price != "0"
    ]
    last = dict(priced)
    assert skipped == len(rows) - len(priced)
    assert [(tick.timestamp[:10], Decimal(tick.price).scaleb(-9)) for tick in ticks] == [
        (day, Decimal(last[day])) for day in sorted(last)
    ]
    closes = [None, *(tick.price for tick in ticks)]
    assert [tick.previous_close for tick in ticks] == closes[: len(ticks)]
