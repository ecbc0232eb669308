"""A move that is rarer than a rate: a scale and a multiplier that are learnt from each tick.

The multiplier is tracked as in Angelopoulos, Candès, Tibshirani: Conformal PID Control for Time Series Prediction,
2023.
"""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Annotated

from common.tick import PRICE_LIMIT, PRICE_UNITS, Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rounding import MICRO
from consumer.detection.rule import DOWN, NONE, UP, Column, Number, Numbers, Rule

_PICO = 1000
"""The scale is in 10⁻¹², a return (10⁻⁹) times this; the multiplier is in 10⁻⁶."""
_UNITS = PRICE_UNITS * _PICO * MICRO
_HALF = _UNITS // 2 - 1
_HIGHEST = PRICE_LIMIT * PRICE_UNITS
_CAP = 8
_FALL = MICRO // 100
_WARM_UP = 20
_LEAST_RATE, _GREATEST_RATE = Decimal("0.000001"), Decimal("0.5")


class _Numbers(Numbers, frozen=True, kw_only=True):
    unusual_rate: Annotated[
        Decimal, Number("Share of ticks that are unusual: 0.001 is one in a thousand; from 0.000001 to 0.5.")
    ] = Decimal("0.001")

    def __post_init__(self) -> None:
        if not _LEAST_RATE <= self.unusual_rate <= _GREATEST_RATE:
            raise ValueError(f"UNUSUAL_RATE ({self.unusual_rate}) must be from {_LEAST_RATE:f} to {_GREATEST_RATE}")


class Unusual(Rule):
    """The side is that of a price strictly outside p ± q·s·p, where p is the price before.

    The scale s is a mean of |r|, the returns' sizes: s ← 0.9·s + 0.1·min(|r|, 8·s). It begins with the first return
    that is not 0, and returns of 0 leave it, so that a price that stands still for long does not make the next move
    look immense. The multiplier q begins with -ln(rate), the quantile of an exponential distribution with mean 1. A
    tick inside makes it 0.01 smaller (down to 0), one outside 0.01·(1 - rate)/rate larger: these balance where the
    share of ticks outside is the rate. Each is rounded half to even: s to 10⁻¹², q to 10⁻⁶, the edges to 10⁻⁹.

    Both learn from 20 ticks before there is a side.
    """

    name = "unusual"
    severity = "warning"
    numbers = _Numbers
    remembers = ("scale", "multiplier", "learnt")

    __slots__ = ("_history", "_rise", "learnt", "multiplier", "scale")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._history = history
        self.scale = self.learnt = 0
        self.multiplier, self._rise = _first_and_rise(numbers.unusual_rate)

    @classmethod
    def columns(cls, numbers: _Numbers) -> tuple[Column, ...]:
        """Between which prices this tick was expected, before it came."""
        return Column("expected_low", "N", 9), Column("expected_high", "N", 9)

    def update(self, tick: Tick) -> int:
        """Compare the price with what was expected, and learn from it."""
        size = abs(self._history.change) * _PICO
        last, scale = self._history.last, self.scale
        if last is None or not scale:
            self.scale = size
            self.values = (None, None)
            return NONE
        price, before = tick.price, last.price
        width = before * self.multiplier * scale
        width = (width + _HALF + (width // _UNITS & 1)) // _UNITS  # half to even, without a call
        low, high = before - width, before + width
        side = UP if price > high else DOWN if price < low else NONE
        self._learn(size, side)
        if self.learnt < _WARM_UP:
            self.learnt += 1
            self.values = (None, None)
            return NONE
        if low < 0 or high > _HIGHEST:
            low, high = max(low, 0), min(high, _HIGHEST)
        self.values = (low, high)
        return side

    def _learn(self, size: int, side: int) -> None:
        if side:
            self.multiplier += self._rise
        elif self.multiplier > _FALL:
            self.multiplier -= _FALL
        else:
            self.multiplier = 0
        if size:
            scale = self.scale
            tenfold = 9 * scale + size if size < _CAP * scale else (9 + _CAP) * scale
            self.scale = (tenfold + 4 + (tenfold // 10 & 1)) // 10  # as above

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the price and the edge that it is beyond."""
        low, high = self.values
        return tick.price, high if side == UP else low

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say what was expected at most, or at least."""
        where, edge = ("above", "most") if alert.is_up else ("below", "least")
        return (
            f"{alert.symbol} at {alert.price_text} is unusual: {where} the {alert.threshold_text} expected at {edge}."
        )


def _first_and_rise(rate: Decimal) -> tuple[int, int]:
    """Give the first multiplier and its rise on a tick outside, in 10⁻⁶, rounded half to even."""
    with localcontext(prec=40, rounding=ROUND_HALF_EVEN):
        return int((-rate.ln() * MICRO).to_integral_value()), int((_FALL * (1 - rate) / rate).to_integral_value())
