"""Rows as quotes: what a row's fields say, before order and sessions are looked at."""

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from common.tick import VOLUME_LIMIT, NotATickError, fixed, normalise_symbol
from producer.files import Row
from producer.layouts import Column, Group, Layout, layout_of
from producer.moments import Moment, MomentReader
from producer.numbers import Mark, is_missing, read_number

Value = TypeVar("Value")

_PARTITION_KEY_LENGTH = 256
_SHOWN = 40
_RATIO = re.compile(r"(.+?)(?:[:/]|[- ]for[- ])(.+?)(?: stock splits?)?", re.IGNORECASE)


class Quote(msgspec.Struct, gc=False):
    """A row of one symbol. Prices are in units of 10⁻⁹."""

    number: int
    """The row's number in the file."""
    symbol: str
    moment: Moment
    is_bar: bool
    price: int | None
    """The tick's, or the bar's close; None where the row has none, but tells of a split."""
    open: int | None = None
    high: int | None = None
    low: int | None = None
    previous_close: int | None = None
    volume: Decimal | None = None
    """Of the bar alone, or of a tick's session so far."""
    source: str | None = None
    close: Decimal | None = None
    """The bar's close as the file has it."""
    adjusted: Decimal | None = None
    """The same, adjusted for later splits and dividends; None as well where the file has a column of splits."""
    split: Fraction | None = None
    """New shares for an old one, where that changes with this row."""


class QuoteReader:
    """Reads rows.

    Parameters
    ----------
    symbol
        The symbol of rows that name none.
    moments
        Reads their timestamps.
    mark
        What begins the decimals of numbers that are text.

    """

    def __init__(self, symbol: str | None, moments: MomentReader, mark: Mark | None) -> None:
        self._symbol = symbol
        self._moments = moments
        self._mark = mark

    def read(self, row: Row) -> list[Quote]:
        """Give the quotes of a row: one, or one of each symbol that is in it; none where no price is.

        Raises
        ------
        NotATickError
            The row cannot be read; the message names the column and the value.

        """
        layout = layout_of(row.columns)
        priced = [(group, self._price(row, group.price)) for group in layout.groups]
        told = [(group, price) for group, price in priced if price is not None or self._split(row, group)]
        if not told:
            return []
        moment = self._moment(row, layout)
        return [self._quote(row, group, moment, price) for group, price in told]

    def _moment(self, row: Row, layout: Layout) -> Moment:
        clock = layout.clock
        try:
            return self._moments.read(row.values[layout.moment], None if clock is None else row.values[clock])
        except NotATickError as error:
            raise _complaint(row, error, layout.moment, *(() if clock is None else (clock,))) from None

    def _quote(self, row: Row, group: Group, moment: Moment, price: int | None) -> Quote:
        quote = Quote(
            row.number,
            self._symbol_of(row, group),
            moment,
            group.is_bar,
            price,
            open=self._price(row, group.open),
            high=self._price(row, group.high),
            low=self._price(row, group.low),
            previous_close=self._price(row, group.previous_close),
            volume=_read_if_there(row, group.volume, self._volume),
            source=_read(row, group.source, _source) if group.source is not None else "replay",
            split=self._split(row, group),
        )
        if group.split is None and group.adjusted != group.price:
            quote.close = _read_if_there(row, group.price, self._number)
            quote.adjusted = _read_if_there(row, group.adjusted, self._number)
        return quote

    def _symbol_of(self, row: Row, group: Group) -> str:
        if group.symbol is not None:
            return _normal_symbol(group.symbol)
        place = group.symbol_column
        if place is None or _is_blank(row.values[place]):
            if self._symbol is None:
                raise NotATickError("there is no symbol: name it with SYMBOL (--symbol)")
            return self._symbol
        return _read(row, place, lambda value: _normal_symbol(str(value)))

    def _number(self, value: object) -> Decimal | None:
        return read_number(value, self._mark)

    def _price(self, row: Row, place: int | None) -> int | None:
        if place is None:
            return None
        value = row.values[place]
        try:
            return _price_of_text(value, self._mark) if isinstance(value, str) else _fixed(self._number(value))
        except NotATickError as error:
            raise _complaint(row, error, place) from None

    def _volume(self, value: object) -> Decimal | None:
        volume = read_number(value, self._mark, scaled=True)
        if volume is not None and not 0 <= volume < VOLUME_LIMIT:
            raise NotATickError("is no volume: one is between 0 and 2⁶³")
        return volume

    def _split(self, row: Row, group: Group) -> Fraction | None:
        ratio = _read_if_there(row, group.split, self._ratio)
        return ratio if ratio not in {None, 0, 1} else None

    def _ratio(self, value: object) -> Fraction | None:
        """Read new shares for an old one: 10, 10:1, 10/1 or 10-for-1."""
        match = _RATIO.fullmatch(value) if isinstance(value, str) else None
        parts = match.groups() if match else (value,)
        new, old = [*(self._number(part) for part in parts), Decimal(1)][:2]
        if new is None or old is None:
            return None
        if not new.is_finite() or not old.is_finite() or new < 0 or old <= 0:
            raise NotATickError("is no ratio of new shares to old ones")
        return Fraction(new) / Fraction(old)


def _read(row: Row, place: int, read: Callable[[Any], Value]) -> Value:
    """Read a field; what is wrong with it is said with its column and value."""
    try:
        return read(row.values[place])
    except NotATickError as error:
        raise _complaint(row, error, place) from None


def _read_if_there(row: Row, place: int | None, read: Callable[[Any], Value | None]) -> Value | None:
    return None if place is None else _read(row, place, read)


def _complaint(row: Row, error: NotATickError, *places: int) -> NotATickError:
    fields = " and ".join(f"column {_name(row.columns[place], place)}: {_shown(row.values[place])}" for place in places)
    return type(error)(f"{fields} {error}")


def _name(column: Column, number: int) -> str:
    name = " ".join(column) if isinstance(column, tuple) else column.strip()
    return name or str(number + 1)


def _shown(value: object) -> str:
    text = "NaN" if value != value else repr(value if isinstance(value, str) else str(value))  # noqa: PLR0124
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _is_blank(value: object) -> bool:
    """Tell whether there is no symbol; NA and NAN are some."""
    return not value.strip() if isinstance(value, str) else is_missing(value)


@lru_cache(maxsize=65536)
def _normal_symbol(text: str) -> str:
    """Fold a symbol; one that the contract refuses, such as NYSE:LMT, passes as it is.

    Real files have such rows among good ones, and the place where they are kept and counted is the quarantine.
    """
    text = text.strip()
    try:
        return normalise_symbol(text)
    except NotATickError as error:
        if len(text) > _PARTITION_KEY_LENGTH or not text.isprintable() or '"' in text or "\\" in text:
            raise NotATickError(f"is no symbol: {error}") from None
        return text


def _source(value: object) -> str | None:
    if _is_blank(value):
        return None
    text = str(value)
    if not text.isprintable():  # which surrogates, for bytes that were not UTF-8, are not
        raise NotATickError("has characters that are not printable, or is not UTF-8")
    return text


@lru_cache(maxsize=65536)
def _price_of_text(text: str, mark: Mark | None) -> int | None:
    return _fixed(read_number(text, mark))


def _fixed(number: Decimal | None) -> int | None:
    if number is None or number == 0:  # 0 is how feeds write "not known"
        return None
    try:
        return fixed(number)
    except NotATickError as error:
        raise NotATickError(f"is no price: {error}") from None
