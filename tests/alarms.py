"""What CloudWatch makes of an alarm: metric math, M of N datapoints, and what it does about missing ones.

As AWS describes it: each minute the last N periods are looked at, and M of them have to breach. FILL puts its value in
place of every datapoint that is not there, of the newest periods, too, whose metrics may still be on their way. Where
only one metric is watched, a few more periods are looked at: the newest N that have a datapoint decide, and only if
there are fewer, TreatMissingData says what the rest count as.
"""

import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

World = Callable[[str, int], float | None]
"""The value of a metric, by its name, in a minute; None is none."""

_MORE_PERIODS = 3
_MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
_STATISTICS: Mapping[str, Callable[[list[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}


class Alarm:
    """An alarm of a template, replayed.

    Parameters
    ----------
    definition
        Its properties.
    world
        What the metrics are.
    late
        Minutes after the end of a minute at which its metrics arrive.
    begins
        The minute of the week, from Monday 0:00 UTC, at which the world begins.

    """

    def __init__(self, definition: Mapping[str, Any], world: World, *, late: int = 0, begins: int = 0) -> None:
        self._alarm, self._world, self._late = definition, world, late
        self._begins = _MONDAY + timedelta(minutes=begins)
        self._queries = {query["Id"]: query for query in definition.get("Metrics", ())}
        periods = [query["MetricStat"]["Period"] for query in self._queries.values() if "MetricStat" in query]
        self._period = int(definition.get("Period") or max(periods)) // 60
        self._most = int(definition["EvaluationPeriods"])
        self._least = int(definition.get("DatapointsToAlarm", self._most))

    def rings(self, minute: int) -> bool:
        """Tell whether it is in alarm at the beginning of this minute."""
        count = self._most + (0 if self._queries else _MORE_PERIODS)
        ends = [minute - number * self._period for number in range(count)]
        datapoints = [self._datapoint(end, minute) for end in ends]
        told = [value for value in datapoints if value is not None][: self._most]
        breaching = sum(self._breaches(value) for value in told)
        if self._alarm["TreatMissingData"] == "breaching":
            breaching += self._most - len(told)
        return breaching >= self._least

    def rings_within(self, minutes: int) -> bool:
        """Tell whether it is in alarm at some time from the first minute on."""
        return any(self.rings(minute) for minute in range(minutes + 1))

    def _breaches(self, value: float) -> bool:
        return _COMPARISONS[self._alarm["ComparisonOperator"]](value, float(self._alarm["Threshold"]))

    def _datapoint(self, end: int, now: int) -> float | None:
        if not self._queries:
            return self._statistic(self._alarm["MetricName"], self._alarm["Statistic"], end, now)
        (wanted,) = (name for name, query in self._queries.items() if query["ReturnData"])
        return self._value(wanted, end, now)

    def _statistic(self, metric: str, statistic: str, end: int, now: int) -> float | None:
        """Summarize a period by the minutes of it that have arrived."""
        minutes = range(end - self._period, min(end, now - self._late))
        values = [value for minute in minutes if (value := self._world(metric, minute)) is not None]
        return _STATISTICS[statistic](values) if values else None

    def _value(self, name: str, end: int, now: int) -> float | None:
        query = self._queries[name]
        if "MetricStat" in query:
            stat = query["MetricStat"]
            return self._statistic(stat["Metric"]["MetricName"], stat["Stat"], end, now)
        at = self._begins + timedelta(minutes=end - self._period)
        used = re.findall(r"\b[a-z]\w*", query["Expression"])
        names = {other: self._value(other, end, now) for other in used if other in self._queries}
        functions: dict[str, Callable[..., float | None]] = {
            "IF": lambda condition, true, false: true if condition else false,
            "FILL": lambda value, filling: filling if value is None else value,
            "DAY": lambda _: at.isoweekday(),
            "HOUR": lambda _: at.hour,
        }
        expression = query["Expression"].replace(" AND ", " and ").replace(" OR ", " or ")
        try:
            result: float = eval(expression, {"__builtins__": {}}, {**functions, **names})  # noqa: S307  (our own template; CloudWatch's syntax is Python's here)
        except TypeError:
            return None
        return result
