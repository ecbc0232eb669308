"""The relative strength index says overbought or oversold (J. W. Wilder, New Concepts in Technical Trading, 1978)."""

from decimal import Decimal
from typing import Annotated

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rounding import MICRO, divide
from consumer.detection.rule import DOWN, MICRO_UNITS, NONE, UP, Column, Number, Numbers, Ratio, Rule

_SCALE = MICRO
"""Averages are in 10⁻⁶ of a price's unit, 10⁻¹⁵: what each step's rounding adds stays below a unit of RSI's column."""


class _Numbers(Numbers, frozen=True, kw_only=True):
    rsi_period: Annotated[int, Number("Changes of price that rsi averages.", at_least=2, at_most=1000)] = 14
    rsi_overbought: Annotated[Decimal, Number("rsi fires up at this index.", above=0, at_most=100)] = Decimal(70)
    rsi_oversold: Annotated[Decimal, Number("rsi fires down at this index.", at_least=0, at_most=100)] = Decimal(30)

    def __post_init__(self) -> None:
        if self.rsi_oversold >= self.rsi_overbought:
            raise ValueError(f"RSI_OVERSOLD ({self.rsi_oversold}) must be below RSI_OVERBOUGHT ({self.rsi_overbought})")


class Rsi(Rule):
    """Up when the index is so high (overbought) or higher, down when it is so low (oversold) or lower.

    RSI = 100·G / (G + L), with G and L the averages of rises and falls from tick to tick. The first averages are the
    means of the first n changes; then G ← ((n - 1)·G + rise) / n, and L likewise. The averages are kept in 10⁻¹⁵,
    rounded half to even at each step. Where the price has never moved there is no index.
    """

    name = "rsi"
    severity = "info"
    numbers = _Numbers
    remembers = ("_count", "_gain", "_loss")

    __slots__ = ("_count", "_gain", "_high", "_history", "_loss", "_low", "_period")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._history = history
        self._period = numbers.rsi_period
        self._high = Ratio.of(numbers.rsi_overbought)
        self._low = Ratio.of(numbers.rsi_oversold)
        self._count = 0  # of changes, until there are enough for the first averages
        self._gain = self._loss = 0  # sums until then

    @classmethod
    def columns(cls, numbers: _Numbers) -> tuple[Column, ...]:
        """The index."""
        return (Column("rsi", "N", 6),)

    def update(self, tick: Tick) -> int:
        """Average the change, and compare the index with both limits."""
        last = self._history.last
        if last is not None:
            self._average(tick.price - last.price)
        moved = self._gain + self._loss
        if self._count < self._period or not moved:
            self.values = (None,)
            return NONE
        gain = 100 * self._gain
        self.values = (divide(gain * MICRO, moved),)
        if gain * self._high.denominator >= self._high.numerator * moved:
            return UP
        return DOWN if gain * self._low.denominator <= self._low.numerator * moved else NONE

    def _average(self, change: int) -> None:
        period = self._period
        gain, loss = (change * _SCALE, 0) if change > 0 else (0, -change * _SCALE)
        if self._count == period:
            self._gain = divide(self._gain * (period - 1) + gain, period)
            self._loss = divide(self._loss * (period - 1) + loss, period)
            return
        self._count += 1
        self._gain += gain
        self._loss += loss
        if self._count == period:
            self._gain, self._loss = divide(self._gain, period), divide(self._loss, period)

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the index and the limit that it reached."""
        return self.values[0] * MICRO_UNITS, (self._high if side == UP else self._low).nano()

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say what the index is called there."""
        what = "overbought" if alert.is_up else "oversold"
        return f"{alert.symbol} at {alert.price_text} is {what}: its RSI is {alert.value_text}."
