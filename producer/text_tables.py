"""Tables as text: their lines in any Unicode encoding, their separator, and their header of up to three lines."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import IO

from common.tick import NotATickError
from producer.layouts import Column, holds_numbers, is_header, join_header, layout_of
from producer.moments import looks_like_moment
from producer.reading import Reading

LINE_CHARACTERS = 1024 * 1024
"""A longer line is none of a table of quotes."""

_NOT_TEXT = {
    b"\x1f\x8b": "compressed by gzip: name it .gz",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard: name it .zst",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save it as CSV",
    b"PAR1": "Parquet: name it .parquet",
}
_SEPARATORS = ",;\t|"
_LINES_BEFORE_HEADER = 10
_SEPARATOR_LINE = re.compile(r"\s*sep=(.)\s*")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class BadRowError(Exception):
    """A row cannot be read."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number
        """Its line, from 1."""


def text_lines(stream: IO[bytes]) -> Iterator[str]:
    """Decode a file and give its lines, as an editor counts them, with their ends.

    A byte that is not UTF-8 becomes a surrogate, which the field that it is in then complains of, with its line.

    Raises
    ------
    BadRowError
        A line is too long, or is not what the encoding says.

    """
    buffered = io.BufferedReader(stream)  # type: ignore[type-var]  # all that reads bytes will do
    text = io.TextIOWrapper(buffered, encoding_of(buffered.peek(4)[:4]), errors="surrogateescape", newline="")
    number = 0
    try:
        for number, line in enumerate(iter(partial(text.readline, LINE_CHARACTERS), ""), 1):
            if len(line) == LINE_CHARACTERS:
                raise BadRowError(number, f"is longer than {LINE_CHARACTERS} characters: this is no table of quotes")
            yield line
    except UnicodeError:
        raise BadRowError(number + 1, f"is not {text.encoding.upper()}, as the file begins") from None


def encoding_of(start: bytes) -> str:
    """Tell the encoding from a file's first four bytes: by its mark, else by the zeros that UTF-16 has in ASCII.

    Raises
    ------
    BadRowError
        They are those of something that is no text.

    """
    if what := next((what for mark, what in _NOT_TEXT.items() if start.startswith(mark)), None):
        raise BadRowError(1, f"is no text: the file is {what}")
    for mark, name in _BOMS:
        if start.startswith(mark):
            return name
    zeros = [byte == 0 for byte in start]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else "utf-8"


Record = tuple[int, list[str]]
"""The line on which it begins, and its fields."""


class TextTable:
    """A table whose header is read when it is made.

    Parameters
    ----------
    lines
        Its lines, with their ends.
    reading
        What is said of it.

    Raises
    ------
    BadRowError
        It has no header that can be understood.

    """

    def __init__(self, lines: Iterator[str], reading: Reading) -> None:
        head = list(islice(lines, _LINES_BEFORE_HEADER + 3))
        self.separator, self._skipped = _find_header(head, reading)
        self._reader = csv.reader(
            chain(head[self._skipped :], lines), delimiter=self.separator, strict=True, skipinitialspace=True
        )
        self._named = reading.names(reading.columns)

    def rows(self) -> Iterator[tuple[int, tuple[Column, ...], Sequence[object]]]:
        """Give each row: its line, the columns' names and its fields.

        Raises
        ------
        BadRowError
            A row cannot be read.

        """
        records = self._records()
        columns, records = self._header(records)
        if not columns:
            return
        for number, values in records:
            if tuple(values) == columns:  # files put together, each with its header
                continue
            fits = len(values) == len(columns)
            yield number, columns, values if fits else self._fitted(number, values, len(columns))

    def _records(self) -> Iterator[Record]:
        """Give all records but empty ones, with the line on which each begins."""
        reader = self._reader
        number = self._skipped + 1
        try:
            for values in reader:
                if values and (len(values) > 1 or values[0].strip()):
                    yield number, values
                number = self._skipped + reader.line_num + 1
        except csv.Error as error:
            raise BadRowError(number, f"is not CSV: {error}") from None

    def _header(self, records: Iterator[Record]) -> tuple[tuple[Column, ...], Iterator[Record]]:
        """Read the header; give the columns' names, and the records after it."""
        head, records = _peeked(records, 4)
        if not head:
            return (), records
        if self._named:
            skipped = 0 if _holds_values(head[0][1][: len(self._named)]) else 1
            return self._named, chain(head[skipped:], records)
        lines, columns = join_header([values for _, values in head]) or (1, tuple(head[0][1]))
        first = head[lines][1] if len(head) > lines else []
        has_more = len(first) == len(columns) + 1 and first[-1].strip()
        if has_more and looks_like_moment(first[0]) and not is_header(columns):
            columns = ("", *columns)  # pandas' index_label=False, and R: the index has no name, nor a place for one
        try:
            layout_of(columns)
        except NotATickError as error:
            raise BadRowError(head[0][0], self._complaint(head[0][1], str(error))) from None
        return columns, chain(head[lines:], records)

    def _complaint(self, row: list[str], reason: str) -> str:
        if holds_numbers(row):
            return (
                "holds numbers: the file has no header; write one above it, or name its columns with --columns, for "
                f"instance --columns time,open,high,low,close,volume (this line is {self.separator.join(row)[:80]!r})"
            )
        separator = "" if self.separator == "," else f" (its separator is {self.separator!r})"
        return f"{reason}{separator}"

    def _fitted(self, number: int, values: list[str], width: int) -> list[str]:
        rest = values[width:]
        if rest and (self._named or not any(value.strip() for value in rest)):
            return values[:width]
        against = f"--columns names {width}" if self._named else f"the header has {width}"
        raise BadRowError(
            number,
            f"has {len(values)} fields, and {against}, at the separator {self.separator!r} (--separator): "
            f"{self.separator.join(values)[:80]!r}",
        )


def _peeked(records: Iterator[Record], count: int) -> tuple[list[Record], Iterator[Record]]:
    """Give the first records, and the rest; one that cannot be read fails where the rest gets there."""
    head: list[Record] = []
    try:
        for record in islice(records, count):
            head.append(record)  # noqa: PERF402  (what came before a failure stays)
    except BadRowError as error:
        if not head:
            raise
        return head, _failing(error)
    return head, records


def _failing(error: BadRowError) -> Iterator[Record]:
    raise error
    yield


def _find_header(head: list[str], reading: Reading) -> tuple[str, int]:
    """Find out the separator, and how many lines come before the header."""
    if head and (match := _SEPARATOR_LINE.fullmatch(head[0])):  # Excel's own
        return reading.separator or match[1], 1
    for separator in reading.separator or _SEPARATORS:
        rows = [_split(line, separator) for line in head]
        for number in range(0 if reading.columns else min(len(rows), _LINES_BEFORE_HEADER)):
            following = [row for row in rows[number:] if any(row)]
            if rows[number] and following and join_header(following[:3]):
                return separator, number
    return reading.separator or _separator_in(head), 0


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []


def _separator_in(head: list[str]) -> str:
    """Tell which separator the first line has; commas count only where there is no other: they may be in numbers."""
    first = next((line for line in head if line.strip()), "")
    return next((separator for separator in ";\t|" if separator in first), ",")


def _holds_values(row: Sequence[str]) -> bool:
    return any(looks_like_moment(cell) for cell in row) or holds_numbers(row)
