"""The KCL drops a batch when its own code raises; nothing may come of the hole that this leaves."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.chaos.faulty_proxy import Fault, FaultyProxy
from tests.compare import compare
from tests.integration.pipeline import Pipeline
from tests.integration.traffic import traffic
from tests.oracle import Settings, expect

_DROPPED = "exception from handleInput"
_LIMIT_SECONDS = 60
_ASKS_LIST_SHARDS = {  # before the first batch
    "KCL_SKIP_SHARD_SYNC_AT_WORKER_INITIALIZATION_IF_LEASES_EXIST": "false",
    "KCL_LIST_SHARDS_BACKOFF_TIME_IN_MILLIS": "100",
    "KCL_MAX_LIST_SHARDS_RETRY_ATTEMPTS": "1",
}
_LIST_SHARDS = frozenset({"ListShards"})  # the shard's process asks it, too, and waits for an answer
SETTINGS = Settings(alert_cooldown_seconds=300)


@pytest.mark.timeout(300)
def test_nothing_comes_after_a_dropped_batch(tmp_path: Path) -> None:
    """The consumer ends: no checkpoint, row or alert comes after the hole; its successor makes all as it must be."""
    puts = traffic(seed=8)[:600]
    with Pipeline(tmp_path, shards=1) as pipeline, FaultyProxy(pipeline.url) as proxy:
        pipeline.endpoint = proxy.url
        first = pipeline.start_consumer({})
        pipeline.put(puts[:200])
        pipeline.drain(first)
        first.kill()
        before = _checkpoints(pipeline)

        proxy.inject(Fault("error", services=frozenset({"kinesis"}), operations=_LIST_SHARDS, agent="aws-sdk-java"))
        pipeline.put(puts[200:400])
        consumer = pipeline.start_consumer(_ASKS_LIST_SHARDS)
        _await_in_log(pipeline, consumer, _DROPPED)
        proxy.inject()
        pipeline.put(puts[400:])
        assert consumer.wait(_LIMIT_SECONDS) == 1
        ends = [event for event in pipeline.events(1) if event["event"] == "records_skipped"]
        assert ends
        assert _DROPPED in ends[0]["error"]
        assert _checkpoints(pipeline) == before

        pipeline.drain(pipeline.start_consumer({}))
        compare(pipeline.export(tmp_path / "export"), expect(pipeline.records(), SETTINGS))


def _await_in_log(pipeline: Pipeline, consumer: subprocess.Popen[bytes], words: str) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while words not in pipeline.log(1).read_text():
        assert consumer.poll() is None, "the consumer ended"
        assert time.monotonic() < deadline, f"'{words}' did not come"
        time.sleep(0.1)


def _checkpoints(pipeline: Pipeline) -> dict[str, tuple[str, int]]:
    return {shard: (lease.checkpoint, lease.sub_sequence_number) for shard, lease in pipeline.leases().items()}
