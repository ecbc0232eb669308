"""Rows as Arrow's columns: while they wait, a compressed stream of blocks; then Parquet."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import accumulate, chain
from typing import Any

from arro3.core import Array, DataType, RecordBatch, Table, list_array
from arro3.io import read_ipc_stream, write_ipc_stream, write_parquet

from common.tick import decimal_text
from consumer.detection import Column

_UNIQUE = ("timestamp", "price", "change", "change_percent", "volume", "sequence_number")
"""Columns whose values hardly come twice: looking for those that do takes time, and saves no room."""

_PAGE = 5000
"""Rows of a column that are compressed together: with larger pages a file is a little smaller, and making it takes more
memory."""

_END = b"\xff\xff\xff\xff\0\0\0\0"
"""The mark at an Arrow stream's end."""


def append(by_column: Mapping[Column, Sequence[Any]], stream: BytesIO) -> None:
    """Add a block of rows, as integers in units of 10^-places and text, to a stream that has no end yet."""
    batch = RecordBatch.from_pydict({c.archived_name or c.name: _array(c, v) for c, v in by_column.items()})
    block, schema = BytesIO(), BytesIO()
    write_ipc_stream(batch, block, compression="lz4")
    write_ipc_stream(Table.from_batches([], schema=batch.schema), schema)
    begin = len(schema.getvalue()) - len(_END) if stream.tell() else 0  # the schema comes once
    stream.write(block.getvalue()[begin : -len(_END)])


def parquet(stream: BytesIO) -> bytes:
    """Give all rows of a stream as Parquet; nothing can be added to it afterwards."""
    stream.write(_END)
    stream.seek(0)
    file = BytesIO()
    write_parquet(
        read_ipc_stream(stream),  # block by block
        file,
        compression="zstd(1)",
        column_dictionary_enabled=dict.fromkeys(_UNIQUE, False),
        data_page_row_count_limit=_PAGE,
        created_by="tickertape",
        skip_arrow_metadata=True,
    )
    return file.getvalue()


def _array(column: Column, values: Sequence[Any]) -> Array:
    if column.kind == "S":
        return Array(values, type=DataType.utf8())
    if column.kind == "BOOL":
        return Array(values, type=DataType.bool())
    if column.kind == "SS":
        offsets = Array([0, *accumulate(len(value) if value else 0 for value in values)], type=DataType.int32())
        texts = list(chain.from_iterable(filter(None, values)))
        return list_array(offsets, Array(texts, type=DataType.utf8()))
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
