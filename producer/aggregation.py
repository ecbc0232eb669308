"""Many records in one, in the Kinesis Producer Library's format: the consumer's KCL splits them again.

Four magic bytes, an AggregatedRecord of Protocol Buffers, and the MD5 of the latter.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import md5

PAYLOAD_OVERHEAD = 10
"""The most bytes that a payload below 2 MiB takes beside its own."""

_MAGIC = b"\xf3\x89\x9a\xc2"
_KEY, _RECORD = b"\x0a", b"\x1a"  # tags of AggregatedRecord: partition_key_table and records, both bytes
_FIRST_KEY = b"\x08\x00"  # of Record: partition_key_index, 0
_DATA = b"\x1a"  # of Record: data


def aggregate(key: str, payloads: Sequence[bytes]) -> bytes:
    """Pack payloads that have one partition key.

    One key only, as the KCL drops what does not belong to the shard that it came from: after a split, an aggregate of
    several keys would lose some.
    """
    name = key.encode()
    parts = [_KEY, _varint(len(name)), name]
    for payload in payloads:
        parts += (_opening(len(payload)), payload)
    message = b"".join(parts)
    return _MAGIC + message + md5(message, usedforsecurity=False).digest()


@lru_cache(maxsize=1024)
def _opening(length: int) -> bytes:
    """Give what stands before a payload of this length."""
    start = _FIRST_KEY + _DATA + _varint(length)
    return _RECORD + _varint(len(start) + length) + start


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
