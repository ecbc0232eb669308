"""The price crosses a fixed level."""

from decimal import Decimal
from typing import Annotated

from msgspec.structs import force_setattr

from common.tick import NotATickError, Tick, fixed, normalise_symbol
from consumer.detection.alert import Alert
from consumer.detection.history import History
from consumer.detection.rule import NONE, Number, Numbers, Rule, sign


class _Numbers(Numbers, frozen=True, kw_only=True):
    price_levels: Annotated[dict[str, Decimal], Number('price_level\'s level by symbol, as JSON: {"AAPL": 200}.')] = {}  # noqa: RUF012  (msgspec copies it)
    alert_threshold: Annotated[Decimal | None, Number("price_level's level for all other symbols.")] = None

    def __post_init__(self) -> None:
        levels = {_symbol(name): _price("PRICE_LEVELS", level) for name, level in self.price_levels.items()}
        force_setattr(self, "price_levels", levels)
        if self.alert_threshold is not None:
            _price("ALERT_THRESHOLD", self.alert_threshold)

    def of(self, symbol: str) -> "_Numbers":
        """Give the level of a symbol."""
        return _Numbers(alert_threshold=self.price_levels.get(symbol, self.alert_threshold))


class PriceLevel(Rule):
    """The side is that of the price against the level; where it is the level, the last side stays."""

    name = "price_level"
    severity = "critical"
    fires_first = False
    numbers = _Numbers

    __slots__ = ("_level",)

    def __init__(self, numbers: _Numbers, history: History) -> None:
        level = numbers.alert_threshold
        self._level = None if level is None else fixed(level)

    def update(self, tick: Tick) -> int:
        """Compare the price with the level, if the symbol has one."""
        return NONE if self._level is None else sign(tick.price - self._level) or self.side

    def evidence(self, tick: Tick, side: int) -> tuple[int, int]:
        """Give the price and the level."""
        return tick.price, self._level or 0

    @staticmethod
    def sentence(alert: Alert) -> str:
        """Say on which side of the level the price is."""
        where = "above" if alert.is_up else "below"
        return f"{alert.symbol} at {alert.price_text} is {where} {alert.threshold_text}."


def _symbol(text: str) -> str:
    try:
        return normalise_symbol(text)
    except NotATickError as error:
        raise ValueError(f"PRICE_LEVELS: {error}") from None


def _price(setting: str, level: Decimal) -> Decimal:
    try:
        fixed(level)
    except NotATickError as error:
        raise ValueError(f"{setting}: {error} (it is {level})") from None
    return level
