"""The price is outside its Bollinger band (J. Bollinger, 1983)."""

from decimal import Decimal
from typing import Annotated

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rounding import add_root
from consumer.detection.rule import NONE, UP, Column, Number, Numbers, Ratio, Rule, sign
from consumer.detection.rules.sma_cross import SlowTicks


class _Numbers(Numbers, frozen=True, kw_only=True):
    sma_slow: SlowTicks = 20
    bollinger_width: Annotated[Decimal, Number("Half width of the band in standard deviations.", above=0)] = Decimal(2)


class Bollinger(Rule):
    """The side is that of a price strictly beyond SMA ± width·σ, of the n newest prices p, this one among them.

    The band is (Σp ± width·sqrt(n·Σp² - (Σp)²)) / n.
    """

    name = "bollinger"
    severity = "info"
    numbers = _Numbers

    __slots__ = ("_prices", "_squared", "_width")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._prices = history.prices(numbers.sma_slow)
        self._width = Ratio.of(numbers.bollinger_width)
        self._squared = self._width.squared()

    @classmethod
    def columns(cls, numbers: _Numbers) -> tuple[Column, ...]:
        """Both edges of the band."""
        return Column("bollinger_upper", "N", 9), Column("bollinger_lower", "N", 9)

    def update(self, tick: Tick) -> int:
        """Compare the price with the band, once its window is full."""
        prices = self._prices
        if not prices.full:
            self.values = (None, None)
            return NONE
        size, total = prices.size, prices.total
        variance = size * prices.squares - total * total
        width = self._width.denominator
        upper, lower = self.values = add_root(total * width, self._squared.numerator * variance, size * width)
        if lower < tick.price < upper:  # also if the edges had not been rounded
            return NONE
        deviation = size * tick.price - total
        is_outside = deviation * deviation * self._squared.denominator > self._squared.numerator * variance
        return sign(deviation) if is_outside else NONE

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the price and the edge that it is beyond."""
        upper, lower = self.values
        return tick.price, upper if side == UP else lower

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say which edge the price is beyond."""
        where = "above" if alert.is_up else "below"
        return f"{alert.symbol} at {alert.price_text} is {where} its Bollinger band ({alert.threshold_text})."
