"""A return is far from those before it."""

from decimal import Decimal
from typing import Annotated

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rounding import MICRO, divide_by_root
from consumer.detection.rule import MICRO_UNITS, NONE, Column, Number, Numbers, Ratio, Rule, sign


class _Numbers(Numbers, frozen=True, kw_only=True):
    z_score_window: Annotated[
        int, Number("Returns before this one that a z-score looks at.", at_least=2, at_most=1000)
    ] = 20
    z_score_threshold: Annotated[Decimal, Number("z_score fires at this many deviations.", above=0)] = Decimal(4)


class ZScore(Rule):
    """The side is that of a return so many standard deviations or more from the mean of those before it.

    With n returns r before it, z = (n·r - Σr) / sqrt(n·Σr² - (Σr)²).
    """

    name = "z_score"
    severity = "warning"
    numbers = _Numbers

    __slots__ = ("_history", "_returns", "_squared", "_surely_below", "_threshold")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._history = history
        self._returns = history.returns(numbers.z_score_window)
        self._threshold = Ratio.of(numbers.z_score_threshold)
        self._squared = self._threshold.squared()
        self._surely_below = self._threshold.numerator * MICRO // self._threshold.denominator

    @classmethod
    def columns(cls, numbers: _Numbers) -> tuple[Column, ...]:
        """The z-score."""
        return (Column("z_score", "N", 6),)

    def update(self, tick: Tick) -> int:
        """Compare the return with those of a full window; without deviation there is no score."""
        returns = self._returns
        size, total = returns.size, returns.total
        variance = size * returns.squares - total * total if returns.full else 0
        if not variance:
            self.values = (None,)
            return NONE
        deviation = size * self._history.change - total
        score = divide_by_root(deviation * MICRO, variance)
        self.values = (score,)
        if -self._surely_below < score < self._surely_below:
            return NONE
        numerator, denominator = self._squared
        return sign(deviation) if deviation * deviation * denominator >= numerator * variance else NONE

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the score and the threshold, both with their sign."""
        return self.values[0] * MICRO_UNITS, side * self._threshold.nano()

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say how far it is from the mean; nothing of its direction: a price that stands still can be far, too."""
        return (
            f"{alert.symbol} at {alert.price_text}: its last return is {alert.value_text} standard deviations "
            "from the mean."
        )
