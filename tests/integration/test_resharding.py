"""Shards that come and go, and records that are not on their own: none is lost, also where nobody was looking."""

import json
import signal
from pathlib import Path

import pytest

from tests.chaos.kinesis_local import KinesisLocal
from tests.chaos.world import CONSUMER, RETENTION_DAYS, SETTINGS
from tests.compare import compare
from tests.integration.pipeline import Pipeline, Put
from tests.integration.traffic import DATA, traffic
from tests.oracle import expect

_MIXED_KEYS = DATA / "cases" / "16-kpl-mixed-keys"


@pytest.mark.timeout(400)
def test_new_shards_are_found_without_a_look_at_start(tmp_path: Path) -> None:
    """An empty lease table, a split and a merge under way, a split while all consumers are down: all equals the oracle.

    The KCL does not compare its leases with the stream when a worker starts (consumer/daemon.py says why).
    """
    parts = [traffic(seed=12)[start : start + 150] for start in range(0, 750, 150)]
    with KinesisLocal(tmp_path) as kinesis, Pipeline(tmp_path, shards=2, kinesis_url=kinesis.url) as pipeline:
        settings = CONSUMER | {"AWS_ENDPOINT_URL_KINESIS": kinesis.url}
        pipeline.put(parts[0])
        consumer = pipeline.start_consumer(settings)  # there are no leases yet
        pipeline.drain(consumer)

        pipeline.split(pipeline.open_shards()[0])
        pipeline.put(parts[1])
        pipeline.drain(consumer)
        pipeline.merge(*pipeline.open_shards()[:2])
        pipeline.put(parts[2])
        pipeline.drain(consumer)

        consumer.send_signal(signal.SIGTERM)
        consumer.wait(30)
        for shard in pipeline.open_shards():
            pipeline.split(shard)
        pipeline.put(parts[3])
        consumer = pipeline.start_consumer(settings)
        pipeline.drain(consumer)
        pipeline.put(parts[4])
        pipeline.drain(consumer)
        expected = expect(pipeline.records(), SETTINGS)
        compare(pipeline.export(tmp_path / "export"), expected, retention_days=RETENTION_DAYS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("shards", [1, 2])
def test_all_of_an_aggregated_record_of_many_keys_is_stored(tmp_path: Path, shards: int) -> None:
    """Parts whose keys belong to another shard are stored as well, and flagged: by default, the KCL drops them."""
    ordinary = (_MIXED_KEYS / "ordinary.jsonl").read_bytes().splitlines()
    with Pipeline(tmp_path, shards=shards) as pipeline:
        pipeline.create_leases()
        consumer = pipeline.start_consumer({})
        pipeline.put([Put("AAPL", (_MIXED_KEYS / "agg.bin").read_bytes())])
        pipeline.put([Put(json.loads(line)["symbol"], line) for line in ordinary])
        pipeline.drain(consumer)
        export = pipeline.export(tmp_path / "export")
    rows = [json.loads(line) for line in (export / "ticks.jsonl").read_bytes().splitlines()]
    times = {row["timestamp"][14:19]: (row["symbol"], row["price"]) for row in rows if row["price"] < 200}
    symbols = [json.loads(line)["symbol"] for line in ordinary]
    assert times == {f"00:{i:02}": (symbols[i % 10], 100 + i) for i in range(30)}
    assert sorted(row["symbol"] for row in rows if row["price"] == 200) == sorted(symbols)
    assert len(rows) == 40
    flagged = {row["symbol"] for row in rows if row.get("misplaced")}
    assert bool(flagged) == (shards == 2)
    assert "AAPL" not in flagged
