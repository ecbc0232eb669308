"""One shard among those of its stream: which partition keys are its own, and which shards it comes from."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import md5
from typing import TYPE_CHECKING

from common import aws
from consumer.backpressure import persist

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient  # development dependencies: types only
    from mypy_boto3_kinesis.type_defs import ShardTypeDef

_KEYS_REMEMBERED = 1 << 14
_ALL_HASHES = range(1 << 128)


class Shard:
    """What ListShards tells of a shard.

    Parameters
    ----------
    shard_id
        Its id.
    shards
        The shards of its stream that ListShards knows, by their ids. One that has expired is not among them: it takes
        all keys.

    """

    def __init__(self, shard_id: str, shards: Mapping[str, "ShardTypeDef"]) -> None:
        self.parents = tuple(_parents(shards[shard_id])) if shard_id in shards else ()
        """The shards that it was split or merged from, as long as ListShards knows it."""
        self._hashes = _hashes(shards[shard_id]) if shard_id in shards else _ALL_HASHES
        self.is_whole_stream = self._hashes == _ALL_HASHES
        """It takes the records of all keys."""
        self._holds = lru_cache(_KEYS_REMEMBERED)(self._holds_hash_of)

    def takes(self, partition_key: str) -> bool:
        """Tell whether Kinesis puts records of a partition key on this shard: by the MD5 of the key, in UTF-8."""
        return self.is_whole_stream or self._holds(partition_key)

    def _holds_hash_of(self, partition_key: str) -> bool:
        return int.from_bytes(md5(partition_key.encode(), usedforsecurity=False).digest()) in self._hashes


def read_shards(stream_name: str) -> dict[str, "ShardTypeDef"]:
    """Ask for the shards of a stream, by their ids: those that have records within its retention.

    Raises
    ------
    UserError
        AWS refuses for good.

    """
    kinesis: KinesisClient = aws.client("kinesis")
    pages = kinesis.get_paginator("list_shards").paginate(StreamName=stream_name)
    shards = persist(lambda: [shard for page in pages for shard in page["Shards"]], about=f"stream {stream_name}")
    return {shard["ShardId"]: shard for shard in shards}


def _hashes(shard: "ShardTypeDef") -> range:
    keys = shard["HashKeyRange"]
    return range(int(keys["StartingHashKey"]), int(keys["EndingHashKey"]) + 1)


def _parents(shard: "ShardTypeDef") -> Iterator[str]:
    for name in ("ParentShardId", "AdjacentParentShardId"):
        if name in shard:
            yield shard[name]
