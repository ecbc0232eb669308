"""Records that hold several ticks: a JSON array of objects, or one object a line. Other producers may send them.

Only what is no tick by itself is looked at, so that ordinary records cost nothing.
"""

import msgspec

from common.parts import parts_of
from consumer.protocol import Record

_MAX_BYTES = 1024 * 1024


def unpack(record: Record) -> list[Record]:
    """Cut a record into one for each tick, with the bytes as they were sent; none if it does not hold several.

    A part has its record's position in the stream, and its place among the others as ``record_index``.
    """
    parts = parts_of(record.data) if len(record.data) <= _MAX_BYTES else []
    return [msgspec.structs.replace(record, data=part, record_index=index) for index, part in enumerate(parts)]
