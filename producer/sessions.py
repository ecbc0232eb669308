"""Bars as ticks: each symbol's sessions, with the close before, the volume so far, and splits."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from common.tick import VOLUME_LIMIT, NotATickError, Tick
from producer.bars import Quote

_FEWEST_PLACES = 2
"""Prices have these decimals, whether or not a file writes zeros."""

_SINGLE_PRECISION = Fraction(2, 10**7)
"""The largest relative error of a ratio of two numbers that were 32-bit floats once, as Yahoo's are."""


@dataclass(slots=True)
class _Session:
    """One symbol's day."""

    day: date
    previous_close: Fraction | None
    close: int
    volume: Decimal = Decimal(0)
    is_split: bool = False


@dataclass(slots=True)
class _Adjustment:
    """How far a symbol's close is adjusted for what came later, and how exactly that is written."""

    ratio: Fraction
    error: Fraction


class Sessions:
    """Turns quotes into ticks, each symbol's in the order of time."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._splits: dict[str, Fraction] = {}  # of rows without a price
        self._adjustments: dict[str, _Adjustment] = {}
        self._places: dict[str, tuple[int, int]] = {}

    def tick(self, quote: Quote) -> Tick | None:
        """Give the tick of a quote; None where it only tells of a split.

        Raises
        ------
        NotATickError
            The session's volume is more than a tick can have.

        """
        if quote.price is None:
            self._splits[quote.symbol] = self._splits.get(quote.symbol, Fraction(1)) * (quote.split or 1)
            return None
        tick = Tick(
            symbol=quote.symbol,
            timestamp=quote.moment.timestamp,
            price=quote.price,
            open=quote.open,
            high=quote.high,
            low=quote.low,
            previous_close=quote.previous_close,
            source=quote.source,
        )
        if quote.is_bar:
            self._place(tick, quote)
        elif quote.volume is not None:
            tick.volume = round(quote.volume)
        return tick

    def _place(self, tick: Tick, quote: Quote) -> None:
        session = self._session(quote.symbol, quote.moment.day, tick.price)
        session.close = tick.price
        change = self._change(session, quote)
        if session.previous_close is not None:
            session.previous_close *= change
        if tick.previous_close is None and session.previous_close is not None:
            tick.previous_close = round(session.previous_close) or None
        if quote.volume is not None:
            session.volume += quote.volume
            if session.volume >= VOLUME_LIMIT:
                raise NotATickError("with this row the session's volume is not below 2⁶³")
            tick.volume = round(session.volume)

    def _session(self, symbol: str, day: date, price: int) -> _Session:
        session = self._sessions.get(symbol)
        if session is None or session.day != day:
            previous_close = None if session is None else Fraction(session.close)
            session = self._sessions[symbol] = _Session(day, previous_close, price)
        return session

    def _change(self, session: _Session, quote: Quote) -> Fraction:
        """Say what the close before has to be multiplied by, so that it compares with this bar's prices."""
        change = self._adjustment_change(quote) / self._splits.pop(quote.symbol, 1)
        if quote.split is not None and not session.is_split:  # each bar of the day may have the ratio
            session.is_split = True
            change /= quote.split
        return change

    def _adjustment_change(self, quote: Quote) -> Fraction:
        """Say how Adj Close ÷ Close has changed since the last bar, if by more than rounding may explain."""
        if not quote.close or not quote.adjusted or not quote.close.is_finite() or not quote.adjusted.is_finite():
            return Fraction(1)
        now = self._adjustment(quote.symbol, quote.close, quote.adjusted)
        before = self._adjustments.get(quote.symbol, now)
        change = before.ratio / now.ratio
        self._adjustments[quote.symbol] = now
        return change if abs(change - 1) > before.error + now.error else Fraction(1)

    def _adjustment(self, symbol: str, close: Decimal, adjusted: Decimal) -> _Adjustment:
        """Reckon with half a unit of the last place that the file writes, and with 32-bit floats."""
        close_places, adjusted_places = self._places.get(symbol, (_FEWEST_PLACES, _FEWEST_PLACES))
        places = max(close_places, decimal_places(close)), max(adjusted_places, decimal_places(adjusted))
        self._places[symbol] = places
        error = Fraction(1, 2 * 10 ** places[0]) / Fraction(close) + Fraction(1, 2 * 10 ** places[1]) / Fraction(
            adjusted
        )
        return _Adjustment(Fraction(adjusted) / Fraction(close), abs(error) + _SINGLE_PRECISION)


def decimal_places(number: Decimal) -> int:
    """Count the decimals that a number is written with."""
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
