"""Rows on stdout: a table for people, tab-separated text for pipes, CSV, JSON, and a JSON object a line."""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from common.errors import UserError
from desk.rows import Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Format = Literal["table", "csv", "json", "jsonl"]

_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode
_BLOCK = 500
"""Rows of a table are measured together: a long one comes in portions, and not at the end."""

_WIDTH_OF_A_FILE = 1000


def _as_it_is(row: Row, name: str) -> str:
    return text_of(row.get(name))


@dataclass(frozen=True)
class Column:
    """A column of tables and of tab-separated text; in the latter values are as they are.

    ``show`` gives what a table has of a row, and ``style`` in which of rich's styles.
    """

    name: str
    show: Callable[[Row], str] | None = None
    style: Callable[[Row], str] | str = ""
    right: bool = False
    header: str = ""
    wraps: bool = False

    def shown(self, row: Row) -> str:
        """Give what a table has of a row, without anything that a terminal would obey."""
        shown = self.show(row) if self.show else _as_it_is(row, self.name)
        return (
            shown
            if shown.isprintable()
            else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
        )

    def styled(self, row: Row) -> str:
        """Give the style of a row's cell."""
        return self.style if isinstance(self.style, str) else self.style(row)


class Output(Protocol):
    """Writes rows as they come, in any number of portions."""

    def write(self, rows: Iterable[Row]) -> None:
        """Write some more."""

    def end(self) -> None:
        """Nothing more will come."""


def output(form: Format | None, columns: Sequence[Column], names: Sequence[str] = ()) -> Output:
    """Choose how rows are written to stdout.

    Parameters
    ----------
    form
        None is a table on a terminal, else tab-separated text.
    columns
        What tables and tab-separated text have of a row.
    names
        The attributes that come first in CSV, which has all of the others, too.

    """
    if is_table(form):
        return _Tables(columns)
    if form == "csv":
        return _Csv(names)
    if form is not None:
        return _Json(in_lines=form == "jsonl")
    return _Tabs(columns)


def is_table(form: Format | None) -> bool:
    """Tell whether rows are written as a table."""
    return form == "table" or (form is None and sys.stdout.isatty())


def text_of(value: object) -> str:
    """Write a value as text: numbers with all their digits, nothing for None."""
    write = _WRITTEN.get(type(value))
    return write(value) if write else str(value)


def plain(number: Decimal) -> str:
    """Write a decimal without exponent and without zeros at its end: ``43.580000000`` is ``43.58``."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _json_text(value: object) -> str:
    return _encode(value).decode().strip('"')


_WRITTEN: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "",
    Decimal: plain,
    **dict.fromkeys((list, tuple), lambda values: ",".join(map(text_of, values))),
    **dict.fromkeys((bytes, bool, dict), _json_text),
}
"""How values are written as text by their types; of others, Python's own text is right."""


@dataclass
class _Tabs:
    columns: Sequence[Column]

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            values = (_as_it_is(row, column.name) for column in self.columns)
            sys.stdout.write("\t".join(map(_without_tabs, values)) + "\n")
        sys.stdout.flush()

    def end(self) -> None:
        pass


def _without_tabs(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


@dataclass
class _Csv:
    names: Sequence[str]
    _columns: list[str] = field(default_factory=list)

    def write(self, rows: Iterable[Row]) -> None:
        remaining = iter(rows)
        beginning = list(islice(remaining, _BLOCK))
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if not self._columns and beginning:
            self._columns = self._names_in(beginning)
            writer.writerow(self._columns)
        for row in chain(beginning, remaining):
            writer.writerow([text_of(row.get(name)) for name in self._columns])
        sys.stdout.flush()

    def _names_in(self, beginning: list[Row]) -> list[str]:
        """Name the columns: later rows have no other attributes than the first ones and the known names."""
        return [*self.names, *sorted({name for row in beginning for name in row} - {*self.names})]

    def end(self) -> None:
        if not self._columns:
            csv.writer(sys.stdout, lineterminator="\n").writerow(self.names)


@dataclass
class _Json:
    in_lines: bool
    _before: str = "["

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            text = _encode(row).decode()
            if self.in_lines:
                sys.stdout.write(f"{text}\n")
            else:
                sys.stdout.write(f"{self._before}\n{text}")
                self._before = ","
        sys.stdout.flush()

    def end(self) -> None:
        if not self.in_lines:
            sys.stdout.write("[]\n" if self._before == "[" else "\n]\n")


class _Tables:
    """Tables below each other, one for each portion of rows, as wide as those before it."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._console = _console()
        self._widths: list[int] | None = None

    def write(self, rows: Iterable[Row]) -> None:
        remaining = iter(rows)
        while block := list(islice(remaining, _BLOCK)):
            cells = [[column.shown(row) for column in self._columns] for row in block]
            self._console.print(_table(self._columns, block, cells, self._widths))
            self._widths = _widths(cells, self._widths or [0] * len(self._columns))

    def end(self) -> None:
        pass


@contextmanager
def redrawn(columns: Sequence[Column]) -> Iterator[Callable[[list[Row]], None]]:
    """Give what draws a table anew, in its place on the terminal."""
    console = _console()
    from rich.live import Live  # noqa: PLC0415  (see _console)

    def draw(rows: list[Row]) -> None:
        cells = [[column.shown(row) for column in columns] for row in rows]
        live.update(_table(columns, rows, cells, None), refresh=True)

    with Live(console=console, auto_refresh=False) as live:
        yield draw


def _table(columns: Sequence[Column], rows: list[Row], cells: list[list[str]], widths: list[int] | None) -> "Table":
    """Draw rows; with the widths of a table before it, the table has no header."""
    from rich.table import Table  # noqa: PLC0415  (see _console)
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_header=widths is None)
    for column, width in zip(columns, widths or [0] * len(columns), strict=True):
        table.add_column(
            column.header or column.name,
            justify="right" if column.right else "left",
            no_wrap=not column.wraps,
            min_width=None if column.wraps else width,
            overflow="fold" if column.wraps else "ellipsis",
        )
    for row, shown in zip(rows, cells, strict=True):
        table.add_row(*(Text(cell, column.styled(row)) for column, cell in zip(columns, shown, strict=True)))
    return table


def _widths(cells: list[list[str]], at_least: list[int]) -> list[int]:
    return [max(width, *map(len, column)) for width, column in zip(at_least, zip(*cells, strict=True), strict=True)]


def _console() -> "Console":
    """Give rich's console; only tables need it, and only they wait for its import."""
    try:
        from rich.console import Console  # noqa: PLC0415
    except ModuleNotFoundError:
        raise UserError(
            "a table needs rich, not installed here: pip install 'tickertape[desk]', or choose --format csv or json"
        ) from None
    # what is written into a file is not cut to the width of a terminal that is not there
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
