"""What waits for the archive, packed block by block as it comes: a busy shard's window would fill the memory."""

from collections import Counter
from io import BytesIO
from itertools import chain
from typing import Any

from isal import isal_zlib

from consumer.sinks.row import Column, Row

_BLOCK = 1000
"""So many records wait as they are, then they are packed. Part of the format: other blocks would be other bytes."""

_COUNTED = ("late", "conflict", "misplaced", "partition_key", "anomalies", "suppressed")


class GzipLines:
    """Lines of text, compressed."""

    def __init__(self) -> None:
        self._gzip = isal_zlib.compressobj(wbits=31)  # in gzip's form, whose head then tells no time
        self._packed: list[bytes] = []
        self._waiting: list[bytes] = []
        self.count = 0

    def append(self, line: bytes) -> None:
        """Take a line, which must not have a line break."""
        self.count += 1
        self._waiting.append(line)
        if len(self._waiting) == _BLOCK:
            self._pack()

    def finish(self) -> bytes:
        """Give all of it; nothing can be added afterwards."""
        self._pack()
        return b"".join([*self._packed, self._gzip.flush()])

    def _pack(self) -> None:
        self._packed.append(self._gzip.compress(b"".join(line + b"\n" for line in self._waiting)))
        self._waiting.clear()


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

    def append(self, row: Row) -> None:
        """Take a row."""
        self.count += 1
        self._waiting.append(row)
        if len(self._waiting) == _BLOCK:
            self._pack()

    def finish(self) -> bytes:
        """Give all of it as Parquet."""
        from consumer.sinks import arrow  # noqa: PLC0415  (8 MB, which a shard without ticks does without)

        if self._waiting:
            self._pack()
        return arrow.parquet(self._packed)

    def _pack(self) -> None:
        from consumer.sinks import arrow  # noqa: PLC0415  (as above)

        by_column = dict(zip(self._columns, zip(*self._waiting, strict=True), strict=True))
        arrow.append(by_column, self._packed)
        for column, values in by_column.items():
            if column.name in _COUNTED:
                present = [value for value in values if value is not None]
                self.counted[column.name].update(
                    chain.from_iterable(present) if column.kind == "SS" else {column.name: len(present)}
                )
        self._waiting.clear()
