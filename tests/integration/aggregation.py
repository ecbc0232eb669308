"""The Kinesis Producer Library's aggregated record format: several records in one.

Magic bytes, an AggregatedRecord of Protocol Buffers, and the MD5 of the latter.
"""

from collections.abc import Iterator, Sequence
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


def split_up(key: str, data: bytes) -> list[tuple[str, bytes]]:
    """Give the records in a record, each a partition key and its data: itself, if it is no aggregated one.

    Raises
    ------
    ValueError
        It is aggregated, but damaged.

    """
    if not data.startswith(MAGIC):
        return [(key, data)]
    message, digest = data[len(MAGIC) : -16], data[-16:]
    if md5(message, usedforsecurity=False).digest() != digest:
        raise ValueError("the digest is wrong")
    fields = list(_fields(message))
    keys = [content.decode() for number, content in fields if number == _PARTITION_KEY_TABLE]
    records = [dict(_fields(content)) for number, content in fields if number == _RECORDS]
    return [(keys[_read_varint(record[_PARTITION_KEY_INDEX], 0)[0]], record[_DATA]) for record in records]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Read a message's fields: each one's number, and its content (of a number, its bytes)."""
    place = 0
    while place < len(message):
        tag, place = _read_varint(message, place)
        value, end = _read_varint(message, place)
        if tag & 7 == _BYTES:
            place, end = end, end + value
        if end > len(message):
            raise ValueError("the message is cut off")
        yield tag >> 3, message[place:end]
        place = end


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
