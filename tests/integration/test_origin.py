"""Leases outlive the stream that they were taken on: a Kinesis in which streams are made anew, and real consumers."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from common.errors import UserError
from consumer.leasing import take_leases_without_leader
from consumer.origin import require_same_stream
from tests.chaos.kinesis_local import KinesisLocal
from tests.integration.pipeline import APPLICATION, Pipeline
from tests.integration.traffic import traffic
from tests.waiting import wait_for

_OLDER, _NEWER = "4" + "0" * 54, "5" + "0" * 55
"""Sequence numbers before and after all that the stream gives."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A stack whose stream is in a Kinesis that starts new streams with new sequence numbers."""
    folder = tmp_path_factory.mktemp("origin")
    with KinesisLocal(folder) as kinesis, Pipeline(folder, shards=2, kinesis_url=kinesis.url) as made:
        yield made


@pytest.fixture
def stream(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> str:
    """The stream's name, for an application without leases whose settings are those of this process."""
    forget_leases(pipeline)
    for name, value in settings(pipeline).items():
        monkeypatch.setenv(name, value)
    take_leases_without_leader(APPLICATION)
    return pipeline.stream


def settings(pipeline: Pipeline) -> dict[str, str]:
    """Where Kinesis and the others are."""
    return pipeline.environment() | {"AWS_ENDPOINT_URL_KINESIS": str(pipeline.kinesis.meta.endpoint_url)}


def make_anew(pipeline: Pipeline) -> None:
    """Delete the stream and make one of the same name."""
    pipeline.kinesis.delete_stream(StreamName=pipeline.stream)
    pipeline.kinesis.get_waiter("stream_not_exists").wait(StreamName=pipeline.stream, WaiterConfig={"Delay": 1})
    pipeline.kinesis.create_stream(StreamName=pipeline.stream, ShardCount=2)
    pipeline.kinesis.get_waiter("stream_exists").wait(StreamName=pipeline.stream, WaiterConfig={"Delay": 1})


def forget_leases(pipeline: Pipeline) -> None:
    """Delete what the application keeps."""
    dynamodb = pipeline.client("dynamodb")
    for table in {APPLICATION, f"{APPLICATION}-CoordinatorState"} & {*dynamodb.list_tables()["TableNames"]}:
        dynamodb.delete_table(TableName=table)


def process(pipeline: Pipeline) -> subprocess.Popen[bytes]:
    """Have a new consumer process some records to their end; gives the consumer."""
    consumer = pipeline.start_consumer(settings(pipeline))
    pipeline.put(traffic(seed=11)[:60])
    pipeline.drain(consumer)
    return consumer


def stop(consumer: subprocess.Popen[bytes]) -> None:
    """End it as a container service does."""
    consumer.send_signal(signal.SIGTERM)
    consumer.wait(30)


def refusal(pipeline: Pipeline) -> str:
    """Start a consumer that must refuse; gives the one line that it says."""
    run = subprocess.run(
        [sys.executable, "-m", "tickertape", "consume"],
        env=settings(pipeline),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    (line,) = run.stderr.splitlines()
    return line


@pytest.mark.timeout(300)
def test_a_stream_made_anew_is_noticed(pipeline: Pipeline) -> None:
    """The same stream goes on; one made anew ends the running consumer, is refused, and is read without leases."""
    pipeline.create_leases()
    stop(process(pipeline))
    consumer = process(pipeline)
    ended = {shard: lease.checkpoint for shard, lease in pipeline.leases().items()}
    make_anew(pipeline)
    assert consumer.wait(60) == 1
    assert {shard: lease.checkpoint for shard, lease in pipeline.leases().items()} == ended
    line = refusal(pipeline)
    assert f"delete the table {APPLICATION} " in line
    assert "APPLICATION_NAME" in line
    assert pipeline.stream in line
    forget_leases(pipeline)
    pipeline.create_leases()
    stop(process(pipeline))


def test_a_stream_is_remembered(pipeline: Pipeline, stream: str) -> None:
    """The same stream is no news; another one is, unless the application has no leases that could be wrong."""
    require_same_stream(APPLICATION, stream)
    lease(pipeline, "shardId-000000000000", "TRIM_HORIZON")
    require_same_stream(APPLICATION, stream)
    make_anew(pipeline)
    with pytest.raises(UserError, match="another stream"):
        require_same_stream(APPLICATION, stream)
    pipeline.client("dynamodb").delete_table(TableName=APPLICATION)
    require_same_stream(APPLICATION, stream)


def test_another_streams_name_is_noticed(pipeline: Pipeline, stream: str) -> None:
    """An application that is pointed at another stream has leases of shards with the same names, too."""
    lease(pipeline, "shardId-000000000000", "TRIM_HORIZON")
    require_same_stream(APPLICATION, stream)
    pipeline.kinesis.create_stream(StreamName="other", ShardCount=1)
    wait_for(lambda: _status(pipeline, "other") == "ACTIVE")
    with pytest.raises(UserError, match="another stream than other"):
        require_same_stream(APPLICATION, "other")


@pytest.mark.parametrize(
    ("shard", "checkpoint"),
    [
        ("shardId-000000000000", "SHARD_END"),
        ("shardId-000000000001", "SHARD_END"),
        ("shardId-000000000001", _OLDER),
        ("shardId-000000000002", "TRIM_HORIZON"),
        ("shardId-000000000017", _NEWER),
    ],
)
def test_leases_of_an_older_installation_that_are_wrong(
    pipeline: Pipeline, stream: str, shard: str, checkpoint: str
) -> None:
    """Without a memory: an end of an open shard, a place before its start and a shard that never was are refused."""
    lease(pipeline, "shardId-000000000000", "TRIM_HORIZON")
    lease(pipeline, shard, checkpoint)
    for _ in range(2):
        with pytest.raises(UserError, match="another stream"):
            require_same_stream(APPLICATION, stream)


@pytest.mark.parametrize("checkpoint", ["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", _NEWER])
def test_leases_of_an_older_installation_that_may_be_right(pipeline: Pipeline, stream: str, checkpoint: str) -> None:
    """Without a memory, places within the shards are right, and the stream is remembered from then on."""
    lease(pipeline, "shardId-000000000000", checkpoint)
    require_same_stream(APPLICATION, stream)
    make_anew(pipeline)
    with pytest.raises(UserError, match="another stream"):
        require_same_stream(APPLICATION, stream)


def test_leases_of_shards_that_were_split(pipeline: Pipeline, stream: str) -> None:
    """Without a memory: a closed shard has an end, and shards that have expired may have been there."""
    (first, *_) = pipeline.kinesis.list_shards(StreamName=stream)["Shards"]
    pipeline.kinesis.split_shard(StreamName=stream, ShardToSplit=first["ShardId"], NewStartingHashKey="1000")
    wait_for(lambda: _status(pipeline, stream) == "ACTIVE")
    lease(pipeline, first["ShardId"], "SHARD_END")
    lease(pipeline, "shardId-", _OLDER)
    require_same_stream(APPLICATION, stream)
    make_anew(pipeline)


def lease(pipeline: Pipeline, shard: str, checkpoint: str) -> None:
    """Put a lease into the application's table, whose first it may be."""
    pipeline.create_leases()
    item: dict[str, Any] = {"leaseKey": {"S": shard}, "checkpoint": {"S": checkpoint}}
    pipeline.client("dynamodb").put_item(TableName=APPLICATION, Item=item)


def _status(pipeline: Pipeline, stream: str) -> str:
    summary = pipeline.kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    return str(summary["StreamStatus"])
