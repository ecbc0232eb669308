"""The price jumps as a stock split makes it jump."""

from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from common.tick import PRICE_UNITS, Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History, new_close
from consumer.detection.rounding import MICRO, divide
from consumer.detection.rule import DOWN, MICRO_UNITS, NONE, UP, Number, Numbers, Ratio, Rule

_WHOLE = tuple((n, 1) for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100))
_ALL = ((3, 2), (5, 2), *_WHOLE)
"""New shares for old ones. A fall by a third is a crash more often than a 3:2 split: the price alone does not tell."""
_JUMP = 4 * PRICE_UNITS // 10
"""No jump of the price is near a ratio where the return is closer to 0 than this, in 10⁻⁹."""
_CLOSE_TOLERANCE = Ratio(1, 1)
"""In per cent: a close is an auction's price, and the last tick is not."""
_CALM = 4
_DAYS = 10
_DAY = len("2023-07-10")


class _Numbers(Numbers, frozen=True, kw_only=True):
    split_tolerance_percent: Annotated[
        Decimal,
        Number("split takes a jump for one that is so near a ratio, in per cent of the price.", above=0, at_most=4),
    ] = Decimal(3)


class Split(Rule):
    """Down where the price jumps from the last one as in a split, up as in a reverse split.

    It does where a session begins with a previous close that is the last price divided by n:m (within 1 %; 3:2 and 5:2
    too), and the price is nearer to that close than to the last price: the feed has adjusted the close. Or where the
    price itself is near the last one divided or multiplied by a whole n, and nothing like it has happened in the last
    days: of each of the last eleven in UTC, the range (highest - lowest) / lowest is at most a quarter of n - 1. A
    day's range begins with the price before it. So a short squeeze passes: what doubles has moved far before.
    """

    name = "split"
    severity = "warning"
    kind = "quality"
    numbers = _Numbers
    remembers = ("_lows", "_highs")

    __slots__ = ("_highs", "_history", "_jump", "_lows", "_ratio", "_tolerance")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._history = history
        self._tolerance = Ratio.of(numbers.split_tolerance_percent)
        self._lows: list[int] = []  # of the last days, this one's last; the price before a day is in its range, too
        self._highs: list[int] = []
        self._jump = self._ratio = (1, 1)

    def update(self, tick: Tick) -> int:
        """Look at the jump, and at the previous close if a session begins."""
        last, price = self._history.last, tick.price
        if last is None:
            self._lows, self._highs = [price], [price]
            return NONE
        ratio = self._ratio_of(tick, last)
        if tick.timestamp[:_DAY] != last.timestamp[:_DAY]:
            self._lows = [*self._lows, last.price][-_DAYS - 1 :]
            self._highs = [*self._highs, last.price][-_DAYS - 1 :]
        lows, highs = self._lows, self._highs
        if ratio is None:
            if price < lows[-1]:
                lows[-1] = price
            elif price > highs[-1]:
                highs[-1] = price
            return NONE
        lows[-1] = highs[-1] = price
        self._ratio, self._jump = ratio, _ordered(price, last.price)
        return DOWN if price < last.price else UP

    def _ratio_of(self, tick: Tick, last: Tick) -> tuple[int, int] | None:
        if tick.previous_close != last.previous_close:
            close = new_close(tick, last)
            ratio = None if close is None else adjusted_for(close, tick.price, last.price)
            if ratio is not None:
                return ratio
        if -_JUMP < self._history.change < _JUMP:
            return None
        ratio = _near(tick.price, last.price, _WHOLE, self._tolerance)
        return ratio if ratio and self._was_calm(ratio[0]) else None

    def _was_calm(self, ratio: int) -> bool:
        ranges = zip(self._lows, self._highs, strict=True)
        return all(_CALM * (high - low) <= (ratio - 1) * low for low, high in ranges)

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give how many times smaller or larger the price is, and the ratio that this is near."""
        larger, smaller = self._jump
        new, old = self._ratio
        return divide(larger * MICRO, smaller) * MICRO_UNITS, divide(new * MICRO, old) * MICRO_UNITS

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say which split it looks like; of a reverse one, the old shares come second."""
        ratio = Fraction(alert.threshold, PRICE_UNITS)
        new, old = (ratio.denominator, ratio.numerator) if alert.is_up else (ratio.numerator, ratio.denominator)
        how = "larger" if alert.is_up else "smaller"
        return (
            f"{alert.symbol} at {alert.price_text} is {alert.value_text} times {how} than the last price: "
            f"it looks like a {new}:{old} split."
        )


def adjusted_for(close: int, price: int, last: int) -> tuple[int, int] | None:
    """Give the ratio of the split that a session's previous close was adjusted for, compared with the last price."""
    ratio = _near(close, last, _ALL, _CLOSE_TOLERANCE)
    is_nearer = price * price < close * last if close < last else price * price > close * last
    return ratio if ratio and is_nearer else None


def _ordered(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one > other else (other, one)


def _near(price: int, last: int, ratios: tuple[tuple[int, int], ...], percent: Ratio) -> tuple[int, int] | None:
    """Find the ratio that two prices have within so many per cent of it."""
    larger, smaller = _ordered(price, last)
    if larger * 10 < smaller * 14:  # the common case: no ratio is below 3:2
        return None
    for new, old in ratios:
        distance = abs(larger * old - smaller * new)
        if distance * 100 * percent.denominator <= percent.numerator * smaller * new:
            return new, old
    return None
