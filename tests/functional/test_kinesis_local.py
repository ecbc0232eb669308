"""What the chaos suite relies on in kinesis-local: true resharding."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.chaos.kinesis_local import KinesisLocal

STREAM = "ticks"
PARENT = "shardId-000000000000"
LOWER, UPPER, MERGED = (f"shardId-{number:012}" for number in (1, 2, 3))
KEYS = ("AAPL", "KO", "XOM", "INDA", "TSCO", "MAS")


@pytest.fixture(scope="module")
def kinesis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Kinesis whose stream was split and merged, with records of several keys before, between and after."""
    with KinesisLocal(tmp_path_factory.mktemp("kinesis-local")) as local:
        client = local.client()
        client.create_stream(StreamName=STREAM, ShardCount=1)
        _await_active(client)
        _put(client, range(10))
        client.split_shard(StreamName=STREAM, ShardToSplit=PARENT, NewStartingHashKey=str(2**127))
        _put(client, range(10, 20))  # while the stream is being updated
        _await_active(client)
        _put(client, range(20, 30))
        client.merge_shards(StreamName=STREAM, ShardToMerge=LOWER, AdjacentShardToMerge=UPPER)
        _await_active(client)
        _put(client, range(30, 40))
        yield client


def test_shards_know_their_parents_and_that_they_are_closed(kinesis: Any) -> None:  # noqa: ANN401  (a boto3 client)
    """A split and a merge close the parents, and the children have greater ids and name their parents."""
    shards = {shard["ShardId"]: shard for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]}
    assert {name: _parents(shard) for name, shard in shards.items()} == {
        PARENT: [],
        LOWER: [PARENT],
        UPPER: [PARENT],
        MERGED: [LOWER, UPPER],
    }
    assert [name for name, shard in shards.items() if "EndingSequenceNumber" not in shard["SequenceNumberRange"]] == [
        MERGED
    ]


def test_a_closed_shard_ends_and_tells_its_children(kinesis: Any) -> None:  # noqa: ANN401  (a boto3 client)
    """The last records of a closed shard come without an iterator to go on with, but with the shards that follow."""
    ends = {shard: _read(kinesis, shard)[-1] for shard in (PARENT, LOWER, UPPER)}
    children = {shard: [child["ShardId"] for child in end["ChildShards"]] for shard, end in ends.items()}
    assert children == {PARENT: [LOWER, UPPER], LOWER: [MERGED], UPPER: [MERGED]}
    assert not any("NextShardIterator" in end for end in ends.values())
    assert "NextShardIterator" in _read(kinesis, MERGED)[-1]


def test_a_key_keeps_its_order_over_split_and_merge(kinesis: Any) -> None:  # noqa: ANN401  (a boto3 client)
    """Parents first, each key's records come in the order in which they were put, by number and by arrival."""
    seen: dict[str, list[tuple[int, datetime, int]]] = {key: [] for key in KEYS}
    paths: dict[str, list[str]] = {key: [] for key in KEYS}
    for shard in (PARENT, LOWER, UPPER, MERGED):
        for answer in _read(kinesis, shard):
            for record in answer["Records"]:
                seen[record["PartitionKey"]].append(
                    (int(record["SequenceNumber"]), record["ApproximateArrivalTimestamp"], int(record["Data"]))
                )
                paths[record["PartitionKey"]].append(shard)
    for key in KEYS:
        numbers, arrivals, payloads = zip(*seen[key], strict=True)
        assert payloads == tuple(range(40))
        assert list(numbers) == sorted(set(numbers))
        assert list(arrivals) == sorted(arrivals)
    assert {tuple(dict.fromkeys(path)) for path in paths.values()} == {
        (PARENT, LOWER, MERGED),
        (PARENT, UPPER, MERGED),
    }


def _put(client: Any, values: range) -> None:  # noqa: ANN401  (a boto3 client)
    """Put each value once for each key."""
    entries = [{"Data": str(value).encode(), "PartitionKey": key} for value in values for key in KEYS]
    assert client.put_records(StreamName=STREAM, Records=entries)["FailedRecordCount"] == 0


def _await_active(client: Any) -> None:  # noqa: ANN401  (a boto3 client)
    deadline = time.monotonic() + 10
    while client.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _parents(shard: dict[str, Any]) -> list[str]:
    return [shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if name in shard]


def _read(client: Any, shard: str) -> list[dict[str, Any]]:  # noqa: ANN401  (a boto3 client)
    """Read a shard in small steps, until it ends or has nothing left; gives the answers."""
    iterator = client.get_shard_iterator(StreamName=STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    answers = [client.get_records(ShardIterator=iterator["ShardIterator"], Limit=25)]
    while "NextShardIterator" in answers[-1] and answers[-1]["Records"]:
        answers.append(client.get_records(ShardIterator=answers[-1]["NextShardIterator"], Limit=25))
    return answers
