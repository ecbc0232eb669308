"""Shards that come and go, on a Kinesis with true resharding: every child is found, also where nobody was looking."""

import signal
from pathlib import Path

import pytest

from tests.chaos.kinesis_local import KinesisLocal
from tests.chaos.world import CONSUMER, RETENTION_DAYS, SETTINGS
from tests.compare import compare
from tests.integration.pipeline import Pipeline
from tests.integration.traffic import traffic
from tests.oracle import expect


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
