"""The numbers of a tick contradict each other, or what the last session ended with."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History, new_close
from consumer.detection.rule import DOWN, NONE, UP, Number, Numbers, Ratio, Rule
from consumer.detection.rules.split import adjusted_for

_NEXT_SESSION = timedelta(days=4)
"""A session begins at most so long after the last tick of the one before: a long weekend, and a time zone."""


class _Numbers(Numbers, frozen=True, kw_only=True):
    inconsistent_close_percent: Annotated[
        Decimal,
        Number(
            "inconsistent fires where a new previous close is farther than this from the last session's price, "
            "in per cent.",
            above=0,
            at_most=100,
        ),
    ] = Decimal(1)


class Inconsistent(Rule):
    """Up where price or open is above the high, or a new previous close above the last session's price; or down.

    The session's range must hold exactly. The previous close is an auction's price, and may differ from the last
    tick's by so many per cent; one that was adjusted for a split is right, too. The last session's price is that of
    its last tick, of those with a range or a volume if there are any: ticks of extended hours have none. After more
    than four days a session may be missing, and nothing is compared.
    """

    name = "inconsistent"
    severity = "warning"
    kind = "quality"
    numbers = _Numbers
    remembers = ("_price", "_is_regular")

    __slots__ = ("_evidence", "_history", "_is_regular", "_percent", "_price")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._history = history
        self._percent = Ratio.of(numbers.inconsistent_close_percent)
        self._price: int | None = None  # the session's last
        self._is_regular = 0  # whether that tick had a range or a volume
        self._evidence = (0, 0)

    def update(self, tick: Tick) -> int:
        """Compare the price and the open with the range, and a new previous close with the last session."""
        last = self._history.last
        side = self._range_side(tick)
        close = new_close(tick, last)
        if close is not None and last is not None:
            side = side or self._close_side(close, tick, last)
            self._is_regular = 0
        is_regular = tick.volume is not None or tick.high is not None
        if is_regular or not self._is_regular:
            self._price, self._is_regular = tick.price, int(is_regular)
        return side

    def _range_side(self, tick: Tick) -> int:
        price, opened, high, low = tick.price, tick.open, tick.high, tick.low
        if high is not None and (price > high or (opened is not None and opened > high)):
            self._evidence = (price if price > high else opened or 0, high)
            return UP
        if low is not None and (price < low or (opened is not None and opened < low)):
            self._evidence = (price if price < low else opened or 0, low)
            return DOWN
        return NONE

    def _close_side(self, close: int, tick: Tick, last: Tick) -> int:
        price = self._price
        if price is None or _time_between(last, tick) > _NEXT_SESSION:
            return NONE
        difference = close - price
        if abs(difference) * 100 * self._percent.denominator <= self._percent.numerator * price:
            return NONE
        if adjusted_for(close, tick.price, price):
            return NONE
        self._evidence = (close, price)
        return UP if difference > 0 else DOWN

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give what is wrong, and what it must not be above or below."""
        return self._evidence

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say what contradicts what."""
        where = "above" if alert.is_up else "below"
        if alert.value == alert.price:
            limit = "high" if alert.is_up else "low"
            return f"{alert.symbol} at {alert.price_text} is {where} its session's {limit}, {alert.threshold_text}."
        return (
            f"{alert.symbol} at {alert.price_text}: its open or previous close, {alert.value_text}, "
            f"is {where} what it can be, {alert.threshold_text}."
        )


def _time_between(last: Tick, tick: Tick) -> timedelta:
    return datetime.fromisoformat(tick.timestamp) - datetime.fromisoformat(last.timestamp)
