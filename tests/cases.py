"""Files as people have them, and what must come of each: the rows, the numbers and the alerts.

The inputs are in ``data/cases``; each is a small file in a layout that public issues report. The values were reckoned
from the files with decimal arithmetic, apart from the product.

    python -m tests.cases [PART_OF_A_NAME]

runs `tickertape local --once` on each of them, which takes some minutes.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data" / "cases"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Alert:
    """An alert that must come; what is empty is not compared."""

    symbol: str
    moment: str
    """Its tick's, as a row's timestamp begins."""
    rule: str
    direction: str
    values: str = ""
    """Names and values, as ``price=1 threshold=2``."""
    words: tuple[str, ...] = ()
    """Parts of its sentence."""


@dataclass(frozen=True)
class Case:
    """A file, how it is replayed, and what must come of it."""

    file: str
    symbol: str = ""
    rows: int = 0
    values: Mapping[str, str] = field(default_factory=dict)
    """By symbol and beginning of the timestamp: names and values, as ``price=1 volume=2``; ``open-`` is not there."""
    alerts: tuple[Alert, ...] = ()
    skipped: int = 0
    suppressed: int = 0
    flags: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where it is."""
        return FOLDER / self.file


def _cross(symbol: str, price: str, fast: str, slow: str, *words: str) -> Alert:
    values = f"price={price} value={fast} threshold={slow}"
    return Alert(symbol, "2025-02-27", "sma_cross", "down", values, words)


def _msft(symbol: str) -> dict[str, str]:
    return {
        f"{symbol} 2025-01-02": "price=98.8212 previous_close- change_percent- volume=2667641",
        f"{symbol} 2025-01-03": "price=97.6865 previous_close=98.8212 change_percent=-1.148235",
        f"{symbol} 2025-02-28": "price=102.3992 previous_close=102.724 change_percent=-0.316187 volume=2213241"
        " sma_5=103.21554 sma_20=103.47854 bollinger_upper=104.61120946 bollinger_lower=102.34587054",
    }


def _msft_cross(symbol: str) -> Alert:
    return _cross(symbol, "102.724", "103.43168", "103.48364", "103.43", "103.48")


def _null_row(file: str, symbol: str) -> Case:
    values = {
        f"{symbol} 2025-01-17": "price=96.1311 previous_close=96.3411 change_percent=-0.217976 sma_5=96.84296",
    }
    band = Alert(symbol, "2025-02-03", "bollinger", "up", "price=103.5245 threshold=103.520235031", ("103.52",))
    return Case(f"02-null-row/{file}", symbol, 41, values, (band, _msft_cross(symbol)), skipped=1)


def _newest_first(file: str) -> Case:
    values = {
        "KO 2025-01-02": "previous_close-",
        "KO 2025-01-03": "price=97.6865 previous_close=98.8212 change_percent=-1.148235",
        "KO 2025-01-06": "price=99.186 previous_close=97.6865 change_percent=1.535013",
    }
    return Case(f"03-newest-first/{file}", "KO", 42, values, (_msft_cross("KO"),))


def _overlap(file: str) -> Case:
    def at(moment: str, rule: str, direction: str, values: str, *words: str) -> Alert:
        return Alert("AAPL", f"2025-03-03T{moment}", rule, direction, values, words)

    return Case(
        f"04-duplicate-rows/{file}",
        "AAPL",
        60,
        {
            "AAPL 2025-03-03T15:00": "volume=31000",
            "AAPL 2025-03-03T15:05": "volume=36000",
            "AAPL 2025-03-03T15:29": "volume=60000",
        },
        (
            at("14:59", "bollinger", "down", "price=49.9126 threshold=49.92042186", "49.92"),
            at("15:13", "sma_cross", "up", "price=50.01 value=49.92608 threshold=49.91481", "49.93", "49.91"),
            at("15:13", "bollinger", "up", "price=50.01 threshold=49.996831458", "50.00"),
            at("15:21", "bollinger", "up", "price=50.0561 threshold=50.046556284", "50.05"),
        ),
    )


def _iex(file: str, value: str, word: str) -> Case:
    def at(moment: str, rule: str, direction: str, values: str = "", *words: str) -> Alert:
        return Alert("AAPL", f"2025-03-03T15:{moment}", rule, direction, values, words)

    return Case(
        f"06-volume-falls/{file}",
        rows=120,
        values={"AAPL 2025-03-03T15:05:00": "anomalies-", "AAPL 2025-03-03T15:07:30": "anomalies-"},
        alerts=(
            at("02:00", "sma_cross", "up"),
            at("02:30", "sma_cross", "down"),
            at("03:15", "bollinger", "up"),
            at("05:55", "volume_spike", "up", f"price=194.2 value={value}", word),
            at("07:00", "bollinger", "down", "price=194.17 threshold=194.173061392"),
        ),
        suppressed=7,
    )


def _shib() -> Case:
    def at(moment: str, rule: str, direction: str, price: str, value: str, threshold: str) -> Alert:
        values = f"price={price} value={value} threshold={threshold}"
        words = (price, threshold) if rule == "bollinger" else (price, value, threshold)
        return Alert("SHIB-USD", f"2025-03-03T12:{moment}", rule, direction, values, words)

    return Case(
        "07-small-prices/shib.csv",
        "SHIB-USD",
        60,
        {
            "SHIB-USD 2025-03-03T12:04": "sma_5=0.000008074",
            "SHIB-USD 2025-03-03T12:19": "price=0.00000819 sma_5=0.000008114 sma_20=0.000008061"
            " bollinger_upper=0.000008162 bollinger_lower=0.00000796",
            "SHIB-USD 2025-03-03T12:59": "price=0.000007803 sma_5=0.000007804 sma_20=0.000007908"
            " bollinger_upper=0.000008075 bollinger_lower=0.000007741 volume=91430553060",
        },
        (
            at("19", "bollinger", "up", "0.00000819", "0.00000819", "0.000008162"),
            at("28", "sma_cross", "down", "0.000008054", "0.000008092", "0.000008094"),
            at("36", "sma_cross", "up", "0.00000808", "0.000008123", "0.000008118"),
            at("37", "sma_cross", "down", "0.000008047", "0.000008114", "0.000008115"),
            at("46", "bollinger", "down", "0.000007928", "0.000007928", "0.000007939"),
            at("53", "bollinger", "down", "0.000007834", "0.000007834", "0.000007837"),
        ),
    )


def _babydoge() -> Case:
    def at(moment: str, rule: str, direction: str, values: str) -> Alert:
        return Alert("BABYDOGE-USD", f"2025-03-03T12:{moment}", rule, direction, values)

    one, two = "0.000000001", "0.000000002"
    return Case(
        "07-small-prices/babydoge.csv",
        "BABYDOGE-USD",
        60,
        {
            "BABYDOGE-USD 2025-03-03T12:19": f"sma_5={one} sma_20={one} bollinger_upper={one} bollinger_lower={one}",
            "BABYDOGE-USD 2025-03-03T12:32": f"bollinger_upper={two} bollinger_lower=0",
        },
        (
            at("28", "sma_cross", "up", f"price={two} value={one} threshold={one}"),
            at("28", "bollinger", "up", f"price={two} threshold={one}"),
            at("42", "sma_cross", "down", f"price={one} value={one} threshold={two}"),
        ),
        suppressed=1,
    )


def _klines(file: str, *flags: str) -> Case:
    def at(moment: str, direction: str, price: str, fast: str, slow: str) -> Alert:
        values = f"price={price} value={fast} threshold={slow}"
        return Alert("BTCUSDT", f"2025-01-01T00:{moment}", "sma_cross", direction, values)

    return Case(
        f"09-binance-klines/{file}",
        "BTCUSDT",
        30,
        {
            "BTCUSDT 2025-01-01T00:00": "price=94016.0226 volume=12",
            "BTCUSDT 2025-01-01T00:02": "price=94139.6623 volume=38",
            "BTCUSDT 2025-01-01T00:29": "price=94499.1186 volume=375 sma_5=94359.71596 sma_20=94345.785125",
        },
        (
            at("22", "down", "94142.0827", "94313.66126", "94325.46404"),
            at("29", "up", "94499.1186", "94359.71596", "94345.785125"),
        ),
        flags=flags,
    )


def _slow_rise(file: str, *moments: str) -> Case:
    """``moments`` are of the second day's first bar, of another, of the last, and of the four alerts."""
    first, second, last, *fired = moments
    values = {
        f"BHP.AX {first}": "previous_close=40 volume=1000",
        f"BHP.AX {second}": "previous_close=40 change_percent=3.05 volume=13000",
        f"BHP.AX {last}": "price=42.2 previous_close=40 change_percent=5.5 volume=72000",
    }
    told = (
        ("bollinger", "up", "price=41.2 threshold=40.583067873", "40.58"),
        ("bollinger", "up", "price=41.36 threshold=41.341527248", "41.34"),
        ("price_move", "up", "price=42 value=5", "5.00 %"),
        ("z_score", "down", "price=42.2 value=-364.075614", ""),
    )
    alerts = (
        Alert("BHP.AX", moment, rule, direction, values, (word,))
        for moment, (rule, direction, values, word) in zip(fired, told, strict=True)
    )
    return Case(f"13-asx-session/{file}", "BHP.AX", 144, values, tuple(alerts))


def _pandas(file: str, symbol: str = "") -> Case:
    values = {
        f"MSFT 2025-01-{day:02}": f"price={price} volume={price + 4} {previous}"
        for day, price, previous in (
            (2, 100, "previous_close- change_percent-"),
            (3, 105, "previous_close=100 change_percent=5"),
            (4, 110, "previous_close=105 change_percent=4.761905"),
            (5, 115, "previous_close=110 change_percent=4.545455"),
            (6, 120, "previous_close=115 change_percent=4.347826 sma_5=110"),
        )
    }
    move = Alert("MSFT", "2025-01-03", "price_move", "up", "price=105 value=5", ("5.00 %",))
    return Case(f"23-parquet-from-pandas/{file}", symbol, 5, values, (move,))


def _rows_only(file: str, symbol: str, values: Mapping[str, str], rows: int | None = None, *flags: str) -> Case:
    return Case(file, symbol, len(values) if rows is None else rows, values, flags=flags)


_NASDAQ = {
    "T 2025-03-03": "price=71.21 volume=15203010 previous_close-",
    "T 2025-03-04": "price=71.66 volume=17213010 previous_close=71.21 change_percent=0.631934",
}

CASES = (
    Case("01-yfinance-multiheader/msft.csv", "", 42, _msft("MSFT"), (_msft_cross("MSFT"),)),
    Case("01-yfinance-multiheader/msft.csv", "MSFT", 42, _msft("MSFT"), (_msft_cross("MSFT"),)),
    Case(
        "01-yfinance-multiheader/two.csv",
        "",
        84,
        {
            **_msft("MSFT"),
            "KO 2025-01-02": "price=19.7642 volume=5335282",
            "KO 2025-01-03": "price=19.5373 previous_close=19.7642 change_percent=-1.148035",
            "KO 2025-02-28": "price=20.4798 previous_close=20.5448 change_percent=-0.316382 volume=4426482",
        },
        (_msft_cross("MSFT"), _cross("KO", "20.5448", "20.68634", "20.69673", "20.69", "20.70")),
    ),
    Case("01-yfinance-multiheader/flat.csv", "MSFT", 42, _msft("MSFT"), (_msft_cross("MSFT"),)),
    _null_row("eurgbp_null.csv", "EURGBP=X"),
    _null_row("rawde_nan.csv", "RAW.DE"),
    _newest_first("daily_KO.csv"),
    _newest_first("daily_KO_oldest_first.csv"),
    _overlap("intraday_overlap.csv"),
    _overlap("intraday_once.csv"),
    _rows_only(
        "04-duplicate-rows/daily.csv",
        "AMZN",
        {
            "AMZN 2025-01-09": "price=100.61 open=100 high=101.5 low=98.5 volume=3957800 previous_close=99.6959"
            " change_percent=0.916888 sma_5=99.15772"
        },
        6,
    ),
    Case(
        "06-volume-falls/ticks.jsonl",
        rows=60,
        alerts=(
            Alert("ETH-EUR", "2025-03-03T12:04:45", "bollinger", "down", "price=316.85 threshold=316.859923963"),
            Alert("ETH-EUR", "2025-03-03T12:07:45", "sma_cross", "up", "value=316.878 threshold=316.873"),
            Alert("ETH-EUR", "2025-03-03T12:08:45", "sma_cross", "down", "value=316.856 threshold=316.8595"),
            Alert("ETH-EUR", "2025-03-03T12:14:00", "sma_cross", "down", "value=316.826 threshold=316.8275"),
        ),
        suppressed=2,
    ),
    _iex("iex_like.jsonl", "22.718676", "22.72"),
    _iex("iex_like_monotone.jsonl", "21.560269", "21.56"),
    _shib(),
    _babydoge(),
    _rows_only(
        "08-ampersand-symbols/nse.csv",
        "",
        {
            "M&M.NS 2025-01-03": "price=97.6865 previous_close=98.8212 change_percent=-1.148235",
            "RELIANCE.NS 2025-01-02": "price=98.8212",
        },
        20,
    ),
    _klines("renamed.csv"),
    _klines("BTCUSDT-1m-spot.csv", "--columns", "time,open,high,low,close,volume"),
    _rows_only(
        "10-epoch-ms-read-as-date/candles.csv",
        "BTCUSDT",
        {
            "BTCUSDT 2023-11-26T15:05": "price=93967.6458 volume=1",
            "BTCUSDT 2023-11-26T15:19": "price=93940.2078 volume=15 sma_5=93883.7711",
        },
        15,
    ),
    _rows_only(
        "11-metatrader/mt4.csv",
        "T",
        {
            "T 2025-03-03T18:49": "price=77.702 open=77.708 high=77.71 low=77.702 volume=30",
            "T 2025-03-03T18:50": "price=77.7 volume=49",
        },
    ),
    _rows_only(
        "11-metatrader/stooq.csv",
        "",
        {
            "KO.US 2025-03-03T15:30": "price=71.15 volume=1200",
            "KO.US 2025-03-03T15:35": "price=71.2 volume=2100",
        },
    ),
    _rows_only(
        "11-metatrader/german.csv",
        "T",
        {"T 2025-03-03": "price=1239.75 open=1234.5 high=1240 low=1230 volume=12345"},
    ),
    _rows_only("11-metatrader/nasdaq.csv", "T", _NASDAQ),
    _rows_only("11-metatrader/nasdaq.csv", "T", _NASDAQ, None, "--time-format", "%m/%d/%Y"),
    _slow_rise(
        "slow_rise.csv",
        *("2025-02-04T23:00", "2025-02-05T00:00", "2025-02-05T04:55"),
        *("2025-02-04T23:00", "2025-02-05T00:35", "2025-02-05T03:15", "2025-02-05T04:10"),
    ),
    _slow_rise(
        "slow_rise_same_day.csv",
        *("2025-02-05T09:00", "2025-02-05T10:00", "2025-02-05T14:55"),
        *("2025-02-05T09:00", "2025-02-05T10:35", "2025-02-05T13:15", "2025-02-05T14:10"),
    ),
    Case(
        "13-asx-session/bhp_5m.csv",
        "BHP.AX",
        144,
        {
            "BHP.AX 2025-02-04T23:00": "price=42.2 previous_close=40 change_percent=5.5 volume=1000",
            "BHP.AX 2025-02-05T04:55": "price=42.2 previous_close=40 change_percent=5.5 volume=72000",
        },
        (
            Alert("BHP.AX", "2025-02-04T23:00", "price_move", "up", "value=5.5", ("5.50 %",)),
            Alert("BHP.AX", "2025-02-04T23:00", "bollinger", "up", "price=42.2 threshold=41.068957768", ("41.07",)),
        ),
    ),
    _rows_only(
        "18-split/nvda_raw.csv",
        "NVDA",
        {
            "NVDA 2024-06-06": "previous_close=1187.5 change_percent=1.406316",
            "NVDA 2024-06-07": "previous_close=1204.2 change_percent=-0.481648",
            "NVDA 2024-06-10": "price=120.9 previous_close=119.84 change_percent=0.884513",
            "NVDA 2024-06-11": "previous_close=120.9 change_percent=-0.951199",
        },
        5,
    ),
    _rows_only(
        "21-http-proxy/three.csv",
        "A",
        {f"A 2025-03-03T15:00:0{second}": f"price={second + 1}" for second in range(3)},
    ),
    _pandas("unnamed_index.parquet", "MSFT"),
    _pandas("records.json", "MSFT"),
    _pandas("multi.parquet"),
)


def assert_right(case: Case, rows: Iterable[Row], alerts: Iterable[Row]) -> None:
    """Compare rows and sent alerts, with numbers as decimals or their text, with what must come."""
    by_key = {(row["symbol"], row["timestamp"]): row for row in rows}
    assert len(by_key) == case.rows
    for key, told in case.values.items():
        symbol, _, moment = key.partition(" ")
        (row,) = [row for (name, at), row in by_key.items() if name == symbol and at.startswith(moment)]
        _assert_values(row, told)
    found = {(alert["symbol"], alert["alert_id"]): alert for alert in alerts}
    assert len(found) == len(case.alerts), sorted(found)
    for alert in case.alerts:
        (row,) = [
            row
            for (symbol, at), row in found.items()
            if symbol == alert.symbol and at.startswith(alert.moment) and at.endswith(f"#{alert.rule}")
        ]
        assert row["direction"] == alert.direction
        _assert_values(row, alert.values)
        assert all(word in row["message"] for word in alert.words), row["message"]
        assert "dropped" not in row["message"]
        assert not re.search(r"(?<![\d.])0(?![\d.])|\de-", row["message"]), row["message"]


def _assert_values(row: Row, told: str) -> None:
    for name, equals, value in (part.partition("=") for part in told.split()):
        if equals:
            assert Decimal(str(row[name])) == Decimal(value), (name, row)
        else:
            assert name.removesuffix("-") not in row, row


def run(case: Case, export: Path, *, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Run the whole pipeline on a case, compare what comes out, and give the summary."""
    flags = ["--feed", "replay", "--file", str(case.path), "--speed", "max", "--once", "--export", str(export)]
    flags += [*(["--symbol", case.symbol] if case.symbol else []), *case.flags]
    done = subprocess.run(
        [sys.executable, "-m", "tickertape", "local", *flags],
        capture_output=True,
        text=True,
        check=False,
        env=dict(environment),
        cwd=FOLDER.parents[2],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    told = {name: summary[name] for name in ("stored", "skipped", "suppressed", "alerts", "late", "quarantined")}
    assert told == {
        "stored": case.rows,
        "skipped": case.skipped,
        "suppressed": case.suppressed,
        "alerts": len(case.alerts),
        "late": 0,
        "quarantined": 0,
    }
    alerts = _lines(export / "alerts.jsonl")
    assert_right(case, _lines(export / "ticks.jsonl"), alerts)
    assert len(_lines(export / "messages.jsonl")) == len(alerts)
    return summary


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]


def main() -> None:
    """Run all cases, or those whose file's name has what is asked for."""
    for case in (case for case in CASES if not sys.argv[1:] or sys.argv[1] in case.file):
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcome = str(run(case, Path(folder) / "out"))
            except AssertionError as error:
                outcome = f"FAILED {error}"
        sys.stdout.write(f"{case.file} {case.symbol} {' '.join(case.flags)}: {outcome}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
