"""Which keys a shard takes, and which shards it comes from."""

from hashlib import md5
from typing import TYPE_CHECKING, cast

import pytest

from consumer.shards import Shard

if TYPE_CHECKING:
    from mypy_boto3_kinesis.type_defs import ShardTypeDef

HALF = 1 << 127
LAST = (1 << 128) - 1


def _shard(start: int, end: int, *parents: str) -> "ShardTypeDef":
    names = ("ParentShardId", "AdjacentParentShardId")
    keys = {"StartingHashKey": str(start), "EndingHashKey": str(end)}
    return cast("ShardTypeDef", {"HashKeyRange": keys, **dict(zip(names, parents, strict=False))})


SHARDS = {
    "0": _shard(0, HALF - 1),
    "1": _shard(HALF, LAST),
    "2": _shard(0, HALF // 2 - 1, "0"),
    "3": _shard(HALF // 2, HALF - 1, "0"),
    "4": _shard(HALF // 2, LAST, "3", "1"),
    "5": _shard(0, LAST, "2", "4"),
    "6": _shard(0, 9, "expired"),
}


@pytest.mark.parametrize("key", ["AAPL", "BRK-B", "M&M.NS", "^GSPC", "ü", "", "0"])
@pytest.mark.parametrize("shard_id", SHARDS)
def test_a_shard_takes_the_keys_whose_hash_it_has(key: str, shard_id: str) -> None:
    """As Kinesis does: the MD5 of the key, as a number, lies between the shard's two ends, both included."""
    keys = SHARDS[shard_id]["HashKeyRange"]
    number = int(md5(key.encode(), usedforsecurity=False).hexdigest(), 16)
    expected = int(keys["StartingHashKey"]) <= number <= int(keys["EndingHashKey"])
    assert Shard(shard_id, SHARDS).takes(key) == expected


def test_both_ends_are_the_shards() -> None:
    """A shard whose only hash is that of a key takes this key, and its neighbours do not."""
    number = int(md5(b"AAPL", usedforsecurity=False).hexdigest(), 16)
    for offset in (-1, 0, 1):
        alone = {"0": _shard(number + offset, number + offset)}
        assert Shard("0", alone).takes("AAPL") == (offset == 0)


@pytest.mark.parametrize(
    ("shard_id", "parents"), [("0", ""), ("2", "0"), ("3", "0"), ("4", "31"), ("5", "24"), ("7", "")]
)
def test_parents_are_those_of_a_split_or_a_merge(shard_id: str, parents: str) -> None:
    """One after a split, two after a merge, none where none is known."""
    assert Shard(shard_id, SHARDS).parents == tuple(parents)


def test_one_shard_or_an_expired_one_takes_all() -> None:
    """Where nothing is known of other shards, no key is another's."""
    assert Shard("5", SHARDS).is_whole_stream
    assert Shard("7", SHARDS).is_whole_stream
    assert not Shard("4", SHARDS).is_whole_stream
