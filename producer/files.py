"""Files of rows, read as a stream: text tables, JSON and Parquet, plain or compressed."""

import gzip
import io
import math
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple, cast

import arro3.io
import msgspec
from arro3.core import Array, DataType

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from common.errors import SettingsError, UserError
from producer.json_tables import decode_object, document_rows, is_document
from producer.layouts import Column
from producer.reading import Reading
from producer.text_tables import BadRowError, TextTable, text_lines

_FORMATS = {
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
}
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError)
_PARQUET_BATCH_ROWS = 4096


class Row(NamedTuple):
    """One row: the number of its line (in Parquet, of the row itself) from 1, the columns' names and the values."""

    number: int
    columns: tuple[Column, ...]
    values: Sequence[object]


class RowFile:
    """A file of rows, never held in memory as a whole, unless it is one JSON document.

    Raises
    ------
    SettingsError
        The file is not there, may not be read, or its name does not tell its format.

    """

    def __init__(self, path: Path, reading: Reading) -> None:
        self._path = path
        self._reading = reading
        self._compression, suffix = _suffixes(path)
        if suffix not in _FORMATS:
            raise SettingsError(
                f"REPLAY_FILE: {path} is not named .csv, .tsv, .txt, .json, .jsonl or .parquet, nor one of these with "
                ".gz or .zst"
            )
        self._format = _FORMATS[suffix]
        self.separator: str | None = None
        """What is between a text's fields, as soon as a row has been read."""
        self._open_plain().close()

    def error(self, number: int, reason: str) -> UserError:
        """Say what is wrong with the row of that number."""
        return UserError(
            f"{self._path}, {'row' if self._format == 'parquet' else 'line'} {number}: {_printable(reason)}"
        )

    def refusal(self, reason: str) -> UserError:
        """Say what is wrong with the file as a whole."""
        return UserError(f"{self._path}: {_printable(reason)}")

    def rows(self) -> Iterator[Row]:
        """Read the rows, from the first one.

        Raises
        ------
        UserError
            A row cannot be read; the message names the file and the row.

        """
        number = 0
        read: dict[str, Callable[[IO[bytes]], Iterator[Row]]]
        read = {"text": self._text, "json": self._json, "parquet": self._parquet}
        with closing(self._open()) as stream:
            try:
                for row in read[self._format](stream):
                    number = row.number
                    yield row
            except BadRowError as error:
                raise self.error(error.number, str(error)) from None
            except _DAMAGED as error:
                raise self.error(number + 1, f"the compressed file is damaged here: {error}") from None

    def _open_plain(self) -> IO[bytes]:
        try:
            return self._path.open("rb")
        except OSError as error:
            raise SettingsError(f"REPLAY_FILE: {self._path} cannot be read: {error.strerror}") from None

    def _open(self) -> IO[bytes]:
        plain = self._open_plain()
        if self._compression == ".gz":
            return cast("IO[bytes]", gzip.GzipFile(fileobj=plain))
        return cast("IO[bytes]", zstd.ZstdFile(plain)) if self._compression == ".zst" else plain

    def _text(self, stream: IO[bytes]) -> Iterator[Row]:
        table = TextTable(text_lines(stream), self._reading)
        self.separator = table.separator
        for number, columns, values in table.rows():
            yield Row(number, columns, values)

    def _json(self, stream: IO[bytes]) -> Iterator[Row]:
        buffered = io.BufferedReader(cast("io.RawIOBase", stream), 65536)
        if is_document(buffered.peek(65536)):
            for number, columns, values in document_rows(buffered, self._reading):
                yield Row(number, columns, values)
        else:
            yield from _json_lines(buffered, self._reading)

    def _parquet(self, stream: IO[bytes]) -> Iterator[Row]:
        number = 0
        try:
            file = self._seekable(stream)
            batches = arro3.io.read_parquet(file, batch_size=_PARQUET_BATCH_ROWS)
            names = tuple(batches.schema.names)
            columns = self._reading.names(names)
            for batch in batches:
                lists = (_values(batch.column(place)) for place in range(len(names)))
                for values in zip(*lists, strict=True):
                    number += 1
                    yield Row(number, columns, values)
        except (GeneratorExit, UserError):
            raise
        except BaseException as error:
            # The reader's errors are bare Exceptions, and Rust's panics not even that.
            if type(error) is not Exception and type(error).__name__ != "PanicException":
                raise
            raise BadRowError(number + 1, f"is not readable as Parquet: {_one_line(error)}") from None

    def _seekable(self, stream: IO[bytes]) -> IO[bytes]:
        """Parquet is read from its end: a compressed file is unpacked to a temporary one first."""
        file = stream
        if self._compression:
            file = tempfile.TemporaryFile()  # noqa: SIM115  (it goes when its reader goes)
            try:
                shutil.copyfileobj(stream, file)
            except _DAMAGED as error:
                raise self.refusal(f"the compressed file is damaged: {error}") from None
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        starts = file.read(4)
        file.seek(max(0, size - 4))
        ends = file.read(4)
        file.seek(0)
        if starts != b"PAR1" or ends != b"PAR1":  # the reader panics noisily at what is plainly something else
            raise self.refusal("is not a Parquet file, or only a part of one")
        return file


def has_rows(path: Path) -> bool:
    """Tell by its name whether a file is one of rows."""
    return _suffixes(path)[1] in _FORMATS


def _suffixes(path: Path) -> tuple[str, str]:
    """Give the suffix of a compressed file, or nothing, and that of what is in it."""
    compression = path.suffix.lower() if path.suffix.lower() in {".gz", ".zst"} else ""
    return compression, (path.with_suffix("") if compression else path).suffix.lower()


def _values(column: Array) -> list[object]:
    """Give a column's values: of 32-bit floats the shortest decimals that mean them, as pandas writes them."""
    values = cast("list[object]", column.to_pylist())
    if DataType.is_float32(column.type):
        return [_shortest(value) if isinstance(value, float) else value for value in values]
    if DataType.is_binary(column.type):  # text of writers that did not say so
        return [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in values]
    return values


def _shortest(value: float) -> float:
    if not math.isfinite(value) or value.is_integer():
        return value
    single = struct.Struct("f")
    candidates = (float(f"{value:.{digits}g}") for digits in range(6, 10))
    return next(number for number in candidates if single.unpack(single.pack(number)) == (value,))


def _json_lines(stream: IO[bytes], reading: Reading) -> Iterator[Row]:
    number = 0
    try:
        for number, line in enumerate(text_lines(stream), 1):
            if line.strip():
                fields = decode_object(line)
                yield Row(number, reading.names(tuple(fields)), tuple(fields.values()))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRowError(number, f"is not a JSON object: {error}: {line.strip()[:40]!r}") from None


def _printable(reason: str) -> str:
    """Keep a message in one line, and a file's own characters from a terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in reason)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
