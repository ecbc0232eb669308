"""Detection as tests look at it: values by their columns' names, sides by their rules' names."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from common.tick import Tick
from consumer.detection import Alert, Detection, Detector, Rules, SymbolState


class Seen(NamedTuple):
    """What a tick meant: the rules' values by their archived names, the rules' sides, and the alerts."""

    values: dict[str, Any]
    sides: dict[str, int]
    alerts: tuple[Alert, ...]


def seen(detector: Detector, state: SymbolState, tick: Tick) -> Seen:
    """Detect, and name what was found."""
    detection = detector.detect(state, tick)
    assert detection.failures == ()
    sides = {rule.name: rule.side for rule in state.rules if hasattr(rule, "name")}
    return Seen(values_of(detector, detection), sides, detection.alerts)


def values_of(detector: Detector, detection: Detection) -> dict[str, Any]:
    """Name a detection's values."""
    names = [column.archived_name or column.name for column in detector.columns]
    return dict(zip(names, detection.values, strict=True))


def see_all(ticks: Iterable[Tick], rules: Rules) -> list[Seen]:
    """Detect over ticks of one symbol."""
    detector = Detector(rules)
    state: SymbolState | None = None
    found = []
    for tick in ticks:
        state = state or detector.new_state(tick.symbol)
        found.append(seen(detector, state, tick))
    return found


def example() -> str:
    """The rule of somebody's own that the documentation shows."""
    text = (Path(__file__).parents[1] / "docs" / "rules.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?class Breakout.*?)```", text, flags=re.DOTALL)
    return str(code)
