"""What waits for the archive, packed block by block as it comes: a busy shard's window would fill the memory."""

from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import chain
from typing import Any, TypeVar

from isal import isal_zlib

from consumer.detection import Column
from consumer.sinks.row import Row

_BLOCK = 1000
"""So many records wait as they are, then they are packed. Part of the format: other blocks would be other bytes."""

_BLANKS = bytes.maketrans(b"\r\n", b"  ")
_COUNTED = ("late", "conflict", "misplaced", "partition_key", "anomalies", "suppressed")

Waiting = TypeVar("Waiting")


class GzipLines:
    """Lines of text, compressed."""

    def __init__(self) -> None:
        self._gzip = isal_zlib.compressobj(wbits=31)  # in gzip's form, whose head then tells no time
        self._packed: list[bytes] = []
        self._waiting: list[bytes] = []
        self.count = 0

    def extend(self, documents: Sequence[bytes]) -> None:
        """Take JSON, a document a line: line breaks, which stand between its tokens only, become blanks."""
        self.count += len(documents)
        self._waiting += documents
        for block in _blocks(self._waiting):
            self._pack(block)

    def finish(self) -> bytes:
        """Give all of it; nothing can be added afterwards."""
        if self._waiting:
            self._pack(self._waiting)
        return b"".join([*self._packed, self._gzip.flush()])

    def _pack(self, documents: list[bytes]) -> None:
        lines = b"\n".join([*documents, b""])
        if b"\r" in lines or lines.count(b"\n") > len(documents):
            lines = b"".join(document.translate(_BLANKS) + b"\n" for document in documents)
        self._packed.append(self._gzip.compress(lines))


class ParquetRows:
    """Rows in Arrow's columns, compressed, where they take a twentieth of the room that tuples take.

    Parameters
    ----------
    columns
        What a row consists of.

    """

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._packed = BytesIO()
        self._waiting: list[Row] = []
        self.count = 0
        self.counted: dict[str, Counter[Any]] = {name: Counter() for name in _COUNTED}
        """How often some of the columns have a value, once all is finished; for sets, each of their members."""

    def extend(self, rows: Sequence[Row]) -> None:
        """Take rows."""
        self.count += len(rows)
        self._waiting += rows
        for block in _blocks(self._waiting):
            self._pack(block)

    def finish(self) -> bytes:
        """Give all of it as Parquet."""
        from consumer.sinks import arrow  # noqa: PLC0415  (8 MB, which a shard without ticks does without)

        if self._waiting:
            self._pack(self._waiting)
        return arrow.parquet(self._packed)

    def _pack(self, rows: list[Row]) -> None:
        from consumer.sinks import arrow  # noqa: PLC0415  (as above)

        by_column = dict(zip(self._columns, zip(*rows, strict=True), strict=True))
        arrow.append(by_column, self._packed)
        for column, values in by_column.items():
            if column.name in _COUNTED:
                self.counted[column.name].update(
                    chain.from_iterable(filter(None, values))
                    if column.kind == "SS"
                    else {column.name: len(values) - values.count(None)}
                )


def _blocks(waiting: list[Waiting]) -> Iterator[list[Waiting]]:
    """Take whole blocks out of what waits, as long as there are some."""
    while len(waiting) >= _BLOCK:
        yield waiting[:_BLOCK]
        del waiting[:_BLOCK]
