"""Whatever is sent, through the decoder and the process of a shard: counted, and never a row that was not sent."""

import base64
import json
import logging
from collections import Counter
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consumer.config import ShardConfig
from tests import oracle
from tests.bad_records import NOT_TICKS
from tests.functional.test_processor import START, Stores, batch, config, record, run, stores

__all__ = ["config", "stores"]  # fixtures

ARRIVED_MS = int(START.timestamp() * 1000)
_COUNTS = ("records", "ticks", "late", "duplicates", "conflicts", "quarantined")

_texts = st.sampled_from(["A", "M&M.NS", "2026-11-20T14:30:00Z", "2026-11-20 14:00", "1763649000000", "NaN", "", "é\n"])
_numbers = st.sampled_from(
    ["0", "1", "-1", "1.5", "1e-9", "4e-10", "1e400", "9200000000", "9" * 400, "NaN", "-Infinity"]
)
_values = st.recursive(
    _numbers | _texts.map(json.dumps) | st.sampled_from(["null", "true", "", "{", '"\\ud800"']),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    max_leaves=4,
)
_names = st.sampled_from(["symbol", "price", "timestamp", "volume", "previous_close", "source", "Price", "x"])
_seconds = st.integers(0, 3).map(lambda second: f'"timestamp":"2026-11-20T14:29:0{second}Z"')
_ticks = st.builds(
    lambda symbol, price, second: f'{{"symbol":"{symbol}","price":{price},{second}}}'.encode(),
    st.sampled_from("AB"),
    st.integers(1, 2),
    _seconds,
)
_objects = st.lists(st.tuples(_names, _values), max_size=5).map(
    lambda fields: f"{{{','.join(f'{json.dumps(name)}:{value}' for name, value in fields)}}}".encode()
)
_nearly = st.builds(  # a tick of which some bytes are lost or others
    lambda tick, at, gone, put: tick[:at] + put + tick[at + gone :],
    _ticks,
    st.integers(0, 60),
    st.integers(0, 2),
    st.binary(max_size=2) | st.sampled_from([b"9", b"\n", b"}{", b"NaN", b"\xff"]),
)
_anything = (
    _ticks | _ticks | _objects | _nearly | st.binary(max_size=40) | st.sampled_from([p for p, _ in NOT_TICKS.values()])
)
_blanks = st.sampled_from([b"", b" ", b"\r\n"])
_several = st.builds(
    lambda parts, mark, ends, blank: ends[:1] + blank + (blank + mark).join(parts) + blank + ends[1:],
    st.lists(_anything, max_size=5),
    st.sampled_from([b",", b"\n", b"\n\n", b" "]),
    st.sampled_from([b"[]", b"", b"[", b"{}"]),
    _blanks,
)


def _row_of(row: dict[str, Any]) -> dict[str, Any]:
    names = ("symbol", "timestamp", "price", "open", "high", "low", "previous_close", "volume", "source", "late")
    return {name: row[name] for name in names if name in row}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(_anything | _several, min_size=5, max_size=60), cut=st.integers(0, 60))
@example(sent=[b'[{"symbol":"A","price":NaN},{"symbol":"A","price":1}]', b'{"symbol":7,"x":' + b"[" * 9000], cut=0)
def test_whatever_is_sent_is_counted(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture, sent: list[bytes], cut: int
) -> None:
    """Rows, raw data, quarantine and counts are what the contract says of the bytes; nothing of ours fails on them."""
    _forget(stores)
    caplog.set_level(logging.INFO)
    caplog.clear()
    records = [record(data, number, START) for number, data in enumerate(sent)]
    daemon = run(config, batch(records[:cut], 1), batch(records[cut:], 1), {"action": "shardEnded"})

    expected = oracle.expect([oracle.Record(data, ARRIVED_MS) for data in sent])
    assert daemon.done[-1] == "shardEnded"
    assert [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING] == []
    assert {key: _row_of(row) for key, row in stores.rows().items()} == {
        key: _row_of(row) for key, row in expected.ticks.items()
    }
    assert Counter(stores.lines("raw-data/")) == Counter(_one_line(data) for data in expected.archived)
    rejects = [json.loads(line) for line in stores.lines("quarantine/")]
    assert Counter(base64.b64decode(reject["data"]) for reject in rejects) == Counter(expected.quarantined)
    assert all(reject["reason"] and len(reject["reason"]) < 300 for reject in rejects)
    (told,) = (vars(entry) for entry in caplog.records if entry.message == "archived")
    counts = {name: told[name] for name in _COUNTS}
    assert counts == {
        "records": len(expected.archived) + len(expected.quarantined),
        "ticks": len(expected.ticks),
        "late": expected.late,
        "duplicates": expected.duplicates,
        "conflicts": len(expected.conflicts),
        "quarantined": len(expected.quarantined),
    }
    assert counts["records"] == sum(counts[name] for name in ("ticks", "duplicates", "conflicts", "quarantined"))


def _one_line(payload: bytes) -> bytes:
    return payload.replace(b"\n", b" ").replace(b"\r", b" ")


def _forget(stores: Stores) -> None:
    """Empty the stores: hypothesis runs all its examples with the same ones."""
    for key in stores.objects():
        boto3.client("s3").delete_object(Bucket="archive", Key=key)
    table = boto3.resource("dynamodb").Table("ticks")
    for symbol, timestamp in stores.rows():
        table.delete_item(Key={"symbol": symbol, "timestamp": timestamp})
