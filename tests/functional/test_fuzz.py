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
from tests.any_payloads import anything, good, several
from tests.functional.shard_process import START, Stores, batch, config, record, run, stores

__all__ = ["config", "stores"]  # fixtures

ARRIVED_MS = int(START.timestamp() * 1000)
_COUNTS = ("records", "ticks", "late", "duplicates", "conflicts", "quarantined")


def _tick(second: int, price: int) -> bytes:
    return f'{{"symbol":"A","price":{price},"timestamp":"2026-11-20T14:29:0{second}Z"}}'.encode()


def _row_of(row: dict[str, Any]) -> dict[str, Any]:
    names = ("symbol", "timestamp", "price", "open", "high", "low", "previous_close", "volume", "source", "late")
    return {name: row[name] for name in names if name in row}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(good | anything | several, min_size=40, max_size=60), cut=st.integers(0, 60))
@example(sent=[_tick(second, price) for second in (2, 1, 2, 3) for price in (1, 2, 1)], cut=5)
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
