"""What Application Auto Scaling makes of a target tracking policy: its arithmetic, minute by minute.

As AWS describes it: an alarm in which the last 3 minutes are above the target scales out, one in which the last 15 are
below 90 % of it scales in. Then capacity becomes capacity x metric / target, rounded up, within the limits. While
the cooldown of a scale-out lasts, more can be added than it did, but it is not counted twice; while one lasts, nothing
is taken away.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_HIGH_MINUTES, _LOW_MINUTES, _LOW_SHARE = 3, 15, 0.9

Metrics = Mapping[str, float | None]
"""Values of one minute by metric name; None is a minute without any."""


def evaluate(queries: Sequence[dict[str, Any]], metrics: Metrics) -> float | None:
    """Do CloudWatch's metric math for one minute; None if a value is missing that the expression cannot do without."""
    values = {
        query["Id"]: metrics[query["MetricStat"]["Metric"]["MetricName"]] for query in queries if "MetricStat" in query
    }
    (expression,) = (query["Expression"] for query in queries if query["ReturnData"])
    functions: dict[str, Callable[..., float | None]] = {
        "IF": lambda condition, true, false: true if condition else false,
        "FILL": lambda value, filling: filling if value is None else value,
    }
    try:
        result: float = eval(expression, {"__builtins__": {}}, {**functions, **values})  # noqa: S307  (our own template; CloudWatch's syntax is Python's here)
    except TypeError:
        return None
    return result


@dataclass
class TargetTracking:
    """A policy at work.

    Parameters
    ----------
    configuration
        The policy's ``TargetTrackingScalingPolicyConfiguration``.
    least, most
        The limits of the scalable target.
    capacity
        What is wanted at the beginning.

    """

    configuration: dict[str, Any]
    least: int
    most: int
    capacity: int
    _values: list[float | None] = field(default_factory=list)
    _base: int = 0
    _out_at: float = -math.inf
    _in_at: float = -math.inf

    def see(self, minute: int, metrics: Metrics) -> int:
        """Take the newest minute of metrics that CloudWatch shows; returns the capacity wanted from now on."""
        target = float(self.configuration["TargetValue"])
        self._values.append(evaluate(self.configuration["CustomizedMetricSpecification"]["Metrics"], metrics))
        newest = self._values[-1]
        if newest is None:
            return self.capacity
        if self._all(_HIGH_MINUTES, lambda value: value > target):
            self._scale_out(minute, newest / target)
        elif self._all(_LOW_MINUTES, lambda value: value < _LOW_SHARE * target):
            self._scale_in(minute, newest / target)
        return self.capacity

    def _all(self, minutes: int, holds: Callable[[float], bool]) -> bool:
        last = self._values[-minutes:]
        return len(last) == minutes and all(value is not None and holds(value) for value in last)

    def _scale_out(self, minute: int, factor: float) -> None:
        if self._is_cooling(self._out_at, "ScaleOutCooldown", minute):
            wanted = math.ceil(self._base * factor)
        else:
            wanted, self._base = math.ceil(self.capacity * factor), self.capacity
        if min(wanted, self.most) > self.capacity:
            self.capacity = min(wanted, self.most)
            self._out_at = minute

    def _scale_in(self, minute: int, factor: float) -> None:
        cooling = self._is_cooling(self._in_at, "ScaleInCooldown", minute)
        if cooling or self._is_cooling(self._out_at, "ScaleOutCooldown", minute):
            return
        wanted = max(self.least, math.ceil(self.capacity * factor))
        if wanted < self.capacity:
            self.capacity = wanted
            self._in_at = minute

    def _is_cooling(self, since: float, setting: str, minute: int) -> bool:
        return (minute - since) * 60 < int(self.configuration[setting])
