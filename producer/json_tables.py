"""Tables as one JSON document: arrays of objects or of rows, and the shapes in which pandas writes a frame."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import IO, Any, cast

import msgspec

from producer.layouts import Column, is_header, names_symbol
from producer.reading import Reading
from producer.text_tables import BadRowError, encoding_of

DOCUMENT_BYTES = 512 * 1024 * 1024
"""A document is held in memory as a whole: a larger one has to be JSON lines."""

JsonRow = tuple[int, tuple[Column, ...], Sequence[object]]
_SHAPES = "write an array of objects, or one object a line"


def is_document(start: bytes) -> bool:
    """Tell a document from JSON lines by what a file begins with: its first line is no object that is a row."""
    text = start.decode(encoding_of(start[:4]), "ignore").lstrip("\ufeff \t\r\n")
    line, end, _ = text.partition("\n")
    if line.startswith("["):
        return True
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return line.rstrip().endswith(("{", "[", ",")) or bool(
            line and not end
        )  # over several lines, or longer than a row
    if not isinstance(fields, dict):
        return False
    plain = tuple(name for name, value in fields.items() if not isinstance(value, dict | list))
    return len(plain) < len(fields) and not is_header(plain)


def as_utf8(content: bytes) -> bytes:
    """Give a document in UTF-8, without a mark."""
    encoding = encoding_of(content[:4])
    if encoding == "utf-8":
        return content
    return content.decode(encoding, "surrogateescape").encode("utf-8", "surrogateescape")


def document_rows(stream: IO[bytes], reading: Reading) -> Iterator[JsonRow]:
    """Give each row of a document: its line (in a frame's shape, its number), the columns' names and its fields.

    Raises
    ------
    BadRowError
        It is no JSON, or of no shape that we know.

    """
    content = stream.read(DOCUMENT_BYTES + 1)
    if len(content) > DOCUMENT_BYTES:
        raise BadRowError(1, f"begins a JSON document of more than {DOCUMENT_BYTES} bytes: {_SHAPES}")
    try:
        content = without_nan(as_utf8(content))
        if content.lstrip().startswith(b"["):
            yield from _array_rows(content, reading)
        else:
            yield from _frame_rows(_decode(content))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRowError(_line_of(content, error), f"is not JSON: {error}") from None


def decode_object(line: str) -> dict[str, Any]:
    """Read a JSON object whose decimals are exact.

    Raises
    ------
    msgspec.DecodeError
        It is none.

    """
    return _decode_object(without_nan(line.encode("utf-8", "surrogateescape")))


_decode_object = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def without_nan(content: bytes) -> bytes:
    """Write NaN as null: Python and pandas write it, though JSON has none."""
    if b"NaN" not in content:
        return content
    return _STRING_OR_NAN.sub(lambda match: b"null" if match[0] == b"NaN" else match[0], content)


_STRING_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*"|NaN')


def _array_rows(content: bytes, reading: Reading) -> Iterator[JsonRow]:
    line = 1
    position = 0
    for raw in msgspec.json.decode(content, type=list[msgspec.Raw]):
        element = bytes(raw)
        start = content.index(element, position)
        line += content.count(b"\n", position, start)
        fields = _decode(element)
        if isinstance(fields, dict):
            yield line, reading.names(tuple(fields)), tuple(fields.values())
        elif isinstance(fields, list) and reading.columns:
            yield line, reading.names(reading.columns), _row_of(line, fields, len(reading.columns))
        elif isinstance(fields, list):
            raise BadRowError(
                line,
                "is a row without names: name its columns with --columns, for instance --columns "
                f"time,open,high,low,close,volume (it is {element[:80].decode(errors='replace')!r})",
            )
        else:
            raise BadRowError(line, f"{element[:40].decode(errors='replace')!r} is not an object: {_SHAPES}")
        position = start + len(element)
        line += element.count(b"\n")


def _row_of(line: int, fields: list[object], width: int) -> list[object]:
    if len(fields) < width:
        raise BadRowError(line, f"has {len(fields)} fields, and --columns names {width}")
    return fields[:width]


def _frame_rows(document: object) -> Iterator[JsonRow]:
    """Read what pandas' ``to_json`` writes: orient ``split``, ``table``, ``columns`` (its default) or ``index``."""
    shapes = _FRAMES if isinstance(document, dict) else ()
    rows = next((rows for shape in shapes if (rows := shape(cast("dict[str, Any]", document))) is not None), None)
    if rows is None:
        raise BadRowError(1, f"begins a JSON document of a shape that is not known: {_SHAPES}")
    for number, (columns, values) in enumerate(rows, 1):
        yield number, columns, values


_Fields = tuple[tuple[Column, ...], Sequence[object]]


def _split_rows(document: dict[str, Any]) -> list[_Fields] | None:
    columns, index, data = (document.get(name) for name in ("columns", "index", "data"))
    if not isinstance(columns, list) or not isinstance(index, list) or not isinstance(data, list):
        return None
    names: tuple[Column, ...] = ("", *(_column(name) for name in columns))
    if len(index) != len(data) or not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        return None
    return [(names, (moment, *row)) for moment, row in zip(index, data, strict=True)]


def _table_rows(document: dict[str, Any]) -> list[_Fields] | None:
    data = document.get("data")
    if "schema" not in document or not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        return None
    return [(tuple(row), tuple(row.values())) for row in data]


def _column_rows(document: dict[str, Any]) -> list[_Fields] | None:
    if not all(isinstance(column, dict) for column in document.values()):
        return None
    names: tuple[Column, ...] = ("", *document)
    if not document or not is_header(names):
        return None
    keys = dict.fromkeys(key for column in document.values() for key in column)
    if is_header(("", *keys)):  # the fields are within: this is `index`
        return None
    return [(names, (key, *(column.get(key) for column in document.values()))) for key in keys]


def _index_rows(document: dict[str, Any]) -> list[_Fields] | None:
    records = [document, *(value for value in document.values() if isinstance(value, dict))]  # Alpha Vantage nests it
    for nested in records:
        values = list(nested.values())
        if values and all(isinstance(row, dict) and is_header(("", *row)) for row in values):
            return [(("", *row), (key, *row.values())) for key, row in nested.items()]
    return None


def _listed_rows(document: dict[str, Any]) -> list[_Fields] | None:
    """Read a list of objects among other things, as web services answer: the symbol may be beside it."""
    tables = [value for value in document.values() if isinstance(value, list) and _are_records(value)]
    if len(tables) != 1:
        return None
    beside = {name: value for name, value in document.items() if names_symbol(name) and isinstance(value, str)}
    rows = (row if any(names_symbol(name) for name in row) else {**beside, **row} for row in tables[0])
    return [(tuple(row), tuple(row.values())) for row in rows]


def _are_records(rows: list[Any]) -> bool:
    return bool(rows) and all(isinstance(row, dict) and is_header(tuple(row)) for row in rows)


def _list_rows(document: dict[str, Any]) -> list[_Fields] | None:
    """Read a list for each column."""
    columns = {name: values for name, values in document.items() if isinstance(values, list)}
    names = tuple(columns)
    if not is_header(names) or len({len(values) for values in columns.values()}) != 1:
        return None
    return [(names, row) for row in zip(*columns.values(), strict=True)]


_FRAMES = (_split_rows, _table_rows, _column_rows, _index_rows, _listed_rows, _list_rows)


def _column(name: object) -> Column:
    if isinstance(name, list):
        return tuple(str(part) for part in name)
    return str(name)


def _line_of(content: bytes, error: Exception) -> int:
    """Find the line of an error, which tells its byte."""
    _, _, place = str(error).rpartition("(byte ")
    digits = place.rstrip(")")
    return content.count(b"\n", 0, int(digits) if digits.isdecimal() else 0) + 1
