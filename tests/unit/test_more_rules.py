"""RSI, MACD and rapid moves, and doubtful data: on both sides of their limits, and against TA-Lib."""

import random
from decimal import Decimal

import numpy as np
import pytest
import talib

from common.tick import Tick, fixed, timestamp_of
from consumer.detection import RULES, Detector, Rules
from tests.detecting import see_all

START_MS = 1_689_000_000_000
DAY = 86_400


def at(second: int, price: str, close: str | None = None, **fields: str) -> Tick:
    """Make a tick of A, so many seconds after the start; prices are in currency."""
    prices = {name: fixed(Decimal(value)) for name, value in fields.items()}
    previous = None if close is None else fixed(Decimal(close))
    one = Tick("A", timestamp_of(START_MS + 1000 * second), fixed(Decimal(price)), previous_close=previous)
    for name, value in prices.items():
        setattr(one, name, value)
    return one


def fired(rule: str, ticks: list[Tick], **numbers: object) -> list[tuple[int, str]]:
    """Return when a rule fired and in which direction."""
    found = see_all(ticks, Rules.of(rule, alert_cooldown_seconds=0, **numbers))
    return [(index, alert.direction) for index, one in enumerate(found) for alert in one.alerts]


def test_rsi_and_macd_are_those_of_talib() -> None:
    """Both agree with TA-Lib from their first value on, to what doubles can tell of six and nine decimals."""
    source = random.Random(7)
    cents = [10_000]
    while len(cents) < 300:
        cents.append(max(cents[-1] + source.randint(-150, 150), 100))
    ticks = [at(second, str(Decimal(price) / 100)) for second, price in enumerate(cents)]
    found = see_all(ticks, Rules.of("rsi", "macd"))
    closes = np.array(cents) / 100
    line, signal, _ = talib.MACD(closes)
    for name, expected, places, first in (
        ("rsi", talib.RSI(closes), 6, 14),
        ("macd", line, 9, 33),
        ("macd_signal", signal, 9, 33),
    ):
        values = [one.values[name] for one in found[first:]]
        assert np.allclose([value / 10**places for value in values], expected[first:], atol=1e-6, rtol=0)
    assert found[13].values["rsi"] is None
    assert found[32].values["macd_signal"] is None


@pytest.mark.parametrize(("fall", "sides"), [("3", [(2, "up")]), ("3.000000001", [])])
def test_rsi_boundary(fall: str, sides: list[tuple[int, str]]) -> None:
    """With a rise of 7, a fall of 3 is an index of exactly 70."""
    ticks = [at(0, "10"), at(1, "17"), at(2, str(17 - Decimal(fall)))]
    assert fired("rsi", ticks, rsi_period=2) == sides


@pytest.mark.parametrize(("price", "second", "sides"), [("102", 300, 1), ("101.999999999", 300, 0), ("102", 301, 0)])
def test_rapid_move_boundary(price: str, second: int, sides: int) -> None:
    """Exactly 2 % fires, exactly 300 s ago is in the window."""
    assert fired("rapid_move", [at(0, "100"), at(second, price)]) == [(1, "up")] * sides


@pytest.mark.parametrize(("second", "sides"), [(900, 0), (901, 1), (DAY, 0)])
def test_gap_boundary(second: int, sides: int) -> None:
    """More than 900 s within a day is a gap, overnight is none."""
    assert fired("gap", [at(0, "1"), at(second, "1")]) == [(1, "up")] * sides


@pytest.mark.parametrize(
    ("tick", "side"),
    [
        (at(1, "10", high="10", low="10", open="10"), []),
        (at(1, "10.000000001", high="10"), ["up"]),
        (at(1, "9.999999999", low="10"), ["down"]),
        (at(1, "10", high="10", open="11"), ["up"]),
        (at(DAY, "10", "10.1"), []),
        (at(DAY, "10", "10.100000001"), ["up"]),
        (at(DAY, "10", "9.899999999"), ["down"]),
        (at(5 * DAY, "10", "20"), []),
        (at(DAY, "1", "1"), []),
    ],
)
def test_inconsistent_boundary(tick: Tick, side: list[str]) -> None:
    """A range holds exactly, a previous close within 1 % of the last session's price, or adjusted for a split."""
    assert [direction for _, direction in fired("inconsistent", [at(0, "10", "9"), tick])] == side


@pytest.mark.parametrize(
    ("price", "close", "side"),
    [
        ("51.5", None, ["down"]),
        ("51.6", None, []),
        ("10.2", "100", ["down"]),
        ("1030", None, ["up"]),
        ("66.666666667", "100", []),
        ("66.666666667", "66.67", ["down"]),
        ("45", "50", ["down"]),
        ("100", "50", []),
    ],
)
def test_split_boundary(price: str, close: str | None, side: list[str]) -> None:
    """Whole ratios are seen in the price, 3:2 only where the previous close was adjusted."""
    last = None if close is None else "99"
    found = fired("split", [at(0, "100", last), at(DAY, price, close)])
    assert [direction for _, direction in found] == side


@pytest.mark.parametrize("first", range(7))
def test_a_short_squeeze_is_no_split(first: int) -> None:
    """GameStop's closes of January and February 2021 pass, wherever one begins to look."""
    closes = ["43.03", "65.01", "76.79", "147.98", "347.51", "193.60", "325.00", "225.00", "90.00"]
    ticks = [at(DAY * day, price, closes[day - 1] if day else None) for day, price in enumerate(closes)]
    assert fired("split", ticks[first:]) == []


@pytest.mark.parametrize("prices", [(1, 10**9), (10**9, 10**18), (9_199_999_999 * 10**9, 1), (5, 5)])
@pytest.mark.parametrize("step_us", [100, 31_536_000_000_000])
def test_extremes_fail_no_rule(prices: tuple[int, int], step_us: int) -> None:
    """Huge jumps, no variance, a tick a year and 10,000 a second: no rule fails, and its numbers have their digits."""
    rules = Rules.of(*(rule.name for rule in RULES))
    detector = Detector(rules)
    state = detector.new_state("A")
    for index in range(60):
        micros = START_MS * 1000 + index * step_us
        stamp = f"{timestamp_of(micros // 1000)[:23]}{micros % 1000:03}Z"
        price = prices[index // 20 % 2]
        detection = detector.detect(state, Tick("A", stamp, price, previous_close=prices[0], volume=index))
        assert detection.failures == ()
        assert all(abs(value) < 10**38 for value in detection.values if isinstance(value, int))


def test_contradictory_numbers_are_refused() -> None:
    """One line names the settings."""
    with pytest.raises(ValueError, match="MACD_FAST"):
        Detector(Rules.of("macd", macd_fast=26))
    with pytest.raises(ValueError, match="RSI_OVERSOLD"):
        Detector(Rules.of("rsi", rsi_oversold=70))
