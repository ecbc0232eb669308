"""An alert: what a rule's change of side means to people."""

from decimal import Decimal
from typing import Literal

import msgspec

from common.tick import decimal_text, significant_text

Kind = Literal["signal", "quality"]
Severity = Literal["info", "warning", "critical"]


class Alert(msgspec.Struct, gc=False):
    """A rule's side changed on this tick. ``price``, ``value`` and ``threshold`` are in 10⁻⁹."""

    symbol: str
    timestamp: str
    rule: str
    direction: str
    severity: Severity
    kind: Kind
    price: int
    value: int
    threshold: int
    suppressed: bool
    """The same alert was sent less than a cooldown ago: this one is not."""
    sentence: str = ""
    """What happened; a suppressed one has none."""

    @property
    def alert_id(self) -> str:
        """Unique below the symbol, and the same whenever the same ticks are seen."""
        return f"{self.timestamp}#{self.rule}"

    @property
    def is_up(self) -> bool:
        """The direction is up, not down."""
        return self.direction == "up"

    @property
    def price_text(self) -> str:
        """The price as a decimal."""
        return decimal_text(self.price)

    @property
    def value_text(self) -> str:
        """The value's significant digits."""
        return significant_text(Decimal(self.value).scaleb(-9))

    @property
    def threshold_text(self) -> str:
        """The threshold's significant digits."""
        return significant_text(Decimal(self.threshold).scaleb(-9))
