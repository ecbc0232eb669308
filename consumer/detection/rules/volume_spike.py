"""Much more is traded than on the ticks before."""

from decimal import Decimal
from typing import Annotated

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rounding import MICRO, divide
from consumer.detection.rule import MICRO_UNITS, NONE, UP, Number, Numbers, Ratio, Rule


class _Numbers(Numbers, frozen=True, kw_only=True):
    volume_window: Annotated[
        int, Number("Volume deltas before this one that volume_spike averages.", at_least=2, at_most=1000)
    ] = 20
    volume_spike_ratio: Annotated[
        Decimal, Number("volume_spike fires at this multiple of the mean delta.", above=0)
    ] = Decimal(5)


class VolumeSpike(Rule):
    """Up when the volume traded since the last tick is so many times the mean of those before it, or more."""

    name = "volume_spike"
    severity = "warning"
    numbers = _Numbers

    __slots__ = ("_deltas", "_history", "_ratio")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._history = history
        self._deltas = history.deltas(numbers.volume_window)
        self._ratio = Ratio.of(numbers.volume_spike_ratio)

    def update(self, tick: Tick) -> int:
        """Compare the delta with those of a full window in which anything was traded."""
        deltas, delta = self._deltas, self._history.delta
        if delta is None or not deltas.full or not deltas.total:
            return NONE
        numerator, denominator = self._ratio
        return UP if delta * deltas.size * denominator >= numerator * deltas.total else NONE

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the multiple and the one that it fires at."""
        deltas = self._deltas
        multiple = divide((self._history.delta or 0) * deltas.size * MICRO, deltas.total)
        return multiple * MICRO_UNITS, self._ratio.nano()

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say how much more it is."""
        return f"{alert.symbol} at {alert.price_text}: volume is {alert.value_text} times the mean."
