"""One of each kind of harm to a whole pipeline, and all is as if nothing had happened. `make chaos` does many more."""

import random
import time
from pathlib import Path

import pytest

from tests.chaos import harms
from tests.chaos.faulty_proxy import Fault, FaultyProxy
from tests.chaos.world import World
from tests.integration.pipeline import Pipeline
from tests.integration.traffic import traffic

_LIMIT_SECONDS = 60


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_doubled(tmp_path: Path) -> None:
    """Kills, a stop, a zombie, a split, an AWS that misbehaves and a restarted producer: all is as the oracle says."""
    dice = random.Random(4)
    seldom = {"KCL_IDLE_TIME_BETWEEN_READS_IN_MILLIS": "1000"}  # minutes of empty answers are most of the work
    with World(tmp_path, seed=4, settings=seldom) as world:
        world.start_producer()
        for harm in (
            harms.kill_shard_process,
            harms.split_shard,
            harms.zombie_task,
            harms.kill_producer,
            harms.all_services_misbehave,
            harms.kill_task,
            harms.stop_task,
        ):
            time.sleep(dice.uniform(0, 3))
            harm(world, dice)
        world.settle()
        published, tally, differences = world.verdict()
    assert published > 1000
    assert tally.is_perfect, tally
    assert not differences, "\n".join(differences)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("service", "operation", "resource"),
    [("dynamodb", "BatchWriteItem", "table stock-"), ("s3", "PutObject", "bucket tickertape-")],
)
def test_denied_access_is_named_and_nothing_is_checkpointed(
    tmp_path: Path, service: str, operation: str, resource: str
) -> None:
    """A permission lost in the middle of a run: a line names action and resource, and no checkpoint moves."""
    with Pipeline(tmp_path, shards=1) as pipeline, FaultyProxy(pipeline.url) as proxy:
        pipeline.endpoint = proxy.url
        pipeline.create_leases()
        consumer = pipeline.start_consumer({})
        puts = traffic(seed=6)
        pipeline.put(puts[:100])
        pipeline.drain(consumer)
        before = {shard: lease.checkpoint for shard, lease in pipeline.leases().items()}
        proxy.inject(Fault("deny", services=frozenset({service}), operations=frozenset({operation})))
        pipeline.put(puts[100:400])
        assert consumer.wait(_LIMIT_SECONDS) == 1
        assert {shard: lease.checkpoint for shard, lease in pipeline.leases().items()} == before
        failures = [event for event in pipeline.events(0) if event["event"] == "shard_failed"]
        assert len(failures) == 1
        assert operation in failures[0]["error"]
        assert resource in failures[0]["error"]
        assert "grant this action" in failures[0]["error"]
