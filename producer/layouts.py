"""Which column of a file is what: the names that brokers, exchanges and libraries give them."""

import re
from ast import literal_eval
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from common.tick import NotATickError
from producer.moments import looks_like_moment
from producer.numbers import is_missing

Column = str | tuple[str, ...]
"""A column's name; where a header has several lines, as yfinance writes them, one from each."""

_BAR: dict[str, tuple[str, ...]] = {
    "close": (
        *("close", "closelast", "closeprice", "closingprice", "clspric", "closeclosepriceadjustedforsplits"),
        *("schlusskurs", "schlußkurs", "schluss", "zuletzt", "clôture", "cloture", "clot", "dernier", "zamkniecie"),
        *("adjclose", "adjustedclose"),
    ),
    "open": (
        *("open", "openprice", "openingprice", "opnpric"),
        *("eröffnung", "eröffnungskurs", "eröffn", "erster", "ouverture", "ouv", "otwarcie"),
    ),
    "high": ("high", "highprice", "hghpric", "hoch", "tageshoch", "plushaut", "haut", "najwyzszy"),
    "low": ("low", "lowprice", "lwpric", "tief", "tagestief", "plusbas", "bas", "najnizszy"),
    "volume": (
        *("volume", "vol", "totaltradedquantity", "tottrdqty", "ttltradgvol", "tickvolume", "tickvol", "totalvolume"),
        *("numberofshares", "noofshares", "sharestraded"),
        *("stücke", "stuecke", "umsatzinstück", "volumen", "wolumen"),
    ),
    "adjusted": ("adjclose", "adjustedclose"),
    "split": ("stocksplits", "splits", "stocksplit", "splitcoefficient", "splitratio", "splitfactor"),
    "previous_close": ("previousclose", "prevclose", "prvsclsgpric"),
}
_OTHER_BAR = {"dividends", "dividendamount", "capitalgains", "repaired"}
_TICK = {"price": ("price",), "source": ("source",)}
_SYMBOL = ("symbol", "ticker", "tckrsymb", "name", "indexlevel1", "level1")
_DATE = ("date", "tradedate", "traddt", "tradingdate", "tradingday", "dtyyyymmdd", "datum", "data")
_CLOCK = ("time", "tradetime", "timeutc", "timegmt", "minute", "zeit", "uhrzeit")
_INDEX = ("index", "", "indexlevel0", "level0", "unnamed0")
"""What becomes of pandas' index when it has no name: the empty name counts in the first column only."""
_MOMENT = (
    *("timestamp", "datetime", *_DATE, *_CLOCK, "opentime", "gmttime", "localtime", "unix", "unixtime"),
    *("unixtimestamp", "epoch", "ts", "begin", "start", "windowstart"),
)
_PRICE_IS_CLOSE = {"date", "open", "high", "low", "change"}
"""Beside these, which Investing.com writes, ``Price`` is a bar's close; its bonds and currencies have no ``Vol.``."""
_LETTERS = {"t": "timestamp", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
"""How web services' JSON shortens a bar's fields. Ticker symbols have one letter, too: the first five must be there."""
_FIELDS = {name for names in (*_BAR.values(), *_TICK.values()) for name in names} | _OTHER_BAR
_LABELS = {"", "ticker", "tickers", "symbol", "symbols", "price", "field", "attributes"}
"""What pandas writes before the names in a line of a header."""
_NUMBERS = re.compile(r"[\d.,\s-]+")


@dataclass(frozen=True, slots=True)
class Group:
    """Where the fields of one symbol are in a row; None where they are not."""

    symbol: str | None
    """What the header says; None where a column does, or nothing."""
    is_bar: bool
    price: int
    symbol_column: int | None = None
    open: int | None = None
    high: int | None = None
    low: int | None = None
    volume: int | None = None
    previous_close: int | None = None
    source: int | None = None
    adjusted: int | None = None
    """The close that is adjusted for splits and dividends."""
    split: int | None = None
    """New shares for an old one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in a row everything is."""

    moment: int
    clock: int | None
    """The time of day, where ``moment`` is a date only."""
    groups: tuple[Group, ...]
    month_first: bool
    """This is a layout whose dates have the month first."""

    @property
    def number_columns(self) -> set[int]:
        """Where numbers are."""
        places = (
            (group.price, group.open, group.high, group.low, group.volume, group.previous_close, group.adjusted)
            for group in self.groups
        )
        return {place for some in places for place in some if place is not None}


@lru_cache(maxsize=1024)
def layout_of(columns: tuple[Column, ...]) -> Layout:
    """Find out what the columns are.

    Raises
    ------
    NotATickError
        They are neither ticks nor bars; the message says what is missing, and lists them.

    """
    pairs = [_pair(column) for column in columns]
    by_ticker = any(len(pair) > 1 and pair[1] for pair in pairs)
    places = _Places(columns, _shared_names(pairs) if by_ticker else _in_full([pair[0] for pair in pairs]))
    groups = tuple(_groups_by_ticker(columns, pairs, places)) if by_ticker else (_group(places, None),)
    moment, clock = _moment_columns(places)
    return Layout(moment, clock, groups, month_first="closelast" in places)


def is_header(columns: tuple[Column, ...]) -> bool:
    """Tell whether these are names of columns that make ticks or bars."""
    try:
        layout_of(columns)
    except NotATickError:
        return False
    return True


def names_symbol(name: str) -> bool:
    """Tell whether a column of that name holds symbols."""
    return squeeze(name) in _SYMBOL


def join_header(rows: Sequence[Sequence[str]]) -> tuple[int, tuple[Column, ...]] | None:
    """Find a header at the beginning of some rows: how many of them it has, and the columns' names.

    yfinance and pandas write up to three lines: fields, tickers (or these two the other way round), and the name of
    the index before empty cells.
    """
    first = tuple(rows[0])
    if len(rows) > 1 and len(rows[1]) == len(first) > 1:
        names = _two_lines(first, tuple(rows[1]))
        if names is not None:
            return (3, names) if len(rows) > 2 and _names_index_only(rows[2]) else (2, names)
    return (1, first) if is_header(first) else None


def holds_numbers(row: Iterable[str]) -> bool:
    """Tell whether a row holds values rather than names."""
    return any(cell.strip() and _NUMBERS.fullmatch(cell) for cell in row)


def _two_lines(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[Column, ...] | None:
    """Join two lines of a header, if that is what they are."""
    if squeeze(second[0]) not in _LABELS or not any(cell.strip() for cell in second):
        return None
    if any(map(looks_like_moment, second)):  # a row whose first cell happens to be such a word
        return None
    if not second[0].strip() and (holds_numbers(second) or all(is_missing(cell) for cell in second)):
        return None
    fields_first = _has_close(first)
    if not fields_first and not _has_close(second):
        return None
    fields, tickers = (first, second) if fields_first else (second, first)
    names = tuple(_joined_name(*pair) for pair in zip(fields, tickers, strict=True))
    blank_index: Column = ""
    names = (blank_index if squeeze(first[0]) in _LABELS else first[0], *names[1:])
    return names if is_header(names) else None


def _joined_name(field: str, ticker: str) -> Column:
    known = squeeze(field) in _FIELDS and ticker.strip()
    return (field, ticker) if known else field or ticker


def _names_index_only(row: Sequence[str]) -> bool:
    return bool(row[0].strip()) and not _NUMBERS.match(row[0]) and not any(cell.strip() for cell in row[1:])


def _has_close(names: Iterable[str]) -> bool:
    return any(squeeze(name) in _BAR["close"] for name in names)


def _pair(column: Column) -> tuple[str, ...]:
    """Split a name that pandas wrote as ``('Close', 'MSFT')``."""
    if isinstance(column, tuple):
        return column
    if column.startswith(("('", '("')):
        try:
            pair = literal_eval(column)
        except (SyntaxError, ValueError):
            return (column,)
        if isinstance(pair, tuple) and 1 <= len(pair) <= 2 and all(isinstance(part, str) for part in pair):
            return pair
    return (column,)


def _in_full(names: list[str]) -> list[str]:
    return [_LETTERS.get(name, name) for name in names] if {"t", "o", "h", "l", "c"} <= set(names) else names


def _shared_names(pairs: list[tuple[str, ...]]) -> list[str]:
    """Name the columns that are of no single ticker."""
    return [pair[0] or pair[-1] if len(pair) == 1 or not (pair[0] and pair[1]) else "of a ticker" for pair in pairs]


def _groups_by_ticker(columns: tuple[Column, ...], pairs: list[tuple[str, ...]], shared: "_Places") -> Iterable[Group]:
    whole = {number: pair for number, pair in enumerate(pairs) if len(pair) > 1 and all(pair)}
    field = 0 if _has_close(pair[0] for pair in whole.values()) else 1
    for ticker in dict.fromkeys(pair[1 - field] for pair in whole.values()):
        names = [
            pair[field] if whole.get(number) and pair[1 - field] == ticker else "of another"
            for number, pair in enumerate(pairs)
        ]
        places = _Places(columns, names)
        if any(name in places for name in (*_BAR["close"], *_TICK["price"])):
            yield _group(places, ticker)


class _Places:
    """Where the columns are, by their names as `squeeze` leaves them."""

    def __init__(self, columns: tuple[Column, ...], names: list[str]) -> None:
        self._columns = columns
        self._places: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            squeezed = squeeze(name)
            if squeezed or number == 0:
                self._places.setdefault(squeezed, []).append(number)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def find(self, names: Iterable[str]) -> int | None:
        """Find the first of these names."""
        for name in names:
            places = self._places.get(name, [])
            if len(places) > 1:
                raise NotATickError(
                    f"the column {self._columns[places[0]]} is there {len(places)} times: name the columns with "
                    "--columns, those to be passed over as -"
                )
            if places:
                return places[0]
        return None

    @property
    def listed(self) -> str:
        """Name all, shortened."""
        names = ", ".join(column if isinstance(column, str) else " ".join(column) for column in self._columns)
        return names if len(names) <= 300 else f"{names[:300]} …"


_NAME_THEM = "name the columns with --columns, for instance --columns time,open,high,low,close,volume"


def _moment_columns(places: _Places) -> tuple[int, int | None]:
    moment = places.find((*_MOMENT, *_INDEX))
    if moment is None:
        raise NotATickError(
            f"there is no timestamp, datetime, date or time among its columns: {places.listed}; {_NAME_THEM}"
        )
    day, clock = places.find(_DATE), places.find(_CLOCK)
    return (moment, clock) if moment == day and clock is not None else (moment, None)


def _group(places: _Places, ticker: str | None) -> Group:
    price, close = places.find(_TICK["price"]), places.find(_BAR["close"])
    is_bar = price is None or all(name in places for name in _PRICE_IS_CLOSE)
    price_or_close = close if price is None else price
    if price_or_close is None:
        raise NotATickError(f"there is neither price nor close among its columns: {places.listed}; {_NAME_THEM}")
    return Group(
        symbol=ticker,
        is_bar=is_bar,
        price=price_or_close,
        symbol_column=places.find(_SYMBOL),
        open=places.find(_BAR["open"]),
        high=places.find(_BAR["high"]),
        low=places.find(_BAR["low"]),
        volume=places.find(_BAR["volume"]),
        previous_close=places.find(_BAR["previous_close"]),
        source=places.find(_TICK["source"]),
        adjusted=places.find(_BAR["adjusted"]),
        split=places.find(_BAR["split"]),
    )


@lru_cache(maxsize=4096)
def squeeze(name: str) -> str:
    """Leave of a column's name its letters and digits, in lower case: ``<CLOSE>`` and ``4. close`` are ``close``."""
    if not name.isprintable():  # not UTF-8: German Excel writes Windows-1252
        name = name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    name = re.sub(r"^\s*\d+\. ", "", name)
    return "".join(character for character in name.lower() if character.isalnum())
