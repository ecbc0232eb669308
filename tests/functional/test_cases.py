"""Records as real users send them, through the process of a shard: what must come out was reckoned by hand.

The inputs are in tests/data/cases; files of bars become ticks here, so that nothing of the producer is needed.
"""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from consumer.config import ShardConfig
from consumer.detection import Rules
from tests.functional.shard_process import Stores, batch, config, record, run, stores

__all__ = ["config", "stores"]  # fixtures

CASES = Path(__file__).parents[1] / "data" / "cases"
ARRIVED = datetime(2025, 12, 1, tzinfo=UTC)
_TIMES = ("timestamp", "Date", "Datetime")


def payloads(path: Path, symbol: str | None) -> list[bytes]:
    """The records of a case: its lines, or its bars as ticks; a session is a day as the file writes it."""
    if path.suffix == ".jsonl":
        return path.read_bytes().splitlines()
    found, day, volume, close, previous = [], "", 0, "", ""
    with path.open(newline="") as file:
        for bar in csv.DictReader(file):
            moment = next(bar[name] for name in _TIMES if name in bar)
            if moment[:10] != day:
                day, volume, previous = moment[:10], 0, close
            close = bar.get("close") or bar["Close"]
            text = f'{{"symbol":"{symbol}","timestamp":"{moment}","price":{close}'
            if previous:
                text += f',"previous_close":{previous}'
            if traded := bar.get("volume") or bar.get("Volume"):
                volume += int(traded)
                text += f',"volume":{volume}'
            found.append(f"{text}}}".encode())
    return found


def process(config: ShardConfig, sent: list[bytes]) -> None:
    """Let a shard that is closed afterwards have the records, with the rules that users have by default."""
    default = replace(config, rules=Rules())
    run(default, batch([record(data, i, ARRIVED) for i, data in enumerate(sent)]), {"action": "shardEnded"})


_SHIB = [
    ("12:19:00", "bollinger", "up", "0.00000819", "0.00000819", "0.000008162", "0.000008162"),
    ("12:28:00", "sma_cross", "down", "0.000008054", "0.000008092", "0.000008094", "0.000008092 0.000008094"),
    ("12:36:00", "sma_cross", "up", "0.00000808", "0.000008123", "0.000008118", "0.000008123 0.000008118"),
    ("12:37:00", "sma_cross", "down", "0.000008047", "0.000008114", "0.000008115", "0.000008114 0.000008115"),
    ("12:46:00", "bollinger", "down", "0.000007928", "0.000007928", "0.000007939", "0.000007939"),
    ("12:53:00", "bollinger", "down", "0.000007834", "0.000007834", "0.000007837", "0.000007837"),
]
_BABYDOGE = [
    ("12:28:00", "sma_cross", "up", "0.000000002", "0.000000001", "0.000000001", "0.000000001"),
    ("12:28:00", "bollinger", "up", "0.000000002", "0.000000002", "0.000000001", "0.000000001"),
    ("12:42:00", "sma_cross", "down", "0.000000001", "0.000000001", "0.000000002", "0.000000001 0.000000002"),
]
_ETH = [
    ("12:04:45", "bollinger", "down", "316.85", "316.85", "316.859923963", "316.86"),
    ("12:07:45", "sma_cross", "up", None, "316.878", "316.873", "316.88 316.87"),
    ("12:08:45", "sma_cross", "down", None, "316.856", "316.8595", "316.86"),
    ("12:14:00", "sma_cross", "down", None, "316.826", "316.8275", "316.83"),
]
_IEX = [
    ("15:02:00", "sma_cross", "up", None, None, None, ""),
    ("15:02:30", "sma_cross", "down", None, None, None, ""),
    ("15:03:15", "bollinger", "up", None, None, None, ""),
    ("15:05:55", "volume_spike", "up", "194.2", "22.718676", "5", "22.72"),
    ("15:07:00", "bollinger", "down", "194.17", "194.17", "194.173061392", "194.17"),
]
_MONOTONE = [*_IEX[:3], ("15:05:55", "volume_spike", "up", "194.2", "21.560269", "5", "21.56"), _IEX[4]]
_BHP = [
    ("23:00:00", "bollinger", "up", "41.2", "41.2", "40.583067873", "40.58"),
    ("00:35:00", "bollinger", "up", "41.36", "41.36", "41.341527248", "41.34"),
    ("03:15:00", "price_move", "up", "42", "5", "5", "5.00"),
    ("04:10:00", "z_score", "down", "42.2", "-364.075614", "-4", "-364.08"),
]


@pytest.mark.parametrize(
    ("file", "symbol", "rows", "suppressed", "alerts"),
    [
        ("07-small-prices/shib.csv", "SHIB-USD", 60, 0, _SHIB),
        ("07-small-prices/babydoge.csv", "BABYDOGE-USD", 60, 1, _BABYDOGE),
        ("06-volume-falls/ticks.jsonl", "ETH-EUR", 60, 2, _ETH),
        ("06-volume-falls/iex_like.jsonl", "AAPL", 120, 7, _IEX),
        ("06-volume-falls/iex_like_monotone.jsonl", "AAPL", 120, None, _MONOTONE),
        ("13-asx-session/slow_rise.csv", "BHP.AX", 144, 0, _BHP),
    ],
)
def test_alerts_of_a_case(
    config: ShardConfig, stores: Stores, file: str, symbol: str, rows: int, suppressed: int | None, alerts: list[Any]
) -> None:
    """Rows, alerts with their numbers, and the numbers in their sentences are those of a pocket calculator."""
    process(config, payloads(CASES / file, symbol))

    stored = stores.rows()
    assert len(stored) == rows
    if suppressed is not None:
        assert sum(len(row.get("suppressed", ())) for row in stored.values()) == suppressed
    found = sorted(stores.alerts().values(), key=lambda alert: (alert["timestamp"], alert["rule"] != "sma_cross"))
    assert [(alert["timestamp"][11:19], alert["rule"], alert["direction"]) for alert in found] == [
        case[:3] for case in alerts
    ]
    for alert, (*_, price, value, threshold, words) in zip(found, alerts, strict=True):
        expected = zip(("price", "value", "threshold"), (price, value, threshold), strict=True)
        assert all(number is None or alert[name] == Decimal(number) for name, number in expected), alert
        for word in words.split():
            assert word in alert["message"]
        assert "e-" not in alert["message"]
        assert "dropped" not in alert["message"]
    assert len(stores.new_messages()) == len(found)


@pytest.mark.parametrize(
    ("file", "symbol", "expected"),
    [
        ("07-small-prices/shib.csv", "SHIB-USD", {
            "12:04": {"sma_5": "0.000008074"},
            "12:19": {
                "price": "0.00000819", "sma_5": "0.000008114", "sma_20": "0.000008061",
                "bollinger_upper": "0.000008162", "bollinger_lower": "0.00000796",
            },
            "12:59": {
                "price": "0.000007803", "sma_5": "0.000007804", "sma_20": "0.000007908",
                "bollinger_upper": "0.000008075", "bollinger_lower": "0.000007741", "volume": "91430553060",
            },
        }),
        ("07-small-prices/babydoge.csv", "BABYDOGE-USD", {
            "12:19": dict.fromkeys(("sma_5", "sma_20", "bollinger_upper", "bollinger_lower"), "0.000000001"),
            "12:32": {"bollinger_upper": "0.000000002", "bollinger_lower": "0"},
        }),
    ],
)  # fmt: skip
def test_rows_of_a_case(
    config: ShardConfig, stores: Stores, file: str, symbol: str, expected: dict[str, dict[str, str]]
) -> None:
    """Averages and bands of prices far below a cent have as many decimals as the prices."""
    process(config, payloads(CASES / file, symbol))

    rows = {moment[11:16]: row for (_, moment), row in stores.rows().items()}
    for moment, numbers in expected.items():
        assert {name: rows[moment][name] for name in numbers} == {n: Decimal(text) for n, text in numbers.items()}


def test_an_epoch_on_the_wire_is_quarantined(config: ShardConfig, stores: Stores) -> None:
    """Milliseconds as a text are no timestamp: each record is kept, with a reason that says so, and none is a row."""
    sent = payloads(CASES / "10b-epoch-ms-string-on-the-wire" / "records.jsonl", None)
    process(config, sent)

    rejects = [json.loads(line) for line in stores.lines("quarantine/")]
    assert stores.rows() == {}
    assert len(rejects) == len(sent) == 60
    assert all("epoch or digits only" in reject["reason"] for reject in rejects)
    assert "'1701012000000'" in rejects[0]["reason"]


def test_doubled_names_are_one_tick(config: ShardConfig, stores: Stores) -> None:
    """Of a name that comes twice the last value counts; a name in other letters is another field."""
    process(config, payloads(CASES / "17-athena-duplicate-keys" / "records.jsonl", None))

    rows = [(symbol, moment[11:19], row["price"]) for (symbol, moment), row in sorted(stores.rows().items())]
    assert rows == [
        ("AAPL", "15:00:00", Decimal("187.23")),
        ("AAPL", "15:00:01", Decimal("187.24")),
        ("AAPL", "15:00:02", Decimal("187.26")),
    ]
    assert stores.rows()["AAPL", "2025-03-03T15:00:02.000000Z"]["volume"] == 1000
    assert stores.lines("quarantine/") == []


def test_another_producers_names_are_mapped(config: ShardConfig, stores: Stores) -> None:
    """With FIELD_MAP other names are a tick's fields, one a record or several; raw data has them as they were sent."""
    names = {"TICKER": "symbol", "PRICE": "price", "EVENT_TIME": "timestamp"}
    mapped = replace(config, field_map=names)
    ticks = [f'{{"EVENT_TIME":"2025-03-03T15:00:0{i}.25","TICKER":"AMZN","PRICE":{87 + i}}}'.encode() for i in range(3)]
    own = b'{"symbol":"AMZN","price":90,"timestamp":"2025-03-03T15:00:03.25Z"}'
    sent = [ticks[0], b"[" + b",".join(ticks[1:]) + b"]", own]
    run(mapped, batch([record(data, i, ARRIVED) for i, data in enumerate(sent)]), {"action": "shardEnded"})

    rows = [(symbol, moment[17:23], row["price"]) for (symbol, moment), row in sorted(stores.rows().items())]
    assert rows == [("AMZN", f"0{i}.250", 87 + i) for i in range(4)]
    assert stores.lines("raw-data/") == [*ticks, own]
