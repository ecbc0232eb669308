"""The price moves far within seconds."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rounding import change_percent
from consumer.detection.rule import DOWN, MICRO_UNITS, NONE, UP, Number, Numbers, Ratio, Rule

_PARTS = 100
"""The window is remembered in so many parts: a symbol has at most one price more for each extreme, at any rate."""
_SECOND = 10**6
_EPOCH = date(1970, 1, 1).toordinal()


class _Numbers(Numbers, frozen=True, kw_only=True):
    rapid_move_percent: Annotated[
        Decimal,
        Number("rapid_move fires at this distance from the window's lowest or highest price, in per cent.", above=0),
    ] = Decimal(2)
    rapid_move_seconds: Annotated[
        int, Number("Seconds of event time that rapid_move looks back.", at_least=1, at_most=86_400)
    ] = 300


class RapidMove(Rule):
    """Up when the price is so many per cent above the lowest of the last seconds, down when so far below the highest.

    Of two moves the larger one counts; of equal ones, that up. A price of exactly so many seconds ago is in the window.
    Time since 1970 is cut into hundredths of the window: of each only the lowest and the highest price are remembered,
    at the time when each was last seen. So memory is bounded whatever the rate is, and of prices that are in the window
    none is overlooked but those that share their hundredth with a more extreme one that has just left it.
    """

    name = "rapid_move"
    severity = "warning"
    numbers = _Numbers
    remembers = ("_low_times", "_lows", "_high_times", "_highs")

    __slots__ = ("_high_times", "_highs", "_low_times", "_lows", "_part", "_percent", "_window")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._percent = Ratio.of(numbers.rapid_move_percent)
        self._window = numbers.rapid_move_seconds * _SECOND
        self._part = self._window // _PARTS
        self._low_times: list[int] = []  # microseconds, oldest first
        self._lows: list[int] = []  # the price then: each below all later ones
        self._high_times: list[int] = []
        self._highs: list[int] = []

    def update(self, tick: Tick) -> int:
        """Compare the price with the window's extremes, this tick among them."""
        price, now = tick.price, _micros(tick.timestamp)
        self._take(self._lows, self._low_times, price, now, UP)
        self._take(self._highs, self._high_times, price, now, DOWN)
        limit, whole = self._percent.numerator, 100 * self._percent.denominator
        low, high = self._lows[0], self._highs[0]
        is_up = (price - low) * whole >= limit * low
        is_down = (high - price) * whole >= limit * high
        if is_up and is_down:
            return UP if (price - low) * high >= (high - price) * low else DOWN
        return UP if is_up else DOWN if is_down else NONE

    def _take(self, prices: list[int], times: list[int], price: int, now: int, side: int) -> None:
        """Keep of each part the lowest price (``side`` is up) or the highest that no later one outdoes."""
        oldest = now - self._window
        while times and times[0] < oldest:
            del times[0], prices[0]
        while prices and (price - prices[-1]) * side <= 0:
            del times[-1], prices[-1]
        if not times or times[-1] // self._part != now // self._part:
            times.append(now)
            prices.append(price)

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the move and its limit, in per cent, both with their sign."""
        extreme = self._lows[0] if side == UP else self._highs[0]
        return change_percent(tick.price, extreme) * MICRO_UNITS, side * self._percent.nano()

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say how far the price is from where it was a moment ago."""
        where = "above its lowest" if alert.is_up else "below its highest"
        return f"{alert.symbol} at {alert.price_text} is {alert.value_text.lstrip('-')} % {where} of a moment ago."


def _micros(timestamp: str) -> int:
    """Count the microseconds since 1970."""
    moment = datetime.fromisoformat(timestamp)
    minutes = ((moment.toordinal() - _EPOCH) * 24 + moment.hour) * 60 + moment.minute
    return (minutes * 60 + moment.second) * _SECOND + moment.microsecond
