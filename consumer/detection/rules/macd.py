"""The MACD line crosses its signal (G. Appel, The Moving Average Convergence-Divergence Trading Method, 1979)."""

from typing import Annotated

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rounding import MICRO, divide
from consumer.detection.rule import NONE, Column, Number, Numbers, Rule, sign

_SCALE = MICRO
"""Averages are in 10⁻⁶ of a price's unit, 10⁻¹⁵."""


class _Numbers(Numbers, frozen=True, kw_only=True):
    macd_fast: Annotated[int, Number("Ticks of macd's fast average.", at_least=2, at_most=1000)] = 12
    macd_slow: Annotated[int, Number("Ticks of macd's slow average.", at_least=2, at_most=1000)] = 26
    macd_signal: Annotated[int, Number("Ticks of the average of macd's line.", at_least=1, at_most=1000)] = 9

    def __post_init__(self) -> None:
        if self.macd_fast >= self.macd_slow:
            raise ValueError(f"MACD_FAST ({self.macd_fast}) must be below MACD_SLOW ({self.macd_slow})")


class Macd(Rule):
    """The side is that of the line minus its signal; where they are equal, the last side stays.

    An exponential average of n is A ← ((n - 1)·A + 2·p) / (n + 1), and begins as a mean of n. The line is the fast
    average of prices minus the slow one, the signal an average of lines. As in TA-Lib, both averages of prices begin
    on the tick that fills the slow one: the fast one with the newest prices then. They are kept in 10⁻¹⁵, rounded
    half to even at each step.
    """

    name = "macd"
    severity = "info"
    fires_first = False
    numbers = _Numbers
    remembers = ("_count", "_fast", "_slow", "_signal")

    __slots__ = ("_count", "_fast", "_fast_size", "_signal", "_signal_size", "_slow", "_slow_size")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._fast_size, self._slow_size = numbers.macd_fast, numbers.macd_slow
        self._signal_size = numbers.macd_signal
        self._count = 0  # of ticks, until there is a signal
        self._fast = self._slow = self._signal = 0  # sums, until there are enough for a mean

    @classmethod
    def columns(cls, numbers: _Numbers) -> tuple[Column, ...]:
        """The line and its signal."""
        return Column("macd", "N", 9), Column("macd_signal", "N", 9)

    def update(self, tick: Tick) -> int:
        """Move the averages, and compare the line with its signal once there is one."""
        price = tick.price * _SCALE
        slow_size, signal_size = self._slow_size, self._signal_size
        if self._count < slow_size + signal_size - 1:
            return self._begin(price)
        self._fast = _moved(self._fast, price, self._fast_size)
        self._slow = _moved(self._slow, price, slow_size)
        line = self._fast - self._slow
        self._signal = _moved(self._signal, line, signal_size)
        return self._compare(line)

    def _begin(self, price: int) -> int:
        self._count += 1
        since_slow = self._count - self._slow_size
        if since_slow <= 0:
            self._sum_up(price, is_last=since_slow == 0)
        else:
            self._fast = _moved(self._fast, price, self._fast_size)
            self._slow = _moved(self._slow, price, self._slow_size)
        if since_slow < 0:
            self.values = (None, None)
            return NONE
        line = self._fast - self._slow
        self._signal += line
        if since_slow < self._signal_size - 1:
            self.values = (divide(line, _SCALE), None)
            return NONE
        self._signal = divide(self._signal, self._signal_size)
        return self._compare(line)

    def _sum_up(self, price: int, *, is_last: bool) -> None:
        self._slow += price
        if self._count > self._slow_size - self._fast_size:
            self._fast += price
        if is_last:
            self._fast = divide(self._fast, self._fast_size)
            self._slow = divide(self._slow, self._slow_size)

    def _compare(self, line: int) -> int:
        self.values = (divide(line, _SCALE), divide(self._signal, _SCALE))
        return sign(line - self._signal) or self.side

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the line and its signal."""
        line, signal = self.values
        return line, signal

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say which is above now."""
        where = "above" if alert.is_up else "below"
        return (
            f"{alert.symbol} at {alert.price_text}: MACD {alert.value_text} crossed {where} "
            f"its signal {alert.threshold_text}."
        )


def _moved(average: int, value: int, size: int) -> int:
    return divide(average * (size - 1) + 2 * value, size + 1)
