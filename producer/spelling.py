"""What a file's dates and decimals mean, as far as some row decides it for all."""

import re
from collections.abc import Iterable

from common.errors import UserError
from common.tick import NotATickError
from producer.files import Row, RowFile
from producer.layouts import layout_of, squeeze
from producer.moments import DateOrder, MomentReader, date_order, is_date, needs_order, text_of
from producer.numbers import Mark, decimal_mark
from producer.reading import PASSED_OVER, Reading

_TIME_OF_DAY = re.compile(r"\s*\d{1,2}:\d\d\b", re.ASCII)
_CLOCK_DIGITS = re.compile(r"\s*\d{1,6}\s*", re.ASCII)


def spell(file: RowFile, reading: Reading) -> tuple[MomentReader, Mark | None]:
    """Read a file as far as that is needed, and say how to read its timestamps and what begins its decimals.

    31/12/2024 in one row decides for all that the day comes first, and 1.234,50 that decimals begin with a comma. What
    no row decides is left open: the reader then refuses what can be read in two ways.

    Raises
    ------
    UserError
        The first row cannot be read: the file is not what we take it for.

    """
    spelling = _Spelling(file, reading)
    is_first = True
    try:
        for row in file.rows():
            _note(spelling, file, row)
            is_first = False
            if spelling.is_plain:
                break
    except UserError:
        if is_first:
            raise
    return MomentReader(reading, spelling.order, spelling.clock_digits), spelling.mark


def unread_clock(row: Row) -> str | None:
    """Name a column that seems to have a time of day, where only the date beside it is read, and nobody said so."""
    layout = layout_of(row.columns)
    if layout.clock is not None or not is_date(row.values[layout.moment]):
        return None
    fields = zip(row.columns, row.values, strict=True)
    return next((name for name, value in fields if isinstance(name, str) and _is_clock(name, value)), None)


def _is_clock(name: str, value: object) -> bool:
    is_named = squeeze(name).startswith(("time", "hour", "minute")) and _CLOCK_DIGITS.fullmatch(str(value))
    return name != PASSED_OVER and bool(is_named or _TIME_OF_DAY.match(str(value)))


def _note(spelling: "_Spelling", file: RowFile, row: Row) -> None:
    try:
        spelling.note(row)
    except NotATickError as error:
        raise file.error(row.number, str(error)) from None


class _Spelling:
    """What the rows so far decide."""

    def __init__(self, file: RowFile, reading: Reading) -> None:
        self._file = file
        self._order: DateOrder | None = None
        self._wants_order = False
        self._ignores_order = reading.time_format is not None
        self._month_first = False
        self.clock_digits = 0
        """Of the longest time of day without colons."""
        self._mark: Mark | None = reading.decimal
        self._can_be_either = False

    def note(self, row: Row) -> None:
        """Look at a row."""
        layout = layout_of(row.columns)
        self._month_first |= layout.month_first
        if self._order is None and not self._ignores_order:
            self._note_date(row.values[layout.moment])
        if layout.clock is not None:
            self._note_clock(row.values[layout.clock])
        if self._mark is None:
            self._note_numbers(row.values[place] for place in layout.number_columns)

    @property
    def is_plain(self) -> bool:
        """Nothing is open that a later row could decide."""
        order_is_open = self._wants_order and self._order is None
        return self._mark is not None and not order_is_open and self.clock_digits in {0, 6}

    @property
    def order(self) -> DateOrder | None:
        """How dates are meant; None where they can be read in two ways."""
        return self._order or ("month first" if self._month_first else None)

    @property
    def mark(self) -> Mark | None:
        """What begins decimals; None where numbers can be read in two ways."""
        return self._mark or (None if self._can_be_either else ".")

    def _note_date(self, value: object) -> None:
        self._order = date_order(value)
        self._wants_order |= needs_order(value)

    def _note_clock(self, value: object) -> None:
        text = text_of(value) if isinstance(value, str | int | float) else ""
        if text.isdecimal() and len(text) <= 6:
            self.clock_digits = max(self.clock_digits, len(text))

    def _note_numbers(self, values: Iterable[object]) -> None:
        if self._file.separator is None:  # JSON and Parquet are written by programs, with points
            self._mark = "."
            return
        for value in values:
            mark = decimal_mark(value) if isinstance(value, str) else None
            if mark == "either" and "." in str(value) and self._file.separator != ";":
                mark = "."  # where decimals are commas, Excel separates fields by ;
            if mark == "either":
                self._can_be_either = True
            elif mark is not None:
                self._mark = mark
                return
