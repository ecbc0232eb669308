"""The six rules: each maps a tick to a side, +1 (up), -1 (down) or 0 (none).

Thresholds are ratios of integers, so that "exactly on the threshold" is decided exactly.
"""

from decimal import Decimal
from typing import NamedTuple

import msgspec

UP, NONE, DOWN = 1, 0, -1


class Rule(NamedTuple):
    """What a rule is called and how an alert of it is treated."""

    name: str
    severity: str
    fires_from_none: bool
    """False for rules whose first side is a starting point, not a change."""
    numbers: tuple[str, ...]
    """The fields of `Rules` that its side depends on; a level is a symbol's own, see `Rules.level`."""


RULES = (
    Rule("sma_cross", "info", fires_from_none=False, numbers=("sma_fast", "sma_slow")),
    Rule(
        "price_move",
        "critical",
        fires_from_none=True,
        numbers=("price_move_percent", "price_move_reset_percent"),
    ),
    Rule("z_score", "warning", fires_from_none=True, numbers=("z_score_window", "z_score_threshold")),
    Rule("bollinger", "info", fires_from_none=True, numbers=("sma_slow", "bollinger_width")),
    Rule("volume_spike", "warning", fires_from_none=True, numbers=("volume_window", "volume_spike_ratio")),
    Rule("price_level", "critical", fires_from_none=False, numbers=()),
)
"""In the order of a state's ``sides``."""

SMA_CROSS, PRICE_MOVE, Z_SCORE, BOLLINGER, VOLUME_SPIKE, PRICE_LEVEL = range(len(RULES))


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the rules; sizes of windows are in ticks, percentages and ratios are plain decimals."""

    sma_fast: int = 5
    sma_slow: int = 20
    price_move_percent: Decimal = Decimal(5)
    price_move_reset_percent: Decimal = Decimal(4)
    z_score_window: int = 20
    z_score_threshold: Decimal = Decimal(4)
    bollinger_width: Decimal = Decimal(2)
    volume_window: int = 20
    volume_spike_ratio: Decimal = Decimal(5)
    price_levels: dict[str, Decimal] = {}
    alert_threshold: Decimal | None = None
    alert_cooldown_seconds: int = 300

    def level(self, symbol: str) -> Decimal | None:
        """The level that price_level compares a symbol with."""
        return self.price_levels.get(symbol, self.alert_threshold)


class Ratio(NamedTuple):
    """A threshold as two integers."""

    numerator: int
    denominator: int

    @classmethod
    def of(cls, number: Decimal) -> "Ratio":
        """Write a decimal as a ratio."""
        return cls(*number.as_integer_ratio())

    def squared(self) -> "Ratio":
        """Square both."""
        return Ratio(self.numerator**2, self.denominator**2)


def sign(number: int) -> int:
    """+1, 0 or -1."""
    return (number > 0) - (number < 0)


def sma_cross(difference: int, last: int) -> int:
    """Side of fast minus slow average; on equality the last side stays."""
    return sign(difference) or last


def price_move(price: int, close: int, last: int, trigger: Ratio, reset: Ratio) -> int:
    """Side of a move away from the previous close, with hysteresis between ``reset`` and ``trigger`` per cent."""
    move = price - close
    size = 100 * abs(move)
    if size * trigger.denominator >= trigger.numerator * close:
        return sign(move)
    if size * reset.denominator < reset.numerator * close:
        return NONE
    return last if sign(move) == last else NONE


def z_score(deviation: int, variance: int, threshold_squared: Ratio) -> int:
    """Side of a return that lies ``threshold`` standard deviations or more from the mean.

    ``deviation`` is n·r - Σr and ``variance`` n·Σr² - (Σr)², so that z = deviation / sqrt(variance).
    """
    if variance and deviation * deviation * threshold_squared.denominator >= threshold_squared.numerator * variance:
        return sign(deviation)
    return NONE


def bollinger(deviation: int, variance: int, width_squared: Ratio) -> int:
    """Side of a price strictly beyond SMA ± width·σ (Bollinger, 1983); arguments as in `z_score`, of prices."""
    if deviation * deviation * width_squared.denominator > width_squared.numerator * variance:
        return sign(deviation)
    return NONE


def volume_spike(delta: int, total: int, size: int, ratio: Ratio) -> int:
    """Up when the traded volume is ``ratio`` times the mean of the ``size`` deltas before it, or more."""
    if total and delta * size * ratio.denominator >= ratio.numerator * total:
        return UP
    return NONE


def price_level(price: int, level: int, last: int) -> int:
    """Side of the price against a fixed level; on equality the last side stays."""
    return sign(price - level) or last
