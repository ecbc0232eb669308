"""Snapshots in S3: a shard's memory beside its archive, one object for each checkpoint.

The object of a checkpoint is written before it, and the one before is deleted after it; so a process finds the object
of the checkpoint that it starts from. Whoever writes an object again writes the same, as it is named by a position in
the shard; and a process that has lost the shard, and does not know it yet, deletes nothing that the next owner needs.
"""

import math
from collections.abc import Iterable, Iterator
from re import compile as regex
from typing import TYPE_CHECKING

from consumer.backpressure import persist

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client  # development dependencies: types only

END = "SHARD_END"
"""The name of the snapshot that a shard's children begin with."""

_CHECKPOINT = regex(r".*/(\d+)-(\d+)")


class Snapshots:
    """The snapshots of one shard.

    Parameters
    ----------
    s3
        A boto3 client.
    bucket
        The archive's bucket.
    application_name
        The KCL application whose checkpoints these are.
    shard_id
        The shard.

    """

    def __init__(self, s3: "S3Client", bucket: str, application_name: str, shard_id: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._application = f"snapshots/{application_name}"
        self._folder = f"{self._application}/{shard_id}"
        self._last: str | None = None

    def at(self, checkpoint: str) -> Iterator[tuple[str, bytes | None]]:
        """Read the snapshot of the checkpoint that this process starts from: its key, and None if it is not there.

        Those before it go: a process died before it could delete them. One after it stays, for the shard may have
        another owner by now, whose it is.
        """
        self._last = f"{self._folder}/{checkpoint}"
        found = self._list(f"{self._folder}/")
        for key in found:
            if _position(key) < _position(self._last):
                self._delete(key)
        yield self._last, self._get(self._last) if self._last in found else None

    def of_parents(self, shard_ids: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read the last snapshots of other shards: their keys, and None for each that is not there."""
        for shard_id in shard_ids:
            key = f"{self._application}/{shard_id}/{END}"
            yield key, self._get(key) if self._list(key) else None

    def write(self, checkpoint: str, body: bytes) -> None:
        """Write the snapshot of a checkpoint that is about to be made."""
        key = f"{self._folder}/{checkpoint}"
        persist(lambda: self._s3.put_object(Bucket=self._bucket, Key=key, Body=body), about=self._about)

    def follow(self, checkpoint: str) -> None:
        """Delete the snapshot before that of a checkpoint, which has been made."""
        last, self._last = self._last, f"{self._folder}/{checkpoint}"
        if last is not None and last != self._last:
            self._delete(last)

    @property
    def _about(self) -> str:
        return f"bucket {self._bucket}, snapshots/"

    def _list(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return persist(lambda: [item["Key"] for page in pages for item in page.get("Contents", [])], about=self._about)

    def _get(self, key: str) -> bytes:
        def attempt() -> bytes:
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()

        return persist(attempt, about=self._about)

    def _delete(self, key: str) -> None:
        persist(lambda: self._s3.delete_object(Bucket=self._bucket, Key=key), about=self._about)


def _position(key: str) -> tuple[float, int]:
    """Order the keys of a shard; its end, and what others have put there, come last."""
    found = _CHECKPOINT.fullmatch(key)
    return (int(found[1]), int(found[2])) if found else (math.inf, 0)
