"""The price is far from the previous session's close."""

from decimal import Decimal
from typing import Annotated

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rounding import change_percent
from consumer.detection.rule import MICRO_UNITS, NONE, Number, Numbers, Ratio, Rule, sign


class _Numbers(Numbers, frozen=True, kw_only=True):
    price_move_percent: Annotated[
        Decimal, Number("price_move fires at this distance from the previous close, in per cent.", above=0)
    ] = Decimal(5)
    price_move_reset_percent: Annotated[
        Decimal, Number("price_move is armed again below this distance, in per cent.", above=0)
    ] = Decimal(4)

    def __post_init__(self) -> None:
        if self.price_move_reset_percent > self.price_move_percent:
            raise ValueError("PRICE_MOVE_RESET_PERCENT must not be above PRICE_MOVE_PERCENT")


class PriceMove(Rule):
    """The side is that of a move of so many per cent or more; it holds until the move is below the reset."""

    name = "price_move"
    severity = "critical"
    numbers = _Numbers

    __slots__ = ("_close", "_fires_at", "_history", "_holds_from", "_reset", "_trigger")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._history = history
        self._trigger = Ratio.of(numbers.price_move_percent)
        self._reset = Ratio.of(numbers.price_move_reset_percent)
        self._close: int | None = None

    def update(self, tick: Tick) -> int:
        """Compare the move with both limits; it starts from nowhere with another previous close."""
        close, last = tick.previous_close, self._history.last
        if self.side and (last is None or close != last.previous_close):
            self.side = NONE
        if close is None:
            return NONE
        if close != self._close:
            self._close = close
            self._holds_from, self._fires_at = _least_move(self._reset, close), _least_move(self._trigger, close)
        move = tick.price - close
        if -self._holds_from < move < self._holds_from:
            return NONE
        if abs(move) >= self._fires_at:
            return sign(move)
        return self.side if sign(move) == self.side else NONE

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the move and its limit, in per cent, both with their sign."""
        percent = change_percent(tick.price, tick.previous_close or 1)  # without a close it does not fire
        return percent * MICRO_UNITS, side * self._trigger.nano()

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say how far the price has moved."""
        where = "above" if alert.is_up else "below"
        return f"{alert.symbol} at {alert.price_text} is {alert.value_text.lstrip('-')} % {where} the previous close."


def _least_move(percent: Ratio, close: int) -> int:
    """Give the smallest move that is so many per cent of the close, or more."""
    return -(-percent.numerator * close // (100 * percent.denominator))
