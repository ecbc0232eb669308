"""Recorded ticks and bars, at the pace at which they were recorded, or faster."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import chain
from pathlib import Path

from common.tick import VOLUME_LIMIT, NotATickError, Tick, fixed, normalise_symbol, normalise_timestamp
from producer.clock import Clock
from producer.files import Row, RowFile

_HEADERS = {
    "symbol": ("symbol", "ticker", "name"),
    "timestamp": ("timestamp", "datetime", "date", "time"),
    "price": ("price",),
    "close": ("close",),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "previous_close": ("previous_close",),
    "volume": ("volume",),
    "source": ("source",),
}
"""What the contract's fields are called in files, in lower case; an earlier name wins over a later one."""

_PARTITION_KEY_LENGTH = 256


def replay(path: Path, *, symbol: str | None, only: tuple[str, ...], speed: float, clock: Clock) -> Iterator[Tick]:
    """Give the ticks of a file in its order; the file's first row is read at once, the rest as it is needed.

    A row with a price is a tick and passes as it is. A row with only a close is a bar: its close is the price, its
    volume is added up over the UTC day, previous_close is the symbol's last close of the day before.

    Parameters
    ----------
    path
        The file; its name tells its format.
    symbol
        The symbol of rows that name none.
    only
        Publish these symbols and pass over others; empty means all.
    speed
        How many times faster than recorded; infinite means without waiting.
    clock
        What paces the ticks and ends them.

    Raises
    ------
    SettingsError
        The file cannot be opened.
    UserError
        A row cannot be read; the message names the file and the row. The iterator raises it when it gets there.

    """
    ticks = _ticks(RowFile(path), symbol, only)
    first = next(ticks, None)
    if first is None:
        return iter(())
    ticks = chain([first], ticks)
    return ticks if math.isinf(speed) else _paced(ticks, speed, clock)


def _paced(ticks: Iterator[Tick], speed: float, clock: Clock) -> Iterator[Tick]:
    start = clock.monotonic()
    recorded_start = math.nan
    for tick in ticks:
        recorded = datetime.fromisoformat(tick.timestamp).timestamp()
        if math.isnan(recorded_start):
            recorded_start = recorded
        if not clock.sleep_until(start + (recorded - recorded_start) / speed):
            return
        yield tick


def _ticks(file: RowFile, symbol: str | None, only: tuple[str, ...]) -> Iterator[Tick]:
    reader = _TickReader(symbol)
    for row in file.rows():
        try:
            tick = reader.read(row)
        except NotATickError as error:
            raise file.error(row.number, str(error)) from None
        if not only or tick.symbol in only:
            yield tick


@dataclass(slots=True)
class _Columns:
    """Where in a row each field is; None where it is not."""

    symbol: int | None
    timestamp: int
    price: int
    is_bar: bool
    open: int | None
    high: int | None
    low: int | None
    previous_close: int | None
    volume: int | None
    source: int | None


@dataclass(slots=True)
class _Session:
    """One symbol's UTC day in a file of bars."""

    day: str
    previous_close: int | None
    close: int
    volume: Decimal = Decimal(0)


class _TickReader:
    """Turns rows into ticks.

    Each method raises NotATickError with what is wrong with the row.
    """

    def __init__(self, symbol: str | None) -> None:
        self._symbol = symbol
        self._known_columns: dict[tuple[str, ...], _Columns] = {}
        self._sessions: dict[str, _Session] = {}

    def read(self, row: Row) -> Tick:
        columns = self._known_columns.get(row.columns)
        if columns is None:
            columns = self._known_columns[row.columns] = _find_columns(row.columns)
        values = row.values
        tick = Tick(
            symbol=self._symbol_of(values[columns.symbol] if columns.symbol is not None else None),
            timestamp=_timestamp(values[columns.timestamp]),
            price=_required_price(values[columns.price]),
            open=_price(values[columns.open]) if columns.open is not None else None,
            high=_price(values[columns.high]) if columns.high is not None else None,
            low=_price(values[columns.low]) if columns.low is not None else None,
            previous_close=_price(values[columns.previous_close]) if columns.previous_close is not None else None,
            source=_source(values[columns.source]) if columns.source is not None else "replay",
        )
        volume = _volume(values[columns.volume]) if columns.volume is not None else None
        if columns.is_bar:
            self._place_in_session(tick, volume)
        elif volume is not None:
            tick.volume = round(volume)
        return tick

    def _symbol_of(self, value: object) -> str:
        if value is None or not str(value).strip():
            if self._symbol is None:
                raise NotATickError("there is no symbol: name it with SYMBOL (--symbol)")
            return self._symbol
        return _normal_symbol(str(value))

    def _place_in_session(self, tick: Tick, volume: Decimal | None) -> None:
        day = tick.timestamp[:10]
        session = self._sessions.get(tick.symbol)
        if session is None:
            session = self._sessions[tick.symbol] = _Session(day, None, tick.price)
        elif session.day != day:
            session = self._sessions[tick.symbol] = _Session(day, session.close, tick.price)
        session.close = tick.price
        tick.previous_close = session.previous_close
        if volume is not None:
            session.volume += volume
            tick.volume = round(session.volume)


def _find_columns(names: tuple[str, ...]) -> _Columns:
    places = {name.strip().lower(): place for place, name in enumerate(names)}

    def find(field: str) -> int | None:
        return next((places[name] for name in _HEADERS[field] if name in places), None)

    listed = ", ".join(names)
    price, close, timestamp = find("price"), find("close"), find("timestamp")
    if timestamp is None:
        raise NotATickError(f"there is no timestamp, datetime, date or time among its columns: {listed}")
    if {"date", "time"} <= places.keys() and not {"timestamp", "datetime"} & places.keys():
        raise NotATickError("date and time are two columns: join them to one, named timestamp")
    price_or_close = close if price is None else price
    if price_or_close is None:
        raise NotATickError(f"there is neither price nor close among its columns: {listed}")
    return _Columns(
        symbol=find("symbol"),
        timestamp=timestamp,
        price=price_or_close,
        is_bar=price is None,
        open=find("open"),
        high=find("high"),
        low=find("low"),
        previous_close=find("previous_close"),
        volume=find("volume"),
        source=find("source"),
    )


@lru_cache(maxsize=65536)
def _normal_symbol(text: str) -> str:
    """Fold a symbol; one that the contract refuses, such as NYSE:LMT, passes as it is.

    Real files have such rows among good ones, and the place where they are kept and counted is the quarantine.
    """
    text = text.strip()
    try:
        return normalise_symbol(text)
    except NotATickError:
        if len(text) > _PARTITION_KEY_LENGTH or not text.isprintable() or '"' in text or "\\" in text:
            raise
        return text


def _timestamp(value: object) -> str:
    if isinstance(value, date):  # a datetime is one, too
        return normalise_timestamp(value.isoformat())
    if not isinstance(value, str):
        raise NotATickError("timestamp is not ISO 8601")
    return _timestamp_of_text(value)


@lru_cache(maxsize=1024)  # rows of one moment come together
def _timestamp_of_text(text: str) -> str:
    return normalise_timestamp(text.strip())


def _source(value: object) -> str | None:
    if value is None or value == "":
        return None
    text = str(value)
    if not text.isprintable():  # which surrogates, for bytes that were not UTF-8, are not
        raise NotATickError("source has characters that are not printable, or is not UTF-8")
    return text


def _required_price(value: object) -> int:
    price = _price(value)
    if price is None:
        raise NotATickError("a price is missing, or 0")
    return price


def _price(value: object) -> int | None:
    return _price_of_text(value if isinstance(value, str) else _text(value))


@lru_cache(maxsize=65536)
def _price_of_text(text: str) -> int | None:
    number = _number(text)
    return None if number is None or number == 0 else fixed(number)  # 0 is how feeds write "not known"


def _volume(value: object) -> Decimal | None:
    volume = _number(value if isinstance(value, str) else _text(value))
    if volume is not None and not 0 <= volume < VOLUME_LIMIT:
        raise NotATickError("volume is not between 0 and 2⁶³")
    return volume


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise NotATickError(f"{str(value)[:40]!r} is not a number")
    return str(value)


def _number(text: str) -> Decimal | None:
    """Read a number; an empty field and NaN, which is how data frames write it, are None."""
    if not text.strip():
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise NotATickError(f"{text[:40]!r} is not a number") from None
    return None if number.is_nan() else number
