"""What a choice of rules finds in ticks."""

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import IO

import msgspec
from msgspec.structs import replace

from common.tick import Tick, decimal_text
from consumer.detection import Alert, Detector, Rules, SymbolState
from desk.rows import Row

_NEWEST = 5
_TOLD = 2000
_REPEATS = 3

_encode = msgspec.json.Encoder(decimal_format="number").encode

Key = tuple[str, str, str, str]
"""Rule, kind, severity, symbol."""


class Findings(msgspec.Struct):
    """Counts of alerts, and the newest of them; `add` puts those of two parts together."""

    ticks: int = 0
    days: set[str] = msgspec.field(default_factory=set)
    """On which there were ticks, by event time in UTC."""
    sent: Counter[tuple[Key, str]] = msgspec.field(default_factory=Counter)
    """How many alerts are sent, by key and day."""
    suppressed: Counter[Key] = msgspec.field(default_factory=Counter)
    failed: Counter[str] = msgspec.field(default_factory=Counter)
    """How often each rule raised."""
    first_failure: dict[str, str] = msgspec.field(default_factory=dict)
    newest: list[tuple[str, str, Alert]] = msgspec.field(default_factory=list)
    """A heap by timestamp and symbol."""

    def note(self, alert: Alert) -> None:
        """Count an alert."""
        key = alert.rule, alert.kind, alert.severity, alert.symbol
        if alert.suppressed:
            self.suppressed[key] += 1
            return
        self.sent[key, alert.timestamp[:10]] += 1
        self._remember((alert.timestamp, f"{alert.symbol}#{alert.rule}", alert))

    def add(self, other: "Findings") -> None:
        """Take in what was found in another part."""
        self.ticks += other.ticks
        self.days |= other.days
        self.sent += other.sent
        self.suppressed += other.suppressed
        self.failed += other.failed
        self.first_failure = other.first_failure | self.first_failure
        for one in other.newest:
            self._remember(one)

    def _remember(self, one: tuple[str, str, Alert]) -> None:
        heapq.heappush(self.newest, one)
        if len(self.newest) > _NEWEST:
            heapq.heappop(self.newest)


class Trial:
    """One choice of rules, over ticks of many symbols.

    Parameters
    ----------
    rules
        The rules and their numbers.
    alerts
        Where each alert that is sent is written, as a JSON object a line; None for nowhere.

    """

    def __init__(self, rules: Rules, alerts: IO[bytes] | None = None) -> None:
        self.findings = Findings()
        self._detector = Detector(rules)
        self._states: dict[str, SymbolState] = {}
        self._alerts = alerts

    def see(self, tick: Tick) -> None:
        """Take a symbol's next tick."""
        state = self._states.get(tick.symbol)
        if state is None:
            state = self._states[tick.symbol] = self._detector.new_state(tick.symbol)
        detection = self._detector.detect(state, tick)
        for alert in detection.alerts:
            self.findings.note(alert)
            if self._alerts and not alert.suppressed:
                self._alerts.write(_encode(row_of(alert)) + b"\n")
        for failure in detection.failures:
            self.findings.failed[failure.rule] += 1
            self.findings.first_failure.setdefault(failure.rule, f"{tick.symbol} {tick.timestamp}: {failure.error}")


def row_of(alert: Alert) -> Row:
    """Give an alert as the alerts table has it."""
    return {
        "symbol": alert.symbol,
        "alert_id": alert.alert_id,
        "timestamp": alert.timestamp,
        "rule": alert.rule,
        "kind": alert.kind,
        "direction": alert.direction,
        "severity": alert.severity,
        "price": Decimal(decimal_text(alert.price)),
        "value": Decimal(decimal_text(alert.value)),
        "threshold": Decimal(decimal_text(alert.threshold)),
        "message": alert.sentence,
    }


def run(ticks: Iterable[Tick], trials: Sequence[Trial]) -> Iterator[int]:
    """Have all trials see the ticks; yields now and then how many they have seen since."""
    count, day = 0, ""
    days: set[str] = set()
    for tick in ticks:
        if tick.timestamp[:10] != day:
            day = tick.timestamp[:10]
            days.add(day)
        for trial in trials:
            trial.see(tick)
        count += 1
        if not count % _TOLD:
            yield _TOLD
    for trial in trials:
        trial.findings.ticks, trial.findings.days = count, days
    yield count % _TOLD


def microseconds(rules: Rules, ticks: Sequence[Tick]) -> dict[str, float]:
    """Measure the processor's time that each rule alone takes for a tick, in µs, without what all have in common."""
    if not ticks:
        return {}
    common = _seconds(Rules(names=()), ticks)
    return {
        rule.name: max(0.0, _seconds(replace(rules, names=(name,), overrides={}), ticks) - common) / len(ticks) * 1e6
        for name, rule in zip(rules.all_names, rules.classes, strict=True)
    }


def _seconds(rules: Rules, ticks: Sequence[Tick]) -> float:
    best = float("inf")
    for _ in range(_REPEATS):
        trial = Trial(rules)
        begin = time.process_time()
        for tick in ticks:
            trial.see(tick)
        best = min(best, time.process_time() - begin)
    return best
