"""The Kinesis Producer Library's aggregated record format: several records in one.

Magic bytes, an AggregatedRecord of Protocol Buffers, and the MD5 of the latter.
"""

from collections.abc import Sequence
from hashlib import md5

MAGIC = b"\xf3\x89\x9a\xc2"
_PARTITION_KEY_TABLE, _RECORDS = 1, 3  # fields of AggregatedRecord
_PARTITION_KEY_INDEX, _DATA = 1, 3  # fields of Record
_VARINT, _BYTES = 0, 2  # wire types


def aggregate(records: Sequence[tuple[str, bytes]]) -> bytes:
    """Pack records, each a partition key and its data, into one."""
    keys = list(dict.fromkeys(key for key, _ in records))
    message = b"".join(_bytes_field(_PARTITION_KEY_TABLE, key.encode()) for key in keys)
    for key, data in records:
        index = _tag(_PARTITION_KEY_INDEX, _VARINT) + _varint(keys.index(key))
        message += _bytes_field(_RECORDS, index + _bytes_field(_DATA, data))
    return MAGIC + message + md5(message, usedforsecurity=False).digest()


def _bytes_field(number: int, content: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(content)) + content


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
