"""Files of rows, read as a stream: CSV, JSON lines and Parquet, plain or compressed."""

import csv
import gzip
import io
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import arro3.io
import msgspec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from common.errors import SettingsError, UserError

_FORMATS = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError)
_PARQUET_BATCH_ROWS = 4096


class Row(NamedTuple):
    """One row: the number of its line (in Parquet, of the row itself) from 1, the columns' names and the values."""

    number: int
    columns: tuple[str, ...]
    values: Sequence[object]


class RowFile:
    """A file of rows, opened when it is made and never held in memory as a whole.

    Raises
    ------
    SettingsError
        The file is not there, may not be read, or its name does not tell its format.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        compression = path.suffix.lower() if path.suffix.lower() in {".gz", ".zst"} else ""
        suffix = (path.with_suffix("") if compression else path).suffix.lower()
        if suffix not in _FORMATS:
            raise SettingsError(
                f"REPLAY_FILE: {path} is not named .csv, .jsonl or .parquet, nor one of these with .gz or .zst"
            )
        self._format = _FORMATS[suffix]
        self._stream = self._open(compression)

    def error(self, number: int, reason: str) -> UserError:
        """Say what is wrong with the row of that number."""
        return UserError(f"{self._path}, {'row' if self._format == 'parquet' else 'line'} {number}: {reason}")

    def rows(self) -> Iterator[Row]:
        """Read the rows, once.

        Raises
        ------
        UserError
            A row cannot be read; the message names the file and the row.

        """
        with self._stream:
            yield from {"csv": self._csv, "jsonl": self._jsonl, "parquet": self._parquet}[self._format]()

    def _open(self, compression: str) -> IO[bytes]:
        try:
            plain = self._path.open("rb")
        except OSError as error:
            raise SettingsError(f"REPLAY_FILE: {self._path} cannot be read: {error.strerror}") from None
        if compression == ".gz":
            return cast("IO[bytes]", gzip.GzipFile(fileobj=plain))
        return cast("IO[bytes]", zstd.ZstdFile(plain)) if compression == ".zst" else plain

    def _csv(self) -> Iterator[Row]:
        # A byte that is not UTF-8 becomes a surrogate, which the field that it is in then complains of, with its line.
        text = io.TextIOWrapper(self._stream, "utf-8-sig", errors="surrogateescape", newline="")
        lines = csv.reader(text, strict=True)
        columns: tuple[str, ...] = ()
        try:
            for values in lines:
                if not values:
                    continue
                if not columns:
                    columns = tuple(values)
                elif len(values) == len(columns):
                    yield Row(lines.line_num, columns, values)
                else:
                    raise self.error(lines.line_num, f"has {len(values)} fields, and the header has {len(columns)}")
        except csv.Error as error:
            raise self.error(lines.line_num, f"is not CSV: {error}") from None
        except _DAMAGED as error:
            raise self.error(lines.line_num + 1, f"the compressed file is damaged here: {error}") from None

    def _jsonl(self) -> Iterator[Row]:
        decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
        number = 0
        try:
            for number, line in enumerate(self._stream, 1):
                if line.strip():
                    fields = decode(line)
                    yield Row(number, tuple(fields), tuple(fields.values()))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.error(number, f"is not a JSON object: {error}") from None
        except _DAMAGED as error:
            raise self.error(number + 1, f"the compressed file is damaged here: {error}") from None

    def _parquet(self) -> Iterator[Row]:
        number = 0
        try:
            file = self._seekable()
            batches = arro3.io.read_parquet(file, batch_size=_PARQUET_BATCH_ROWS)
            columns = tuple(batches.schema.names)
            for batch in batches:
                lists = (batch.column(name).to_pylist() for name in columns)
                for values in zip(*lists, strict=True):
                    number += 1
                    yield Row(number, columns, values)
        except GeneratorExit:
            raise
        except BaseException as error:
            # The reader's errors are bare Exceptions, and Rust's panics not even that.
            if type(error) is not Exception and type(error).__name__ != "PanicException":
                raise
            raise self.error(number + 1, f"is not readable as Parquet: {_one_line(error)}") from None

    def _seekable(self) -> IO[bytes]:
        """Parquet is read from its end: a compressed file is unpacked to a temporary one first."""
        file = self._stream
        if not isinstance(file, io.BufferedReader):
            file = tempfile.TemporaryFile()  # noqa: SIM115  (it goes when its reader goes)
            try:
                shutil.copyfileobj(self._stream, file)
            except _DAMAGED as error:
                raise UserError(f"{self._path}: the compressed file is damaged: {error}") from None
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        starts = file.read(4)
        file.seek(max(0, size - 4))
        ends = file.read(4)
        file.seek(0)
        if starts != b"PAR1" or ends != b"PAR1":  # the reader panics noisily at what is plainly something else
            raise UserError(f"{self._path} is not a Parquet file, or only a part of one")
        return file


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
