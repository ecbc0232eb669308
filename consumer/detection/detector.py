"""Takes one accepted tick after another and says what it means."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from common.tick import Tick
from consumer.detection.alert import Alert
from consumer.detection.choice import Rules
from consumer.detection.history import History
from consumer.detection.rule import DOWN, NONE, UP, Column, Numbers, Rule

_LARGE = 2**63
_LARGEST = 10**38
"""Values and thresholds, in 10⁻⁹, are below this, so that they have the 38 digits that DynamoDB takes."""
_SENTENCE_LENGTH = 140
"""An SMS's, with the topic's name."""


class Failure(msgspec.Struct, frozen=True, gc=False):
    """A rule raised on a tick, and was off for it."""

    rule: str
    error: str


class Detection(msgspec.Struct, gc=False):
    """What one tick means: the values of the rules' columns, the alerts, and the rules that failed."""

    values: list[Any]
    alerts: tuple[Alert, ...] = ()
    failures: tuple[Failure, ...] = ()


class SymbolState:
    """What is remembered of one symbol: its history, its rules and the alerts sent."""

    __slots__ = ("history", "rules", "sent")

    def __init__(self, history: History, rules: Sequence[Rule]) -> None:
        self.history = history
        self.rules = rules
        self.sent: dict[tuple[str, str], str] = {}
        """(rule, direction) -> timestamp of the last alert that was sent, not suppressed."""

    @property
    def last(self) -> Tick | None:
        """The last accepted tick."""
        return self.history.last


class SavedState(msgspec.Struct, array_like=True):
    """A state in a snapshot: the last tick, the windows' values, the rules' memories, the alerts sent.

    Prices are in 10⁻⁹, returns in 10⁻⁹ too. Integers that are too large for msgpack are text.
    """

    timestamp: str
    price: int
    previous_close: int | None
    volume: int | None
    prices: list[int]
    returns: list[int | str]
    deltas: list[int]
    rules: list[list[Any]]
    """Of each rule that is on for the symbol, in their order: its side, and the attributes that it remembers."""
    sent: list[tuple[str, str, str]]
    """Rule, direction and timestamp of the last alert of each."""


class _Off(Rule):
    """Stands for a rule that is off for a symbol: its columns are there all the same."""

    __slots__ = ()

    def update(self, tick: Tick) -> int:
        return NONE


class _Broken(Rule):
    """Stands for a rule that could not be made for a symbol, or not be taken up again: it fails on each tick."""

    def __init__(self, rule: type[Rule], error: Exception) -> None:
        self.name = rule.name  # type: ignore[misc]  # the name of another
        self._error = error

    def update(self, tick: Tick) -> int:
        raise self._error


class Detector:
    """Applies rules to accepted ticks: those later than the last one of their symbol.

    Raises
    ------
    ValueError
        The rules do not go together: a number contradicts another, two columns have one name.

    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._classes = rules.classes
        self._numbers = [rules.numbers_of(rule) for rule in self._classes]
        self._columns = [rule.columns(numbers) for rule, numbers in zip(self._classes, self._numbers, strict=True)]
        self.columns: tuple[Column, ...] = tuple(column for columns in self._columns for column in columns)
        """What the rules add to a row, in the order of a detection's ``values``."""
        names = Counter(column.name for column in self.columns)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"RULES: more than one rule has a column {', '.join(twice)}")
        self._blanks = {
            rule: (None,) * len(columns) for rule, columns in zip(self._classes, self._columns, strict=True)
        }
        self._has_foreign = any(not rule.__module__.startswith(__package__) for rule in self._classes)
        self._cooldown = timedelta(seconds=rules.alert_cooldown_seconds)

    def new_state(self, symbol: str) -> SymbolState:
        """Memory of a symbol that was never seen."""
        history = History(symbol)
        made = []
        for rule, numbers, columns in zip(self._classes, self._numbers_of(symbol), self._columns, strict=True):
            if numbers is not None:
                one = _made(rule, numbers, history)
            elif columns:
                one = _Off(None, history)
            else:
                continue
            one.side, one.values = NONE, self._blanks[rule]
            made.append(one)
        return SymbolState(history, made)

    def _numbers_of(self, symbol: str) -> list[Numbers | None]:
        """Give the rules' numbers for a symbol; None for a rule that is off."""
        if symbol not in self.rules.overrides:
            return [numbers.of(symbol) for numbers in self._numbers]
        rules, names = self.rules, self.rules.names_of(symbol)
        return [
            rules.numbers_of(rule, symbol) if name in names else None
            for name, rule in zip(rules.all_names, self._classes, strict=True)
        ]

    def save(self, state: SymbolState) -> SavedState:
        """Write down the memory of a symbol that was seen."""
        last = state.last
        if last is None:
            raise ValueError("there is nothing to save of a symbol without a tick")
        prices, returns, deltas = state.history.save()
        return SavedState(
            last.timestamp,
            last.price,
            last.previous_close,
            last.volume,
            prices,
            _packed_all(returns),
            deltas,
            [_memory(rule) for rule in _active(state)],
            [(rule, direction, timestamp) for (rule, direction), timestamp in state.sent.items()],
        )

    def restore(self, symbol: str, saved: SavedState, rules: Rules) -> SymbolState:
        """Rebuild the state that was saved under ``rules``: the very same, if these are the detector's.

        If they are others, windows keep what fits, and rules whose numbers have changed start afresh.

        Raises
        ------
        ValueError
            `save` has not written this.

        """
        state = self.new_state(symbol)
        last = Tick(symbol, saved.timestamp, saved.price, previous_close=saved.previous_close, volume=saved.volume)
        state.history.restore(last, saved.prices, [int(value) for value in saved.returns], saved.deltas)
        for rule, memory in zip(_active(state), self._memories(state, saved.rules, rules), strict=True):
            if memory is not None and len(memory) == 1 + len(rule.remembers):
                rule.side = memory[0]
                for name, value in zip(rule.remembers, memory[1:], strict=True):
                    setattr(rule, name, _unpacked(value))
        state.rules = [self._resumed(rule) for rule in state.rules]
        state.sent = {(rule, direction): timestamp for rule, direction, timestamp in saved.sent}
        return state

    def _resumed(self, rule: Rule) -> Rule:
        try:
            rule.resume()
        except Exception as error:
            broken = _Broken(type(rule), error)
            broken.side, broken.values = NONE, self._blanks[type(rule)]
            return broken
        return rule

    def _memories(self, state: SymbolState, saved: list[list[Any]], rules: Rules) -> Sequence[list[Any] | None]:
        """Give each rule's memory that was saved under ``rules``; None for one that has other numbers now."""
        if rules == self.rules:
            return saved
        symbol = state.history.symbol
        before = dict(zip(rules.names_of(symbol), saved, strict=True))
        return [
            before.get(name) if self.rules.agree(rules, type(rule), symbol) else None
            for name, rule in zip(self.rules.names_of(symbol), _active(state), strict=True)
        ]

    def detect(self, state: SymbolState, tick: Tick) -> Detection:
        """Say what an accepted tick means, and remember it in ``state``."""
        history = state.history
        history.begin(tick)
        detection = Detection([])
        values, is_checked = detection.values, self._has_foreign
        for rule in state.rules:
            try:
                side = rule.update(tick)
                if is_checked:
                    self._check(rule, side)
                if side != rule.side:
                    self._turn(state, rule, side, tick, detection)
            except Exception as error:
                rule.values = self._blanks.get(type(rule), rule.values)
                detection.failures += (Failure(rule.name, repr(error)),)
            values += rule.values
        history.end(tick)
        return detection

    def _check(self, rule: Rule, side: int) -> None:
        """See that a rule gives what it should; ours are known to."""
        if side not in {UP, NONE, DOWN}:
            raise ValueError(f"its side is {side!r}")
        if len(rule.values) != len(self._blanks.get(type(rule), rule.values)):
            raise ValueError(f"it has {len(rule.values)} values for {len(self._blanks[type(rule)])} columns")
        for value in rule.values:
            if not (value is None or isinstance(value, int | str)):
                raise TypeError(f"a column's value is {value!r}, not an integer, text or None")

    def _turn(self, state: SymbolState, rule: Rule, side: int, tick: Tick, detection: Detection) -> None:
        """Take a rule's new side; if that is up or down, it fires."""
        if side and (rule.side or rule.fires_first):
            detection.alerts += (self._alert(state, rule, side, tick),)
        rule.side = side

    def _alert(self, state: SymbolState, rule: Rule, side: int, tick: Tick) -> Alert:
        direction = "up" if side > 0 else "down"
        value, threshold = rule.evidence(tick, side)
        if max(abs(value), abs(threshold)) >= _LARGEST:
            raise ValueError(f"value {value} or threshold {threshold} is too large")
        sent = rule.name, direction
        alert = Alert(
            tick.symbol,
            tick.timestamp,
            rule.name,
            direction,
            rule.severity,
            rule.kind,
            tick.price,
            value,
            threshold,
            self._cooling(state.sent.get(sent), tick.timestamp),
        )
        if not alert.suppressed:
            alert.sentence = rule.sentence(alert)[:_SENTENCE_LENGTH]
            state.sent[sent] = tick.timestamp
        return alert

    def _cooling(self, last_sent: str | None, timestamp: str) -> bool:
        if last_sent is None:
            return False
        return datetime.fromisoformat(timestamp) - datetime.fromisoformat(last_sent) < self._cooldown


def _active(state: SymbolState) -> list[Rule]:
    return [rule for rule in state.rules if type(rule) is not _Off]


def _made(rule: type[Rule], numbers: Numbers, history: History) -> Rule:
    try:
        return rule(numbers, history)
    except Exception as error:
        return _Broken(rule, error)


def _memory(rule: Rule) -> list[Any]:
    """Write down a rule's memory; of one that remembers something else than integers, its side alone."""
    try:
        return [rule.side, *(_packed(getattr(rule, name)) for name in rule.remembers)]
    except (AttributeError, TypeError):
        return [rule.side]


def _packed_all(values: list[int]) -> list[int | str]:
    are_small = not values or (min(values) >= -_LARGE and max(values) < _LARGE)
    return values if are_small else list(map(_packed, values))  # type: ignore[return-value]  # a list is invariant


def _packed(value: Any) -> Any:  # noqa: ANN401  (an integer, None, or a list of these)
    if isinstance(value, list):
        return list(map(_packed, value))
    if value is None or -_LARGE <= value < _LARGE:
        return value
    return str(value)


def _unpacked(value: Any) -> Any:  # noqa: ANN401  (what `_packed` gives)
    if isinstance(value, list):
        return [_unpacked(one) for one in value]
    return int(value) if isinstance(value, str) else value
