"""A symbol was silent within a session."""

from datetime import datetime, timedelta
from typing import Annotated

from common.tick import PRICE_UNITS, Tick
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rule import NONE, UP, Number, Numbers, Rule

_SESSIONS = 5
_SILENT_SESSIONS = 2
_DAY = len("2023-07-10")
_MICROSECOND = timedelta(microseconds=1)
_MICRO_UNITS = PRICE_UNITS // 10**6


class _Numbers(Numbers, frozen=True, kw_only=True):
    gap_seconds: Annotated[
        int, Number("gap fires after a longer silence than this within a session.", at_least=1, at_most=86_400)
    ] = 900


class Gap(Rule):
    """Up on a tick whose event time is more than so many seconds after the last one's, in one session.

    One session is one day in UTC with one previous close. A symbol whose silence is nothing unusual is left alone: one
    that was silent so long on two of the five days before, as thinly traded ones are.
    """

    name = "gap"
    severity = "warning"
    kind = "quality"
    numbers = _Numbers
    remembers = ("_days", "_is_silent")

    __slots__ = ("_days", "_history", "_is_silent", "_seconds", "_silence")

    def __init__(self, numbers: _Numbers, history: History) -> None:
        self._history = history
        self._seconds = timedelta(seconds=numbers.gap_seconds)
        self._silence = timedelta()
        self._days: list[int] = []  # of the days before, newest last, whether one had such a silence: 1 or 0
        self._is_silent = 0  # whether this one has

    def update(self, tick: Tick) -> int:
        """Compare the time since the last tick with the limit."""
        last = self._history.last
        if last is None:
            return NONE
        if tick.timestamp[:_DAY] != last.timestamp[:_DAY]:
            self._days = [*self._days, self._is_silent][-_SESSIONS:]
            self._is_silent = 0
            return NONE
        if tick.previous_close != last.previous_close:
            return NONE
        self._silence = datetime.fromisoformat(tick.timestamp) - datetime.fromisoformat(last.timestamp)
        if self._silence <= self._seconds:
            return NONE
        self._is_silent = 1
        return UP if sum(self._days) < _SILENT_SESSIONS else NONE

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the silence and the limit, in seconds."""
        return self._silence // _MICROSECOND * _MICRO_UNITS, self._seconds // _MICROSECOND * _MICRO_UNITS

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say how long it was."""
        return f"{alert.symbol} at {alert.price_text}: no tick for {alert.value_text} seconds before this one."
