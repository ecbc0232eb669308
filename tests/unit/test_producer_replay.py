"""The replay feed: every format and header, bars as ticks, pacing, and rows that cannot be read."""

import gzip
import json
import math
import os
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from common.errors import SettingsError, UserError
from common.tick import Tick
from producer.feeds.replay import Replay
from producer.reading import Reading
from tests.unit.fake_clock import FakeClock


def read(path: Path, symbol: str | None = None, only: tuple[str, ...] = ()) -> list[Tick]:
    """Replay the whole file at once."""
    return list(Replay(path, symbol=symbol, only=only, speed=math.inf, clock=FakeClock()))


def units(text: str) -> int:
    """Say a price in units of 10⁻⁹."""
    return int(Decimal(text).scaleb(9))


BARS = """Date,Open,High,Low,Close,Adj Close,Volume,Name
2016-01-04,10.5,11,10,10.75,9.675,100.0,re
2016-01-04,20,21.123456789,19,20.5,18.45,7,MHK
2016-01-05,10.7,12,10.6,11.25,10.125,50,RE
2016-01-07,11,11,11,11.5,10.35,60,RE
"""

BARS_AS_TICKS = [
    Tick("RE", "2016-01-04T00:00:00.000000Z", units("10.75"), units("10.5"), units("11"), units("10"), None, 100),
    Tick("MHK", "2016-01-04T00:00:00.000000Z", units("20.5"), units("20"), 21_123_456_789, units("19"), None, 7),
    Tick(
        *("RE", "2016-01-05T00:00:00.000000Z", units("11.25"), units("10.7"), units("12"), units("10.6")),
        *(units("10.75"), 50),
    ),
    Tick(
        *("RE", "2016-01-07T00:00:00.000000Z", units("11.5"), units("11"), units("11"), units("11")),
        *(units("11.25"), 60),
    ),
]
for _tick in BARS_AS_TICKS:
    _tick.source = "replay"


def bars_as_rows() -> list[dict[str, str]]:
    """Give the bars as text by column."""
    header, *lines = BARS.splitlines()
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    """Write rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def numeric_bars() -> bytes:
    """The bars as JSON lines whose numbers are numbers, written with their decimals as they are."""
    lines = []
    for row in bars_as_rows():
        fields = (
            f'"{name}": {value}' if name not in {"Date", "Name"} else f'"{name}": "{value}"'
            for name, value in row.items()
        )
        lines.append("{" + ", ".join(fields) + "}\n")
    return "".join(lines).encode()


def parquet_bars() -> bytes:
    """Write the bars as Parquet, with the types that data frames have."""
    rows = bars_as_rows()
    table = pa.table(
        {
            "Date": pa.array([date.fromisoformat(row["Date"]) for row in rows]),
            **{name: pa.array([float(row[name]) for row in rows]) for name in ("Open", "High", "Low", "Close")},
            "Volume": pa.array([int(float(row["Volume"])) for row in rows]),
            "Ticker": pa.array([row["Name"] for row in rows]).dictionary_encode(),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", BARS.encode),
        (".csv", lambda: b"\xef\xbb\xbf" + BARS.replace("\n", "\r\n").encode()),
        (".jsonl", numeric_bars),
        (".ndjson", lambda: jsonl(bars_as_rows())),
        (".parquet", parquet_bars),
    ],
    ids=["csv", "csv with BOM and CRLF", "jsonl of numbers", "jsonl of text", "parquet"],
)
def test_every_format_gives_the_same_ticks(
    tmp_path: Path, suffix: str, content: Callable[[], bytes], compression: str
) -> None:
    """The same bars give exactly the same ticks as CSV, JSON lines and Parquet, plain and compressed."""
    path = tmp_path / f"bars{suffix}{compression}"
    path.write_bytes(COMPRESS[compression](content()))
    assert read(path) == BARS_AS_TICKS


@pytest.mark.parametrize("when", ["Date", "datetime", "TIME", "timestamp", "Timestamp "])
@pytest.mark.parametrize("symbol", ["Symbol", "TICKER", "name"])
@pytest.mark.parametrize("price", ["Close", "close", "PRICE"])
def test_usual_headers_are_known_in_any_case(tmp_path: Path, when: str, symbol: str, price: str) -> None:
    """The usual names of the time, symbol and price columns are understood, whatever their case."""
    path = tmp_path / "bars.csv"
    path.write_text(f"{symbol},{when},{price}\nKO,2024-03-04 09:30:00-05:00,61.5\n")
    assert read(path) == [Tick("KO", "2024-03-04T14:30:00.000000Z", units("61.5"), source="replay")]


def test_contract_names_win_over_other_names(tmp_path: Path) -> None:
    """Where a file has both, symbol is the symbol and name is not, and a price makes the row a tick."""
    path = tmp_path / "ticks.csv"
    path.write_text("name,symbol,date,timestamp,price,close\nCoca-Cola Co,KO,2020-01-01,2024-03-04,61.5,9\n")
    assert read(path) == [Tick("KO", "2024-03-04T00:00:00.000000Z", units("61.5"), source="replay")]


def test_ticks_pass_as_they_are(tmp_path: Path) -> None:
    """Rows with a price keep their volume, previous_close and source; absent and null fields stay absent."""
    path = tmp_path / "ticks.jsonl"
    path.write_text(
        '{"symbol":"ko","timestamp":"2024-03-04T10:00:00Z","price":61.123456789012,"open":61,"high":62.5,"low":60.5,'
        '"previous_close":60,"volume":1000,"source":"yahoo","change":1.1}\n'
        '{"symbol":"KO","timestamp":"2024-03-04T10:00:01Z","price":61,"open":null,"previous_close":0,"volume":900}\n\n'
    )
    first, second = read(path)
    assert first == Tick(
        *("KO", "2024-03-04T10:00:00.000000Z", 61_123_456_789, units("61"), units("62.5"), units("60.5")),
        *(units("60"), 1000, "yahoo"),
    )
    assert second == Tick("KO", "2024-03-04T10:00:01.000000Z", units("61"), volume=900, source="replay")


def test_bars_volume_is_added_up_over_the_day(tmp_path: Path) -> None:
    """A symbol's volume grows through its day, fractions exactly, and starts again on the next; UTC is the default."""
    path = tmp_path / "bars.csv"
    path.write_text(
        "time,close,volume\n"
        "2024-03-04T23:00:00Z,1,0.4\n"
        "2024-03-04T23:30:00Z,2,0.4\n"
        "2024-03-05 00:45,3,10\n"
        "2024-03-05T01:00:00Z,4,\n"
        "2024-03-05T02:00:00Z,5,5.0\n"
    )
    ticks = read(path, symbol="INDA")
    assert [tick.volume for tick in ticks] == [0, 1, 10, None, 15]
    assert [tick.previous_close for tick in ticks] == [None, None, units("2"), units("2"), units("2")]
    assert {tick.symbol for tick in ticks} == {"INDA"}


def test_only_the_wanted_symbols_are_published(tmp_path: Path) -> None:
    """SYMBOLS passes over a file's other symbols."""
    path = tmp_path / "bars.csv"
    path.write_text(BARS)
    assert read(path, only=("MHK",)) == [BARS_AS_TICKS[1]]


def test_symbols_that_the_contract_refuses_pass(tmp_path: Path) -> None:
    """A symbol such as NYSE:LMT goes to the stream as it is: the consumer's quarantine keeps and counts it."""
    path = tmp_path / "bars.csv"
    path.write_text("date,close,symbol\n2024-03-04,1,NYSE:LMT\n2024-03-04,1,LMT\n")
    assert [tick.symbol for tick in read(path)] == ["NYSE:LMT", "LMT"]


def test_real_bars(tmp_path: Path) -> None:
    """Real files, one without a symbol column and one with gaps, are read to their last row."""
    data = Path(__file__).parents[1] / "data"
    assert len(read(data / "inda_1min.csv", symbol="INDA")) == 3500
    assert len(read(data / "sp500_daily.csv")) == 10_000


def test_parquet_types(tmp_path: Path) -> None:
    """Parquet's timestamps with and without a zone, decimals, integers and missing numbers are understood."""
    path = tmp_path / "ticks.parquet"
    moment = datetime(2024, 3, 4, 14, 30, 0, 123456, tzinfo=UTC)
    pq.write_table(
        pa.table(
            {
                "timestamp": pa.array([moment, moment], pa.timestamp("ns", tz="America/New_York")),
                "price": pa.array([Decimal("61.123456789"), Decimal(61)], pa.decimal128(20, 9)),
                "open": pa.array([1.1, math.nan]),
                "volume": pa.array([5, None], pa.int64()),
            }
        ),
        path,
    )
    assert read(path, symbol="KO") == [
        Tick("KO", "2024-03-04T14:30:00.123456Z", 61_123_456_789, open=units("1.1"), volume=5, source="replay"),
        Tick("KO", "2024-03-04T14:30:00.123456Z", units("61"), source="replay"),
    ]


GOOD = "2024-03-04,1,KO"
NOT_A_TIME = "is not a date or time: write it as 2025-03-31T15:30:00Z, or say how it is written with --time-format"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2024-03-04,abc,KO", "column close: 'abc' is not a number"),
        ("2024-03-04,-1,KO", "column close: '-1' is no price: a price is not above 0 and below 9200000000"),
        ("2024-03-04,inf,KO", "column close: 'inf' is not a number"),
        ("2024-03-04,1e400,KO", "column close: '1e400' is no price: "),
        ("2024-03-04,1e-12,KO", "column close: '1e-12' is no price: a price is below 10⁻⁹"),
        ("yesterday,1,KO", f"column date: 'yesterday' {NOT_A_TIME}"),
        (",1,KO", f"column date: '' {NOT_A_TIME}"),
        (f"{'y' * 99},1,KO", f"column date: '{'y' * 39}… {NOT_A_TIME}"),
        ("2024-02-30,1,KO", f"column date: '2024-02-30' {NOT_A_TIME}"),
        ("2024-03-04x10:00,1,KO", "column date: '2024-03-04x10:00' is not a date or time"),
        ("2024-03-04110:00,1,KO", "column date: '2024-03-04110:00' is not a date or time"),
        ("17095464000,1,KO", "column date: '17095464000' has 11 digits, and an epoch has 10, 13, 16 or 19"),
        ("03/04/24,1,KO", f"column date: '03/04/24' {NOT_A_TIME}"),
        ("2024-03-04,1,", "there is no symbol: name it with SYMBOL (--symbol)"),
        ("2024-03-04,1", "has 2 fields, and the header has 3, at the separator ',' (--separator): '2024-03-04,1'"),
        ("2024-03-04,1,KO,4", "has 4 fields, and the header has 3"),
        ('2024-03-04,1,"KO" x', "is not CSV"),
        ('2024-03-04,1,"K""O"', "column symbol: 'K\"O' is no symbol: symbol is not 1 to 32 characters"),
        ('2024-03-04,1,"K\n\nO"', "column symbol: 'K\\n\\nO' is no symbol"),
    ],
)
def test_unreadable_row_is_named_by_file_and_line(tmp_path: Path, line: str, reason: str) -> None:
    """Rows before an unreadable one are given; then one line names the file, the line, the column and the value."""
    path = tmp_path / "bars.csv"
    path.write_text(f"date,close,symbol\n{GOOD}\n\n{line}\n{GOOD}\n")
    feed = Replay(path, symbol=None, only=(), speed=math.inf, clock=FakeClock())
    assert next(feed).symbol == "KO"
    with pytest.raises(UserError) as failure:
        next(feed)
    assert str(failure.value).startswith(f"{path}, line 4: {reason}")
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "is not a JSON object"),
        (b"[1]", "is not a JSON object"),
        (b'{"symbol":"\xff"}', "is not a JSON object"),
        (b'{"symbol":"KO","timestamp":17095464,"price":1}', f"column timestamp: '17095464' {NOT_A_TIME}"),
        (b'{"symbol":"KO","timestamp":"2024-03-04","price":true}', "column price: 'True' is not a number"),
        (b'{"symbol":"KO","timestamp":"2024-03-04","price":{"a":1}}', "is not a number"),
        (b'{"symbol":"KO","timestamp":"2024-03-04","cost":1}', "there is neither price nor close among its columns"),
        (
            b'{"symbol":"KO","timestamp":"2024-03-04","price":1,"volume":-1}',
            "column volume: '-1' is no volume: one is between 0 and 2⁶³",
        ),
        (b"[" * 100_000, "is not a JSON object"),
        (b'{"symbol":"KO","timestamp":"2024-03-04","price":1e999999999}', "is a number beyond 10^±400"),
        (b'{"symbol":"KO","timestamp":"2024-03-04","price":1' + b"0" * 5000 + b"}", "Integer value out of range"),
        (b'{"symbol":"KO","timestamp":1' + b"0" * 50 + b',"price":1}', "column timestamp: '1000"),
        (b'{"symbol":"KO","timestamp":1e-999999999,"price":1}', "is not a date or time"),
        (b'{"symbol":"KO","date":"2024-03-04","close":1,"adj close":1e-999999999}', "is a number beyond 10^±400"),
        (b'{"symbol":"KO","date":"2024-03-04","close":1,"stock splits":1e999999999}', "is a number beyond 10^±400"),
    ],
)
def test_unreadable_json_line_is_named(tmp_path: Path, line: bytes, reason: str) -> None:
    """What is not a JSON object, or an object that is no tick and no bar, is refused with its line's number."""
    path = tmp_path / "ticks.jsonl"
    path.write_bytes(b'{"symbol":"KO","timestamp":"2024-03-04","price":1}\n' + line + b"\n")
    with pytest.raises(UserError) as failure:
        read(path)
    assert str(failure.value).startswith(f"{path}, line 2: ")
    assert reason in str(failure.value)


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path: Path) -> None:
    """A stray byte deep in a CSV file is reported with its own line, not with that of the block that was read."""
    path = tmp_path / "bars.csv"
    path.write_bytes(b"date,close,symbol\n" + f"{GOOD}\n".encode() * 5 + b"2024-03-04,1,K\xff\n")
    with pytest.raises(UserError, match=r"line 7: column symbol: .* is no symbol"):
        read(path)


def test_unreadable_parquet_row_is_named_by_its_number(tmp_path: Path) -> None:
    """In Parquet the row's number is named, across batches."""
    path = tmp_path / "ticks.parquet"
    prices = [1.0] * 9999 + [-1.0]
    pq.write_table(pa.table({"date": ["2024-03-04"] * 10_000, "price": prices}), path)
    with pytest.raises(UserError, match=r"ticks\.parquet, row 10000: column price: '-1.0' is no price"):
        read(path, symbol="KO")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("a,b,close", "there is no timestamp, datetime, date or time among its columns: a, b, close; name the columns"),
        (
            "date,open,symbol",
            "there is neither price nor close among its columns: date, open, symbol; name the columns",
        ),
        ("date,close,Close", "the column close is there 2 times: name the columns with --columns"),
        ("date,close,volume", "there is no symbol: name it with SYMBOL (--symbol)"),
    ],
)
def test_unknown_columns_are_refused_at_once(tmp_path: Path, header: str, reason: str) -> None:
    """A file whose columns do not make ticks is refused before anything is published."""
    path = tmp_path / "bars.csv"
    path.write_text(f"{header}\n2024-03-04,1,2\n")
    with pytest.raises(UserError) as failure:
        Replay(path, symbol=None, only=(), speed=1, clock=FakeClock())
    assert reason in str(failure.value)


@pytest.mark.parametrize(
    ("suffix", "compression"), [("csv", ".gz"), ("csv", ".zst"), ("jsonl", ".gz"), ("parquet", ".zst"), ("parquet", "")]
)
def test_damaged_file_is_refused_in_one_line(tmp_path: Path, suffix: str, compression: str) -> None:
    """A file that was cut short is an error, not a shorter file."""
    content = {"csv": BARS.encode(), "jsonl": numeric_bars(), "parquet": parquet_bars()}[suffix]
    path = tmp_path / f"bars.{suffix}{compression}"
    path.write_bytes(COMPRESS[compression](content)[:-10])
    with pytest.raises(UserError) as failure:
        read(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("name", ["bars.parquet", "bars.csv.gz", "bars.csv.zst"])
def test_file_that_is_not_what_its_name_says(tmp_path: Path, name: str) -> None:
    """Text under the name of another format is refused in one line."""
    path = tmp_path / name
    path.write_text(BARS)
    with pytest.raises(UserError, match="bars"):
        read(path)


def test_damaged_parquet_page_is_refused(tmp_path: Path) -> None:
    """A Parquet file with a footer but damaged data is refused with the row after the last good one."""
    path = tmp_path / "bars.parquet"
    content = bytearray(parquet_bars())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(UserError, match="row 1: is not readable as Parquet"):
        read(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.csv", "cannot be read: No such file or directory"),
        ("directory.csv", "cannot be read: Is a directory"),
        ("secret.csv", "cannot be read: Permission denied"),
        ("bars.xlsx", "is not named .csv, .tsv, .txt, .json, .jsonl or .parquet, nor one of these with .gz or .zst"),
    ],
)
def test_file_that_cannot_be_opened(tmp_path: Path, name: str, reason: str) -> None:
    """A file that is missing, a directory, forbidden or of an unknown kind is a wrong setting, in one line."""
    (tmp_path / "directory.csv").mkdir()
    (tmp_path / "secret.csv").write_text(BARS)
    (tmp_path / "secret.csv").chmod(0)
    (tmp_path / "bars.xlsx").write_text(BARS)
    if os.geteuid() == 0 and name == "secret.csv":
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(SettingsError) as failure:
            read(tmp_path / name)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
    assert str(failure.value) == f"REPLAY_FILE: {tmp_path / name} {reason}"


def test_empty_file_has_no_ticks(tmp_path: Path) -> None:
    """A file without rows is a feed that ends at once."""
    for name, content in (
        ("a.csv", ""),
        ("d.json", ""),
        ("e.json", "[]"),
        ("f.txt", "\n\n"),
        ("b.csv", "date,close,symbol\n"),
        ("c.jsonl", "\n"),
    ):
        (tmp_path / name).write_text(content)
        assert read(tmp_path / name) == []


def test_file_is_streamed(tmp_path: Path) -> None:
    """Ticks come before the rest of the file is read: a bad row later on does not keep back the first ones."""
    path = tmp_path / "bars.jsonl"
    path.write_text(
        "".join(f'{{"symbol":"KO","date":{10**9 + second},"close":1}}\n' for second in range(50_000)) + "junk\n"
    )
    feed = Replay(path, symbol=None, only=(), speed=math.inf, clock=FakeClock())
    assert [next(feed).symbol for _ in range(1000)] == ["KO"] * 1000


def days_and_prices(path: Path, symbol: str | None = "KO") -> list[tuple[str, str, float]]:
    """Replay a file, and give each tick's symbol, day and price."""
    return [(tick.symbol, tick.timestamp[:10], tick.price / 1e9) for tick in read(path, symbol)]


def test_bars_of_several_symbols_are_sorted(tmp_path: Path) -> None:
    """Newest first, symbol by symbol, bars are given by time, each symbol with its own session before."""
    path = tmp_path / "bars.csv"
    path.write_text("date,symbol,close\n2025-01-03,A,3\n2025-01-02,A,2\n2025-01-03,B,30\n2025-01-02,B,20\n")
    assert days_and_prices(path) == [
        ("A", "2025-01-02", 2),
        ("B", "2025-01-02", 20),
        ("A", "2025-01-03", 3),
        ("B", "2025-01-03", 30),
    ]
    assert [tick.previous_close for tick in read(path)] == [None, None, units("2"), units("20")]


def test_bars_in_order_stay_where_they_are(tmp_path: Path) -> None:
    """A file with one symbol after the other is in order for each, and is given as it is."""
    path = tmp_path / "bars.csv"
    path.write_text("date,symbol,close\n2025-01-02,A,2\n2025-01-03,A,3\n2025-01-02,B,20\n")
    assert [symbol for symbol, _, _ in days_and_prices(path)] == ["A", "A", "B"]


def test_ticks_stay_in_the_files_order(tmp_path: Path) -> None:
    """Ticks that go back in time or come again are given as they are: what is late is for the consumer to say."""
    path = tmp_path / "ticks.csv"
    path.write_text("timestamp,price\n2025-01-03,1\n2025-01-02,2\n2025-01-02,3\n")
    assert [price for _, _, price in days_and_prices(path)] == [1, 2, 3]


@pytest.mark.parametrize("content", [BARS, "".join(BARS.splitlines(keepends=True)[:4])], ids=["longer", "as long"])
def test_a_long_file_has_to_be_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """Bars that go back in time are sorted up to a number of rows; of more, none is published, and one line says so."""
    monkeypatch.setattr("producer.feeds.replay.MOST_SORTED_ROWS", 4)
    path = tmp_path / "bars.csv"
    path.write_text(content + "2016-01-01,1,1,1,1,0.9,1,RE\n")
    if content != BARS:
        assert read(path)[0].timestamp[:10] == "2016-01-01"
        return
    with pytest.raises(UserError) as failure:
        read(path)
    assert str(failure.value) == (
        f"{path}: its bars go back in time, in line 6 for instance, and it has more than 4 rows: sort it by time first"
    )


def test_a_long_file_in_order_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long, a file in order is given, and of a bar that comes again at once the last."""
    monkeypatch.setattr("producer.feeds.replay.MOST_SORTED_ROWS", 2)
    path = tmp_path / "bars.csv"
    path.write_text(
        "date,symbol,close\n2025-01-02,A,1\n2025-01-02,B,9\n2025-01-02,A,2\n2025-01-02,A,3\n2025-01-03,A,4\n"
    )
    assert [price for _, _, price in days_and_prices(path)] == [9, 3, 4]


def test_rows_without_a_price_are_counted_and_three_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first, the last and all others without a price are passed over; the log says where the first three are."""
    path = tmp_path / "bars.csv"
    path.write_text("date,close\n2025-01-01,\n2025-01-02,1\n2025-01-03,null\n,\n2025-01-05,NaN\n")
    feed = Replay(path, symbol="KO", only=(), speed=math.inf, clock=FakeClock())
    assert [tick.price for tick in feed] == [units("1")]
    assert feed.skipped == 4
    named = [record.reason for record in caplog.records if record.message == "row_skipped"]  # type: ignore[attr-defined]
    assert named == [f"{path}, line {line}: has no price" for line in (2, 4, 5)]


@pytest.mark.parametrize("zone", ["Australia/Sydney", "+11:00"])
def test_a_parquet_columns_zone_tells_the_session(tmp_path: Path, zone: str) -> None:
    """Sydney's day is one session, though UTC's midnight is in it."""
    path = tmp_path / "bars.parquet"
    moments = [datetime(2025, 2, 3, hour, tzinfo=UTC) for hour in (23, 22)] + [datetime(2025, 2, 4, 1, tzinfo=UTC)]
    times = pa.array(moments, pa.timestamp("us", tz=zone))
    pq.write_table(pa.table({"timestamp": times, "close": pa.array([2, 1, 3]), "volume": pa.array([10, 10, 10])}), path)
    ticks = read(path, "BHP")
    assert [(tick.volume, tick.previous_close) for tick in ticks] == [(10, None), (20, None), (30, None)]


@pytest.mark.parametrize(
    ("reading", "volumes"),
    [
        (Reading(), [1, 2, 3, 1]),
        (Reading(session_timezone=ZoneInfo("America/Chicago")), [1, 2, 3, 4]),
        (Reading(session_timezone=ZoneInfo("America/Chicago"), session_start=time(17)), [1, 1, 2, 3]),
        (Reading(timezone=ZoneInfo("America/Chicago")), [1, 2, 3, 1]),
        (Reading(session_start=time(23, 30)), [1, 2, 1, 2]),
    ],
    ids=["UTC", "Chicago", "from 17:00 in Chicago", "times of Chicago", "from 23:30"],
)
def test_where_and_when_a_session_begins(tmp_path: Path, reading: Reading, volumes: list[int]) -> None:
    """The settings say where one day ends and the next begins; ``timezone`` alone says so, too."""
    path = tmp_path / "bars.csv"
    moments = ["2025-03-03 22:59", "2025-03-03 23:00", "2025-03-03 23:45", "2025-03-04 01:00"]
    path.write_text("".join(["timestamp,close,volume\n", *(f"{moment},1,1\n" for moment in moments)]))
    feed = Replay(path, symbol="ES", only=(), speed=math.inf, clock=FakeClock(), reading=reading)
    assert [tick.volume for tick in feed] == volumes


def test_a_files_own_offset_is_stronger_than_the_settings(tmp_path: Path) -> None:
    """An offset that a timestamp has decides its day, whatever is said of the session's time zone."""
    path = tmp_path / "bars.csv"
    path.write_text("timestamp,close,volume\n2025-02-04T10:00+11:00,1,1\n2025-02-04T15:00+11:00,1,1\n")
    reading = Reading(session_timezone=ZoneInfo("UTC"))
    feed = Replay(path, symbol="BHP", only=(), speed=math.inf, clock=FakeClock(), reading=reading)
    assert [tick.volume for tick in feed] == [1, 2]


def paced(tmp_path: Path, speed: float, clock: FakeClock) -> list[Tick]:
    """Replay four ticks, one of them out of order and one after a night."""
    path = tmp_path / "bars.csv"
    path.write_text(
        "timestamp,price,symbol\n"
        "2024-03-04T10:00:00Z,1,A\n"
        "2024-03-04T10:00:10Z,2,A\n"
        "2024-03-04T10:00:04Z,3,B\n"
        "2024-03-05T10:00:00Z,4,A\n"
    )
    return list(Replay(path, symbol=None, only=(), speed=speed, clock=clock))


@pytest.mark.parametrize("speed", [1, 4, 0.5])
def test_recorded_time_paces_the_ticks(tmp_path: Path, speed: float) -> None:
    """Each tick waits for its recorded distance from the first, divided by the speed; gaps over night too."""
    clock = FakeClock()
    assert len(paced(tmp_path, speed, clock)) == 4
    assert clock.waits == [0, 10 / speed, 4 / speed, 86_400 / speed]


def test_max_does_not_wait(tmp_path: Path) -> None:
    """As fast as possible is without a single wait."""
    clock = FakeClock()
    assert len(paced(tmp_path, math.inf, clock)) == 4
    assert clock.waits == []


def test_a_stop_ends_the_replay_in_a_gap(tmp_path: Path) -> None:
    """When the clock ends a wait, the feed ends and the tick that waited is not given."""
    assert len(paced(tmp_path, 1, FakeClock(end=3600))) == 3
