"""What a rule is: a class in a module of its own, made once for each symbol, that maps each tick to a side.

A side is up (+1), down (-1) or none (0). An alert fires on the tick on which a side becomes up or down and was
something else before. docs/rules.md tells how to write one.
"""

from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

import msgspec

from common.tick import PRICE_UNITS, Tick
from consumer.detection.alert import Alert, Kind, Severity
from consumer.detection.history import History
from consumer.detection.rounding import MICRO, divide

UP, NONE, DOWN = 1, 0, -1

MICRO_UNITS = PRICE_UNITS // MICRO
"""Units of evidence (10⁻⁹) in 10⁻⁶."""


class Column(NamedTuple):
    """``kind`` is DynamoDB's (S, N, SS, BOOL); ``places`` are the decimals of a number.

    ``name`` is the attribute's. ``archived_name`` is the archive's, where it is another: Athena's table has the same
    columns whatever the windows' sizes are.
    """

    name: str
    kind: str
    places: int = 0
    archived_name: str | None = None


class Number(NamedTuple):
    """What a number of a rule is for, in one sentence, and its bounds; it annotates a field of `Numbers`."""

    about: str
    at_least: int | None = None
    above: int | None = None
    at_most: int | None = None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a rule, with their defaults; each is a setting, in the environment and as a flag.

    Two rules may have a number in common: it is then the same for both. A ``__post_init__`` refuses numbers that
    contradict each other, with a ValueError that names them as settings are named (SMA_FAST).
    """

    def of(self, symbol: str) -> "Numbers":
        """Give the numbers that count for a symbol: these, but for a rule that has numbers by symbol."""
        return self


class Rule:
    """The base of every rule. There is an instance for each symbol; its attributes are the symbol's memory.

    A rule that raises is off for that tick: the tick is processed, and the failure is counted and logged.
    """

    name: ClassVar[str]
    """What it is called in RULES, in alerts and in rows: lower case, with underscores."""
    severity: ClassVar[Severity]
    kind: ClassVar[Kind] = "signal"
    """``quality`` if it is about the data, not the market."""
    fires_first: ClassVar[bool] = True
    """False if the first side is where things stand, not a change."""
    numbers: ClassVar[type[Numbers]] = Numbers
    remembers: ClassVar[tuple[str, ...]] = ()
    """The attributes that go into a snapshot, beside the side: integers of any size, None, or lists of these."""

    __slots__ = ("side", "values")

    side: int
    """The side on the tick before; set by the detector, but a rule may set it to NONE to begin anew."""
    values: tuple[Any, ...]
    """This tick's values of `columns`: integers in units of 10^-places, text, or None; set by `update`."""

    def __init__(self, numbers: Any, history: History) -> None:  # noqa: ANN401  (of the class that `numbers` names)
        """Begin with a symbol; ``history`` gives the windows that the rule looks at."""

    @classmethod
    def columns(cls, numbers: Any) -> tuple[Column, ...]:  # noqa: ANN401  (as above)
        """Name what the rule adds to each tick's row."""
        return ()

    def update(self, tick: Tick) -> int:
        """Take the next accepted tick; returns its side."""
        raise NotImplementedError

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give value and threshold of an alert, in 10⁻⁹, after `update` has returned ``side``."""
        return tick.price, tick.price

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say in one sentence what happened; what is beyond 140 characters, an SMS's length, is cut."""
        raise NotImplementedError

    def resume(self) -> None:
        """Work out what follows from a memory and a history that came back from a snapshot."""


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

    def nano(self) -> int:
        """Give it in 10⁻⁹ with six decimals, as evidence has what is no price."""
        return divide(self.numerator * MICRO, self.denominator) * MICRO_UNITS


def sign(number: int) -> int:
    """+1, 0 or -1."""
    return (number > 0) - (number < 0)
