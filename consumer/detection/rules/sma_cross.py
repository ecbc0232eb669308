"""Buy and sell: the fast moving average crosses the slow one."""

from typing import Annotated

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rounding import divide
from consumer.detection.rule import DOWN, NONE, UP, Column, Number, Numbers, Rule, sign

SlowTicks = Annotated[
    int, Number("Ticks in the slow moving average and in the Bollinger bands.", at_least=2, at_most=1000)
]
_TREND = {1: "up", 0: None, -1: "down"}


class _Numbers(Numbers, frozen=True, kw_only=True):
    sma_fast: Annotated[int, Number("Ticks in the fast moving average.", at_least=2, at_most=1000)] = 5
    sma_slow: SlowTicks = 20

    def __post_init__(self) -> None:
        if self.sma_fast >= self.sma_slow:
            raise ValueError(f"SMA_FAST ({self.sma_fast}) must be below SMA_SLOW ({self.sma_slow})")


class SmaCross(Rule):
    """The side is that of the fast average minus the slow one; where they are equal, the last side stays."""

    name = "sma_cross"
    severity = "info"
    fires_first = False
    numbers = _Numbers

    __slots__ = ("_fast", "_fast_total", "_slow")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._fast = numbers.sma_fast
        self._slow = history.prices(numbers.sma_slow)
        self.resume()

    @classmethod
    def columns(cls, numbers: _Numbers) -> tuple[Column, ...]:
        """Both averages, and the trend: which of them is above."""
        return (
            Column(f"sma_{numbers.sma_fast}", "N", 9, "sma_fast"),
            Column(f"sma_{numbers.sma_slow}", "N", 9, "sma_slow"),
            Column("trend", "S"),
        )

    def update(self, tick: Tick) -> int:
        """Compare the averages, once both windows are full."""
        fast, slow = self._fast, self._slow
        prices = slow.values
        self._fast_total += tick.price
        if len(prices) > fast:
            self._fast_total -= prices[-fast - 1]  # the fast window is the newest part of the slow one
        elif len(prices) < fast:
            self.values = (None, None, None)
            return NONE
        fast_average = divide(self._fast_total, fast)
        if not slow.full:
            self.values = (fast_average, None, None)
            return NONE
        slow_average = divide(slow.total, slow.size)
        if fast_average == slow_average:  # once rounded
            side = sign(self._fast_total * slow.size - slow.total * fast) or self.side
        else:
            side = UP if fast_average > slow_average else DOWN
        self.values = (fast_average, slow_average, _TREND[side])
        return side

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the fast average and the slow one."""
        fast, slow, _ = self.values
        return fast, slow

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say which average is above now."""
        where, what = ("above", "buy") if alert.is_up else ("below", "sell")
        return (
            f"{alert.symbol} at {alert.price_text}: the fast average {alert.value_text} crossed {where} "
            f"the slow one {alert.threshold_text} ({what})."
        )

    def resume(self) -> None:
        """Add up the fast window."""
        self._fast_total = sum(self._slow.values[-self._fast :])
