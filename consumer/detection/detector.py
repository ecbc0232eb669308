"""Takes one accepted tick after another and says what it means."""

from datetime import datetime, timedelta

import msgspec

from common.tick import PRICE_UNITS, Tick, fixed
from consumer.detection import rules as rule
from consumer.detection.rounding import add_root, divide, divide_by_root
from consumer.detection.rules import (
    BOLLINGER,
    NONE,
    PRICE_LEVEL,
    PRICE_MOVE,
    RULES,
    SMA_CROSS,
    VOLUME_SPIKE,
    Z_SCORE,
    Ratio,
    Rules,
)
from consumer.detection.window import Window

Sides = tuple[int, int, int, int, int, int]

MICRO = 10**6
"""Scores, percentages and ratios are integers in units of 10⁻⁶, averages and bands are prices (10⁻⁹); both are
rounded half to even."""

_ON_PRICES = (SMA_CROSS, BOLLINGER, PRICE_LEVEL)
_LARGE = 2**63
_NO_SIDES: Sides = (NONE, NONE, NONE, NONE, NONE, NONE)


class Alert(msgspec.Struct, frozen=True, gc=False):
    """A rule's side changed on this tick. ``price``, ``value`` and ``threshold`` are in 10⁻⁹."""

    symbol: str
    timestamp: str
    rule: str
    direction: str
    severity: str
    price: int
    value: int
    threshold: int
    suppressed: bool

    @property
    def alert_id(self) -> str:
        """Unique below the symbol, and the same whenever the same ticks are seen."""
        return f"{self.timestamp}#{self.rule}"


class Detection(msgspec.Struct, gc=False):
    """What one tick means: averages and bands in 10⁻⁹, z-score in 10⁻⁶ (None until a window is full), sides, alerts."""

    sma_fast: int | None
    sma_slow: int | None
    z_score: int | None
    bollinger_upper: int | None
    bollinger_lower: int | None
    sides: Sides
    alerts: tuple[Alert, ...] = ()


class SymbolState:
    """What is remembered of one symbol: its windows, its last tick and the sides of its rules."""

    __slots__ = ("deltas", "fast_total", "last", "prices", "returns", "sent", "sides")

    def __init__(self, rules: Rules) -> None:
        self.prices = Window(rules.sma_slow)
        self.fast_total = 0
        self.returns = Window(rules.z_score_window)
        self.deltas = Window(rules.volume_window)
        self.last: Tick | None = None
        self.sides = _NO_SIDES
        self.sent: dict[tuple[str, str], str] = {}
        """(rule, direction) -> timestamp of the last alert that was sent, not suppressed."""


class SavedState(msgspec.Struct, array_like=True):
    """A state in a snapshot: the last tick, the windows' values, the sides, the alerts sent.

    Prices are in 10⁻⁹, returns in 10⁻⁹ too, as text where they are too large for msgpack's integers.
    """

    timestamp: str
    price: int
    previous_close: int | None
    volume: int | None
    prices: list[int]
    returns: list[int | str]
    deltas: list[int]
    sides: Sides
    sent: list[tuple[str, str, str]]
    """Rule, direction and timestamp of the last alert of each."""


class Detector:
    """Applies the rules to accepted ticks: those later than the last one of their symbol."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._fast, self._slow = rules.sma_fast, rules.sma_slow
        self._move = Ratio.of(rules.price_move_percent)
        self._move_reset = Ratio.of(rules.price_move_reset_percent)
        self._z = Ratio.of(rules.z_score_threshold).squared()
        self._width = Ratio.of(rules.bollinger_width)
        self._width_squared = self._width.squared()
        self._spike = Ratio.of(rules.volume_spike_ratio)
        self._levels = {symbol: fixed(level) for symbol, level in rules.price_levels.items()}
        self._default_level = None if rules.alert_threshold is None else fixed(rules.alert_threshold)
        self._cooldown = timedelta(seconds=rules.alert_cooldown_seconds)

    def new_state(self) -> SymbolState:
        """Memory of a symbol that was never seen."""
        return SymbolState(self.rules)

    def save(self, state: SymbolState) -> SavedState:
        """Write down the memory of a symbol that was seen."""
        last = state.last
        if last is None:
            raise ValueError("there is nothing to save of a symbol without a tick")
        return SavedState(
            last.timestamp,
            last.price,
            last.previous_close,
            last.volume,
            state.prices.values,
            [value if abs(value) < _LARGE else str(value) for value in state.returns.values],
            state.deltas.values,
            state.sides,
            [(rule, direction, timestamp) for (rule, direction), timestamp in state.sent.items()],
        )

    def restore(self, symbol: str, saved: SavedState, rules: Rules) -> SymbolState:
        """Rebuild the state that was saved under ``rules``: the very same, if these are the detector's.

        If they are others, windows keep what fits, and the sides of rules whose numbers have changed start afresh.

        Raises
        ------
        ValueError
            `save` has not written this.

        """
        state = self.new_state()
        state.prices.fill(saved.prices)
        state.fast_total = sum(state.prices.values[-self._fast :])
        state.returns.fill([int(value) for value in saved.returns])
        state.deltas.fill(saved.deltas)
        state.last = Tick(
            symbol, saved.timestamp, saved.price, previous_close=saved.previous_close, volume=saved.volume
        )
        state.sides = self._still_right(symbol, saved.sides, rules)
        state.sent = {(rule, direction): timestamp for rule, direction, timestamp in saved.sent}
        return state

    def _still_right(self, symbol: str, sides: Sides, rules: Rules) -> Sides:
        """Sides that were found under ``rules``, without those that depend on other numbers now."""
        if rules == self.rules:
            return sides
        same = [all(getattr(rules, name) == getattr(self.rules, name) for name in each.numbers) for each in RULES]
        same[PRICE_LEVEL] = rules.level(symbol) == self.rules.level(symbol)
        cross, move, z_score, band, spike, level = (
            side if kept else NONE for side, kept in zip(sides, same, strict=True)
        )
        return cross, move, z_score, band, spike, level

    def detect(self, state: SymbolState, tick: Tick) -> Detection:  # noqa: C901, PLR0912, PLR0915  (straight on: the hot path)
        """Say what an accepted tick means, and remember it in ``state``."""
        price, last = tick.price, state.last
        prices, returns, deltas = state.prices, state.returns, state.deltas
        before = state.sides
        if before[PRICE_MOVE] and (last is None or tick.previous_close != last.previous_close):
            before = (before[0], NONE, *before[2:])  # a move starts from nowhere on a new day
        cross, move, _, _, _, level_side = before
        z_side = band_side = spike_side = NONE
        sma_fast = sma_slow = z_score = upper = lower = None

        price_sums = total, squares = prices.sums_with(price)
        fast_total = state.fast_total + price
        seen = len(prices.values) + 1
        if seen > self._fast:
            fast_total -= prices.values[-self._fast]  # the fast window is the newest part of the slow one
        if seen >= self._fast:
            sma_fast = divide(fast_total, self._fast)
        if seen >= self._slow:
            sma_slow = divide(total, self._slow)
            cross = rule.sma_cross(fast_total * self._slow - total * self._fast, cross)
            variance = self._slow * squares - total * total
            band_side = rule.bollinger(self._slow * price - total, variance, self._width_squared)
            upper, lower = self._bands(total, variance)

        change = 0 if last is None else divide((price - last.price) * PRICE_UNITS, last.price)
        if returns.full:
            deviation = returns.size * change - returns.total
            variance = returns.size * returns.squares - returns.total * returns.total
            if variance:
                z_side = rule.z_score(deviation, variance, self._z)
                z_score = divide_by_root(deviation * MICRO, variance)

        close = tick.previous_close
        move = NONE if close is None else rule.price_move(price, close, move, self._move, self._move_reset)
        delta = None if last is None else _volume_delta(tick, last)
        if delta is not None and deltas.full:
            spike_side = rule.volume_spike(delta, deltas.total, deltas.size, self._spike)
        level = self._levels.get(tick.symbol, self._default_level)
        level_side = NONE if level is None else rule.price_level(price, level, level_side)

        sides: Sides = (cross, move, z_side, band_side, spike_side, level_side)
        detection = Detection(sma_fast, sma_slow, z_score, upper, lower, sides)
        if sides == before:
            detection.sides = sides = before  # one tuple for all ticks that change nothing
        else:
            detection.alerts = self._alerts(state, tick, before, detection, delta)

        # From here on nothing fails: a tick is remembered whole or not at all.
        for alert in detection.alerts:
            if not alert.suppressed:
                state.sent[alert.rule, alert.direction] = alert.timestamp
        prices.push(price, price_sums)
        state.fast_total = fast_total
        if last is not None:
            returns.push(change, returns.sums_with(change))
        if delta is None:
            deltas.clear()
        else:
            deltas.push(delta, deltas.sums_with(delta))
        state.last = tick
        state.sides = sides
        return detection

    def _bands(self, total: int, variance: int) -> tuple[int, int]:
        """(Σp ± width·sqrt(n·Σp² - (Σp)²)) / n."""
        width = self._width
        return add_root(
            total * width.denominator, self._width_squared.numerator * variance, self._slow * width.denominator
        )

    def _alerts(
        self, state: SymbolState, tick: Tick, before: Sides, detection: Detection, delta: int | None
    ) -> tuple[Alert, ...]:
        alerts = []
        for index, (name, severity, fires_from_none, _) in enumerate(RULES):
            side, side_before = detection.sides[index], before[index]
            if side in (NONE, side_before) or (side_before == NONE and not fires_from_none):
                continue
            direction = "up" if side > 0 else "down"
            value, threshold = self._evidence(index, side, state, tick, detection, delta)
            suppressed = self._cooling(state.sent.get((name, direction)), tick.timestamp)
            alerts.append(
                Alert(
                    tick.symbol,
                    tick.timestamp,
                    name,
                    direction,
                    severity,
                    tick.price,
                    value,
                    threshold,
                    suppressed,
                )
            )
        return tuple(alerts)

    def _evidence(
        self, index: int, side: int, state: SymbolState, tick: Tick, detection: Detection, delta: int | None
    ) -> tuple[int, int]:
        """Value and threshold of a rule that fired, in 10⁻⁹; what is no price has 6 decimals all the same."""
        evidence: tuple[int | None, int | None]
        if index == SMA_CROSS:
            evidence = detection.sma_fast, detection.sma_slow
        elif index == PRICE_MOVE:
            evidence = change_percent(tick), side * _micro(self._move)
        elif index == Z_SCORE:
            evidence = detection.z_score, side * _micro(Ratio.of(self.rules.z_score_threshold))
        elif index == BOLLINGER:
            evidence = tick.price, detection.bollinger_upper if side > 0 else detection.bollinger_lower
        elif index == VOLUME_SPIKE:
            size, total = state.deltas.size, state.deltas.total
            evidence = divide((delta or 0) * size * MICRO, total), _micro(self._spike)
        else:
            evidence = tick.price, self._levels.get(tick.symbol, self._default_level)
        value, threshold = evidence
        if value is None or threshold is None:
            raise AssertionError(f"{RULES[index].name} fired without its numbers")
        unit = 1 if index in _ON_PRICES else PRICE_UNITS // MICRO
        return value * unit, threshold * unit

    def _cooling(self, last_sent: str | None, timestamp: str) -> bool:
        if last_sent is None:
            return False
        return datetime.fromisoformat(timestamp) - datetime.fromisoformat(last_sent) < self._cooldown


def change_percent(tick: Tick) -> int | None:
    """100·(price - previous close)/previous close in 10⁻⁶, rounded half to even."""
    close = tick.previous_close
    return None if close is None else divide((tick.price - close) * 100 * MICRO, close)


def _volume_delta(tick: Tick, last: Tick) -> int | None:
    """What was traded since the last tick, None where one of the two does not tell.

    The volume is the session's so far. A session is new, and its volume starts from 0, on a tick whose previous close
    is not the last tick's, or when the volume has fallen by half or more; a smaller fall is a correction.
    """
    volume, before = tick.volume, last.volume
    if volume is None or before is None:
        return None
    if tick.previous_close != last.previous_close and tick.previous_close is not None:
        return volume
    if volume >= before:
        return volume - before
    return volume if 2 * volume <= before else 0


def _micro(ratio: Ratio) -> int:
    return divide(ratio.numerator * MICRO, ratio.denominator)
