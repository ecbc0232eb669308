"""The six rules exactly on, just below and just above their thresholds, and against the oracle on random ticks."""

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from math import isqrt
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.tick import Tick, encode, fixed, timestamp_of
from consumer.detection import RULES, Alert, Detection, Detector, Rules, SavedState, SymbolState
from consumer.protocol import Record
from consumer.sinks.row import RowWriter
from tests import oracle
from tests.detecting import Seen, see_all

START_MS = 1_689_000_000_000
QUIET = Rules.of(alert_cooldown_seconds=0)
_FAR = Decimal(10**9)


def tick(price: str | int, *, close: str | int | None = None, volume: int | None = None, second: int = 0) -> Tick:
    """Make a tick of A; ``price`` and ``close`` are in currency."""
    return Tick(
        "A",
        timestamp_of(START_MS + 1000 * second),
        fixed(Decimal(price)),
        previous_close=None if close is None else fixed(Decimal(close)),
        volume=volume,
    )


def detect(ticks: Iterable[Tick], rules: Rules = QUIET) -> list[Seen]:
    """Detect over ticks of one symbol; each is a second later than the one before unless it says so itself."""
    ticks = list(ticks)
    for second, one in enumerate(ticks):
        if one.timestamp == timestamp_of(START_MS):
            one.timestamp = timestamp_of(START_MS + 1000 * second)
    return see_all(ticks, rules)


def alerts_of(rule: str, ticks: Iterable[Tick], rules: Rules = QUIET) -> list[tuple[int, Alert]]:
    """Return the alerts of one rule with the index of their tick."""
    return [
        (index, alert)
        for index, detection in enumerate(detect(ticks, rules))
        for alert in detection.alerts
        if alert.rule == rule
    ]


def directions(rule: str, ticks: Iterable[Tick], rules: Rules = QUIET) -> list[tuple[int, str]]:
    """Return when a rule fired and in which direction."""
    return [(index, alert.direction) for index, alert in alerts_of(rule, ticks, rules)]


# --- sma_cross ------------------------------------------------------------------------------------

CROSS = Rules.of(sma_fast=1, sma_slow=2, alert_cooldown_seconds=0, bollinger_width=_FAR)
"""SMA-1 minus SMA-2 is half of the last step: its sign is the step's."""


def test_sma_cross_first_side_fires_nothing() -> None:
    """The first side is where the averages stand, not a crossing."""
    assert directions("sma_cross", map(tick, [1, 2, 3])) == []
    assert directions("sma_cross", map(tick, [1, 2, 3]), CROSS) == []


def test_sma_cross_needs_both_windows_full() -> None:
    """The slow window counts the current tick: with twenty there is a side, with nineteen none."""
    found = detect(map(tick, [1] * 18 + [2, 1, 1]))
    assert [detection.sides["sma_cross"] for detection in found[18:]] == [0, 1, 1]


def test_sma_cross_equality_keeps_the_last_side() -> None:
    """Averages that are exactly equal change nothing: no crossing into equality, none out of it on the same side."""
    prices = [1, 2, 2, 3, 3, 2, 2, 1, 2]
    assert directions("sma_cross", map(tick, prices), CROSS) == [(5, "down"), (8, "up")]


def test_sma_cross_fires_on_the_smallest_difference() -> None:
    """One unit of 1e-9 is enough to cross; equality before the first side gives no side to come from."""
    assert directions("sma_cross", map(tick, ["1", "1", "1.000000001", "1"]), CROSS) == [(3, "down")]


def test_sma_cross_carries_both_averages() -> None:
    """The value is the fast average and the threshold the slow one, to 1e-9."""
    (_, alert), *_ = alerts_of("sma_cross", map(tick, ["1", "2", "1.000000001"]), CROSS)
    assert (alert.value, alert.threshold) == (1_000_000_001, 1_500_000_000)  # 1.5000000005: half to even
    assert (alert.direction, alert.severity) == ("down", "info")


# --- price_move -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "fired"),
    [
        ("105", ["up"]),
        ("104.999999999", []),
        ("105.000000001", ["up"]),
        ("95", ["down"]),
        ("95.000000001", []),
        ("94.999999999", ["down"]),
    ],
)
def test_price_move_boundary(price: str, fired: list[str]) -> None:
    """Exactly five per cent fires, a unit less does not."""
    found = alerts_of("price_move", [tick(price, close=100)])
    assert [alert.direction for _, alert in found] == fired


def test_price_move_boundary_is_exact_where_division_is_not() -> None:
    """5 % of 0.000000020 is one unit exactly; of 0.000000021 it is a fraction more than one."""
    assert directions("price_move", [tick("0.000000021", close="0.000000020")]) == [(0, "up")]
    assert directions("price_move", [tick("0.000000022", close="0.000000021")]) == []


@pytest.mark.parametrize(
    ("between", "fires_again"),
    [("104", False), ("103.999999999", True), ("104.5", False), ("100", True), ("96", True), ("95.5", True)],
)
def test_price_move_hysteresis(between: str, fires_again: bool) -> None:
    """Exactly four per cent keeps the side, below it is none; so is the other side's band before it fires."""
    ticks = [tick(105, close=100), tick(between, close=100), tick(106, close=100)]
    assert directions("price_move", ticks) == [(0, "up"), *([(2, "up")] if fires_again else [])]


def test_price_move_from_side_to_side() -> None:
    """A jump from one side to the other fires at once; a flip that stays between the limits goes to none."""
    ticks = [tick(price, close=100) for price in (105, 95, 96, "95.9", 104, 96, 95)]
    assert directions("price_move", ticks) == [(0, "up"), (1, "down"), (6, "down")]


def test_price_move_starts_anew_with_another_previous_close() -> None:
    """The same move on a new day fires again, and a remembered side does not hold between the limits."""
    ticks = [tick(105, close=100), tick(210, close=200), tick(209, close=200), tick("104.5", close=100)]
    found = detect(ticks, Rules.of("price_move", alert_cooldown_seconds=0))
    assert [[alert.rule for alert in detection.alerts] for detection in found[:2]] == [["price_move"]] * 2
    assert [detection.sides["price_move"] for detection in found] == [1, 1, 1, 0]


def test_price_move_without_previous_close_is_none() -> None:
    """Without a previous close there is no side, and with it again the rule fires again."""
    ticks = [tick(105, close=100), tick(105), tick(105, close=100)]
    assert directions("price_move", ticks) == [(0, "up"), (2, "up")]


def test_price_move_carries_percent_and_signed_limit() -> None:
    """The value is the move in per cent, the threshold the limit with the direction's sign."""
    (_, up), (_, down) = alerts_of("price_move", [tick(106, close=100), tick("94.5", close=100)])
    assert (up.value, up.threshold, up.severity) == (6_000_000_000, 5_000_000_000, "critical")
    assert (down.value, down.threshold) == (-5_500_000_000, -5_000_000_000)


# --- z_score --------------------------------------------------------------------------------------

Z = Rules.of(
    z_score_window=2,
    z_score_threshold=Decimal(3),
    alert_cooldown_seconds=0,
    sma_fast=2,
    sma_slow=3,
    bollinger_width=_FAR,
)


def test_z_score_boundary() -> None:
    """With returns of +10 % and -10 % (mean 0, σ 10 %), exactly +30 % is z = 3 and fires; a unit less does not."""
    start = ["1", "1.1", "0.99"]
    assert directions("z_score", map(tick, [*start, "1.287"]), Z) == [(3, "up")]
    assert directions("z_score", map(tick, [*start, "1.286999999"]), Z) == []
    assert directions("z_score", map(tick, [*start, "0.693"]), Z) == [(3, "down")]
    assert directions("z_score", map(tick, [*start, "0.693000001"]), Z) == []


def test_z_score_is_of_this_return_against_the_ones_before() -> None:
    """The tick's own return is not in its window: its value is exactly 3, with the threshold's sign."""
    (_, alert), *_ = alerts_of("z_score", map(tick, ["1", "1.1", "0.99", "0.693"]), Z)
    assert (alert.value, alert.threshold, alert.severity) == (-3_000_000_000, -3_000_000_000, "warning")


def test_z_score_needs_a_full_window_of_earlier_returns() -> None:
    """Two earlier returns need three earlier prices: the third return is the first to have a z-score."""
    found = detect(map(tick, ["1", "1.1", "0.99", "1"]), Z)
    assert [detection.values["z_score"] is None for detection in found] == [True, True, True, False]
    default = detect(tick(1 + index % 2) for index in range(22))
    assert [index for index, detection in enumerate(default) if detection.values["z_score"] is not None] == [21]


def test_z_score_without_deviation_is_absent() -> None:
    """When all earlier returns are equal there is no z-score, however large the jump."""
    found = detect(map(tick, ["1", "1", "1", "9"]), Z)
    assert (found[3].values["z_score"], found[3].sides["z_score"]) == (None, 0)


# --- bollinger ------------------------------------------------------------------------------------


def _band_rules(width: Decimal) -> Rules:
    return Rules.of(sma_fast=1, sma_slow=2, bollinger_width=width, alert_cooldown_seconds=0)


@pytest.mark.parametrize(
    ("width", "prices", "fired"),
    [
        ("1", [1, 3], []),
        ("0.999999999", [1, 3], [(1, "up")]),
        ("1", [3, 1], []),
        ("0.999999999", [3, 1], [(1, "down")]),
    ],
)
def test_bollinger_boundary_is_strict(width: str, prices: list[int], fired: list[tuple[int, str]]) -> None:
    """Of two prices each is exactly one σ from their mean: on the band is not beyond it."""
    assert directions("bollinger", map(tick, prices), _band_rules(Decimal(width))) == fired


def test_bollinger_at_two_deviations() -> None:
    """With the default width: of five prices, four equal, the odd one is exactly two σ from the mean; of six, more."""
    five = Rules.of(sma_fast=2, sma_slow=5, alert_cooldown_seconds=0)
    six = Rules.of(sma_fast=2, sma_slow=6, alert_cooldown_seconds=0)
    assert directions("bollinger", map(tick, [1, 1, 1, 1, 2]), five) == []
    assert directions("bollinger", map(tick, [2, 2, 2, 2, 1]), five) == []
    assert directions("bollinger", map(tick, [1, 1, 1, 1, 1, 2]), six) == [(5, "up")]
    assert directions("bollinger", map(tick, [2, 2, 2, 2, 2, 1]), six) == [(5, "down")]


def test_bollinger_of_a_flat_line_is_none() -> None:
    """A price that never moved is on both bands."""
    found = detect([tick(1)] * 20)
    assert found[19].sides["bollinger"] == 0
    assert (found[19].values["bollinger_upper"], found[19].values["bollinger_lower"]) == (1_000_000_000, 1_000_000_000)


def test_bollinger_carries_price_and_band() -> None:
    """The value is the price, the threshold the band that it left."""
    prices = [1] * 19 + [2]
    (index, alert), *_ = alerts_of("bollinger", map(tick, prices))
    upper = 1_050_000_000 + isqrt(4 * 10**18 * 19 // 400)
    assert index == 19
    assert alert.value == 2_000_000_000
    assert abs(alert.threshold - upper) <= 1
    assert alert.threshold == detect(map(tick, prices))[19].values["bollinger_upper"]


# --- volume_spike ---------------------------------------------------------------------------------


def _with_volumes(volumes: Sequence[int | None]) -> list[Tick]:
    return [tick(1, volume=volume) for volume in volumes]


_TEN_EACH = [10 * index for index in range(21)]


@pytest.mark.parametrize(("delta", "fired"), [(50, [(21, "up")]), (49, []), (51, [(21, "up")])])
def test_volume_spike_boundary(delta: int, fired: list[tuple[int, str]]) -> None:
    """After twenty deltas of ten, a delta of exactly fifty fires."""
    assert directions("volume_spike", _with_volumes([*_TEN_EACH, 200 + delta])) == fired


def test_volume_spike_boundary_with_an_uneven_mean() -> None:
    """A mean of 10.05 is reached five times by 50.25: fifty is not enough, fifty-one is."""
    uneven = [0, 11, *(11 + 10 * index for index in range(1, 20))]
    assert directions("volume_spike", _with_volumes([*uneven, uneven[-1] + 50])) == []
    assert directions("volume_spike", _with_volumes([*uneven, uneven[-1] + 51])) == [(21, "up")]


def test_volume_spike_needs_twenty_deltas() -> None:
    """The first tick has no delta, so the twenty-second is the first that can fire."""
    assert directions("volume_spike", _with_volumes([*_TEN_EACH[:20], 1000])) == []


def test_volume_that_fell_by_half_or_more_is_a_new_session() -> None:
    """When the cumulative volume falls to half or less, the delta is the volume itself."""
    assert directions("volume_spike", _with_volumes([*_TEN_EACH, 49])) == []
    assert directions("volume_spike", _with_volumes([*_TEN_EACH, 50])) == [(21, "up")]
    assert directions("volume_spike", _with_volumes([*_TEN_EACH, 100])) == [(21, "up")]


@pytest.mark.parametrize("corrected", [101, 150, 199])
def test_volume_that_fell_by_less_than_half_is_a_correction(corrected: int) -> None:
    """A smaller fall is no trade: its delta is 0, the next is counted from it, and the window goes on."""
    volumes = [*_TEN_EACH, corrected]
    assert directions("volume_spike", _with_volumes(volumes)) == []
    mean_is_nine_and_a_half = [*volumes, corrected + 47]
    assert directions("volume_spike", _with_volumes(mean_is_nine_and_a_half)) == []
    assert directions("volume_spike", _with_volumes([*volumes, corrected + 48])) == [(22, "up")]


@pytest.mark.parametrize("half", [(7, 3), (7, 4), (8, 4), (8, 5), (1, 0), (1, 1)])
def test_half_of_the_volume_is_exact(half: tuple[int, int]) -> None:
    """Odd volumes have no whole half: 3 of 7 is less than it, 4 is more."""
    before, now = half
    fell_by_half = 2 * (before - now) >= before
    ticks = _with_volumes([0, *[before * 2**40] * 20, now * 2**40])
    expected = [(21, "up")] if fell_by_half and now else []
    assert (
        directions("volume_spike", ticks, Rules.of(volume_spike_ratio=Decimal("0.1"), alert_cooldown_seconds=0))
        == expected
    )


@pytest.mark.parametrize(
    ("close_before", "close", "is_new"), [(9, 8, True), (None, 8, True), (8, 8, False), (9, None, False)]
)
@pytest.mark.parametrize("volume", [150, 200, 205, 240])
def test_another_previous_close_is_a_new_session(
    close_before: int | None, close: int | None, volume: int, *, is_new: bool
) -> None:
    """With a previous close that the last tick did not have the whole volume was traded, however it compares."""
    ticks = [tick(1, close=close_before, volume=volume) for volume in _TEN_EACH]
    found = directions("volume_spike", [*ticks, tick(1, close=close, volume=volume)])
    assert found == ([(21, "up")] if is_new else [])


def test_a_gap_empties_the_volume_window() -> None:
    """A tick without volume has no delta, nor has the next: twenty more must follow before the rule can fire."""
    after_gap = [None, *(10 * index for index in range(21))]
    assert directions("volume_spike", _with_volumes([*_TEN_EACH, *after_gap[:-1], 1000])) == []
    assert directions("volume_spike", _with_volumes([*_TEN_EACH, *after_gap, 1000])) == [(43, "up")]


def test_no_volume_at_all_is_no_spike() -> None:
    """When nothing was traded in the whole window, its sum is 0 and nothing is a multiple of it."""
    assert directions("volume_spike", _with_volumes([5] * 21 + [1000])) == []


def test_volume_spike_is_edge_triggered_and_carries_its_ratio() -> None:
    """The second spike in a row fires nothing; the value is delta ÷ mean and the threshold the limit."""
    (index, alert), *more = alerts_of("volume_spike", _with_volumes([*_TEN_EACH, 300, 1300]))
    assert (index, more) == (21, [])
    assert (alert.value, alert.threshold, alert.severity) == (10_000_000_000, 5_000_000_000, "warning")


# --- price_level ----------------------------------------------------------------------------------


def _level(price_levels: dict[str, Decimal], threshold: Decimal | None = None) -> Rules:
    return Rules.of(price_levels=price_levels, alert_threshold=threshold, alert_cooldown_seconds=0)


def test_price_level_boundary() -> None:
    """Equal keeps the last side, a unit beyond is a side, and the first side fires nothing."""
    prices = ["199", "200", "200.000000001", "200", "199.999999999"]
    found = directions("price_level", map(tick, prices), _level({"A": Decimal(200)}))
    assert found == [(2, "up"), (4, "down")]


def test_price_level_first_side_after_equality_is_silent() -> None:
    """A symbol that begins exactly on its level has no side yet, so the next one is its first."""
    assert directions("price_level", map(tick, [200, 201, 199]), _level({"A": Decimal(200)})) == [(2, "down")]


def test_price_level_of_all_others() -> None:
    """ALERT_THRESHOLD is the level of symbols without one of their own; without both there is no side."""
    prices = [1, 3]
    assert directions("price_level", map(tick, prices), _level({"B": Decimal(9)}, Decimal(2))) == [(1, "up")]
    assert directions("price_level", map(tick, prices), _level({"A": Decimal(9)}, Decimal(2))) == []
    assert directions("price_level", map(tick, prices), _level({"B": Decimal(2)})) == []


def test_price_level_carries_price_and_level() -> None:
    """The value is the price and the threshold the level, to the last unit."""
    (_, alert), *_ = alerts_of("price_level", map(tick, ["1", "2.5000005"]), _level({"A": Decimal("1.5")}))
    assert (alert.value, alert.threshold, alert.severity) == (2_500_000_500, 1_500_000_000, "critical")
    assert alert.price == 2_500_000_500


# --- cooldown -------------------------------------------------------------------------------------


def _sent(seconds: Sequence[int], cooldown: int = 300) -> list[bool]:
    """Let price_move fire upwards at each of ``seconds`` and tell which alerts were sent."""
    ticks = [
        one
        for second in seconds
        for one in (tick(100, close=100, second=second - 1), tick(105, close=100, second=second))
    ]
    found = alerts_of("price_move", ticks, Rules.of(alert_cooldown_seconds=cooldown))
    assert len(found) == len(seconds)
    return [not alert.suppressed for _, alert in found]


def test_cooldown_boundary() -> None:
    """Less than 300 s after the last alert is suppressed, exactly 300 s is sent."""
    assert _sent([10, 309]) == [True, False]
    assert _sent([10, 310]) == [True, True]


def test_cooldown_counts_from_the_last_one_sent() -> None:
    """A suppressed alert does not prolong the cooldown."""
    assert _sent([10, 300, 310, 400]) == [True, False, True, False]


def test_cooldown_of_zero_is_off() -> None:
    """With 0 every alert is sent."""
    assert _sent([10, 12, 14], cooldown=0) == [True, True, True]


def test_cooldown_is_of_one_direction() -> None:
    """An alert up does not hold an alert down back."""
    ticks = [tick(105, close=100, second=1), tick(95, close=100, second=2), tick(105, close=100, second=3)]
    found = alerts_of("price_move", ticks, Rules())
    assert [(alert.direction, alert.suppressed) for _, alert in found] == [
        ("up", False),
        ("down", False),
        ("up", True),
    ]


# --- against the oracle ---------------------------------------------------------------------------

_WRITER_KINDS: dict[str, Callable[[Any], Any]] = {"S": str, "N": Decimal, "SS": sorted, "BOOL": bool}
_INTERNAL = {"shard_id", "sequence_number", "sub_sequence_number", "arrived_at", "expires_at"}


def _row_of(writer: RowWriter, one: Tick, detection: Detection) -> dict[str, Any]:
    [written] = writer.items_json([writer.accepted(one, detection, Record(b"", one.symbol, "1", 0, START_MS))])
    return {
        name: _WRITER_KINDS[kind](value)
        for name, typed in json.loads(written).items()
        for kind, value in typed.items()
        if name not in _INTERNAL
    }


def _alert_row(alert: Alert) -> dict[str, Any]:
    return {
        "symbol": alert.symbol,
        "alert_id": alert.alert_id,
        "timestamp": alert.timestamp,
        "rule": alert.rule,
        "direction": alert.direction,
        "severity": alert.severity,
        "price": Decimal(alert.price).scaleb(-9),
        "value": Decimal(alert.value).scaleb(-9),
        "threshold": Decimal(alert.threshold).scaleb(-9),
    }


def _same_settings(rules: Rules) -> oracle.Settings:
    return oracle.Settings(rules=rules.names, **rules.numbers, alert_cooldown_seconds=rules.alert_cooldown_seconds)


def _assert_equal_to_oracle(ticks: Sequence[Tick], rules: Rules, *, restart_at: int | None = None) -> None:
    expected = oracle.expect([oracle.Record(encode(one), START_MS + 10**11) for one in ticks], _same_settings(rules))
    detector, writer = Detector(rules), RowWriter("shardId-000000000000", Detector(rules).columns, 30)
    state = detector.new_state("A")
    alerts: list[Alert] = []
    for index, one in enumerate(ticks):
        if index == restart_at:
            state = _rebuilt(detector, state)
        detection = detector.detect(state, one)
        assert _row_of(writer, one, detection) == expected.ticks[one.symbol, one.timestamp]
        alerts += detection.alerts
    sent = {(alert.symbol, alert.alert_id): _alert_row(alert) for alert in alerts if not alert.suppressed}
    assert sent == expected.alerts
    assert sum(alert.suppressed for alert in alerts) == expected.suppressed


def _rebuilt(detector: Detector, state: SymbolState) -> SymbolState:
    """Write the state as a snapshot has it, and read it again."""
    if state.last is None:
        return detector.new_state("A")
    saved = msgspec.msgpack.encode(detector.save(state))
    return detector.restore(state.last.symbol, msgspec.msgpack.decode(saved, type=SavedState), detector.rules)


@st.composite
def _sequences(draw: st.DrawFn, prices: st.SearchStrategy[int], length: int) -> list[Tick]:
    seconds = 0
    ticks = []
    session_price = st.none() | st.sampled_from([18, 20, 22])
    for _ in range(draw(st.integers(1, length))):
        seconds += draw(st.sampled_from([1, 60, 299, 300, 86_400, 345_600]))
        ticks.append(
            Tick(
                "A",
                timestamp_of(START_MS + 1000 * seconds),
                draw(prices),
                previous_close=draw(st.none() | st.sampled_from([20, 20, 20, 25])),
                volume=draw(st.none() | st.integers(0, 30) | st.integers(20, 22)),
                open=draw(session_price),
                high=draw(session_price),
                low=draw(session_price),
            )
        )
    return ticks


_small_rules = st.builds(
    Rules.of,
    *map(st.just, (rule.name for rule in RULES)),
    sma_fast=st.integers(1, 2),
    sma_slow=st.integers(3, 5),
    price_move_percent=st.sampled_from([Decimal(5), Decimal("7.5")]),
    price_move_reset_percent=st.sampled_from([Decimal(4), Decimal(5), Decimal("0.1")]),
    z_score_window=st.integers(2, 4),
    z_score_threshold=st.sampled_from([Decimal(1), Decimal(2), Decimal("1.5")]),
    bollinger_width=st.sampled_from([Decimal(1), Decimal(2), Decimal("1.5")]),
    volume_window=st.integers(2, 4),
    volume_spike_ratio=st.sampled_from([Decimal(1), Decimal(2), Decimal("2.5")]),
    price_levels=st.sampled_from([{}, {"A": Decimal("0.00000002")}]),
    alert_threshold=st.none() | st.just(Decimal("0.000000021")),
    unusual_rate=st.sampled_from([Decimal("0.5"), Decimal("0.1"), Decimal("0.007"), Decimal("0.000001")]),
    rsi_period=st.integers(2, 4),
    rsi_overbought=st.sampled_from([Decimal(70), Decimal(50), Decimal(100)]),
    rsi_oversold=st.sampled_from([Decimal(30), Decimal(0), Decimal("33.4")]),
    macd_fast=st.integers(2, 3),
    macd_slow=st.integers(4, 5),
    macd_signal=st.integers(1, 3),
    rapid_move_percent=st.sampled_from([Decimal(5), Decimal("0.1"), Decimal(10)]),
    rapid_move_seconds=st.sampled_from([1, 60, 300]),
    split_tolerance_percent=st.sampled_from([Decimal(3), Decimal(4)]),
    inconsistent_close_percent=st.sampled_from([Decimal(1), Decimal(5), Decimal(10)]),
    gap_seconds=st.sampled_from([59, 60, 299, 86_400]),
    alert_cooldown_seconds=st.sampled_from([0, 60, 300]),
)


@settings(max_examples=80, deadline=None)
@given(ticks=_sequences(st.integers(18, 22), 30), rules=_small_rules, data=st.data())
def test_ties_and_restarts_equal_the_oracle(ticks: list[Tick], rules: Rules, data: st.DataObject) -> None:
    """Where prices are a few units apart every boundary is hit exactly, and a restart anywhere changes nothing."""
    restart_at = data.draw(st.none() | st.integers(0, len(ticks) - 1))
    _assert_equal_to_oracle(ticks, rules, restart_at=restart_at)


_jumps = st.sampled_from([20, 20, 21, 30, 40, 41, 10, 8, 5, 60, 2000])


@settings(max_examples=25, deadline=None)
@given(ticks=_sequences(_jumps, 20), rules=_small_rules, data=st.data())
def test_jumps_equal_the_oracle(ticks: list[Tick], rules: Rules, data: st.DataObject) -> None:
    """Splits and what is nearly one, on days with and without a previous close that tells."""
    restart_at = data.draw(st.none() | st.integers(0, len(ticks) - 1))
    _assert_equal_to_oracle(ticks, rules, restart_at=restart_at)


_any_price = st.one_of(
    st.integers(1, 9_200_000_000 * 10**9 - 1),
    st.integers(43 * 10**9, 45 * 10**9),
    st.sampled_from([1, 2, 9_200_000_000 * 10**9 - 1]),
)


@settings(max_examples=30, deadline=None)
@given(ticks=_sequences(_any_price, 60), data=st.data())
def test_any_prices_equal_the_oracle(ticks: list[Tick], data: st.DataObject) -> None:
    """From the smallest to the largest price, with the default settings, all numbers are the oracle's."""
    restart_at = data.draw(st.integers(0, len(ticks) - 1))
    rules = Rules.of(*(rule.name for rule in RULES))
    _assert_equal_to_oracle(ticks, rules, restart_at=restart_at)
