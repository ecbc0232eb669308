"""What waits for the archive, packed block by block as it comes: a busy shard's window would fill the memory."""

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from itertools import accumulate, chain
from typing import Any

from arro3.core import Array, DataType, RecordBatch, Table, list_array
from arro3.io import read_ipc_stream, write_ipc_stream, write_parquet
from isal import isal_zlib

from common.tick import decimal_text
from consumer.sinks.row import Column, Row

_BLOCK = 1000
"""So many records wait as they are, then they are packed. Part of the format: other blocks would be other bytes."""

_COUNTED = ("late", "conflict", "misplaced", "partition_key", "anomalies", "suppressed")

_UNIQUE = ("timestamp", "price", "change", "change_percent", "volume", "sequence_number")
"""Columns whose values hardly come twice: looking for those that do takes time, and saves no room."""

_END = b"\xff\xff\xff\xff\0\0\0\0"
"""Of an Arrow stream."""


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
        self._packed: list[bytes] = []
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
        if self._waiting:
            self._pack()
        file = BytesIO()
        write_parquet(
            read_ipc_stream(BytesIO(_one_stream(self._packed))),
            file,
            compression="zstd(1)",
            column_dictionary_enabled={(c.archived_name or c.name): False for c in self._columns if c.name in _UNIQUE},
            created_by="tickertape",
            skip_arrow_metadata=True,
        )
        return file.getvalue()

    def _pack(self) -> None:
        by_column = dict(zip(self._columns, zip(*self._waiting, strict=True), strict=True))
        batch = RecordBatch.from_pydict({c.archived_name or c.name: _array(c, v) for c, v in by_column.items()})
        packed = BytesIO()
        write_ipc_stream(batch, packed, compression="lz4")
        self._packed.append(packed.getvalue())
        for column, values in by_column.items():
            if column.name in _COUNTED:
                present = [value for value in values if value is not None]
                self.counted[column.name].update(
                    chain.from_iterable(present) if column.kind == "SS" else {column.name: len(present)}
                )
        self._waiting.clear()


def _one_stream(streams: list[bytes]) -> bytes:
    """Join Arrow streams of one schema: each is the schema, the rows and a mark of the end."""
    empty = BytesIO()
    write_ipc_stream(Table.from_batches([], schema=read_ipc_stream(BytesIO(streams[0])).schema), empty)
    schema = empty.getvalue()[: -len(_END)]
    return b"".join([schema, *(stream[len(schema) : -len(_END)] for stream in streams), _END])


def _array(column: Column, values: Sequence[Any]) -> Array:
    if column.kind == "S":
        return Array(values, type=DataType.utf8())
    if column.kind == "BOOL":
        return Array(values, type=DataType.bool())
    if column.kind == "SS":
        lists = [value or () for value in values]
        offsets = Array([0, *accumulate(map(len, lists))], type=DataType.int32())
        return list_array(offsets, Array([text for texts in lists for text in texts], type=DataType.utf8()))
    return _decimals(values, column.places) if column.places else Array(values, type=DataType.int64())


def _decimals(units: Sequence[int | None], places: int) -> Array:
    """Make units of 10^-places decimals, of 38 digits: a wild price can be 10^20 per cent from its close."""
    number = DataType.decimal128(38, places)
    try:
        whole = Array(units, type=DataType.int64()).cast(DataType.decimal128(38, 0))
    except OverflowError:
        texts = [None if value is None else decimal_text(value, places) for value in units]
        return Array(texts, type=DataType.utf8()).cast(number)  # exact: Arrow parses decimals digit by digit
    # the same digits, with the point elsewhere
    return Array.from_arrow_pycapsule(number.__arrow_c_schema__(), whole.__arrow_c_array__()[1])
