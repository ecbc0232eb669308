"""The rule `unusual`: on its edges, on real bars at three rates, from extreme to extreme, and after restarts."""

import random
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from common.tick import PRICE_LIMIT, PRICE_UNITS, Tick, fixed, timestamp_of
from consumer.detection import Detector, Rules, SavedState
from tests import oracle
from tests.detecting import Seen, see_all, seen

DATA = Path(__file__).parents[1] / "data"
START_MS = 1_689_000_000_000
HIGHEST = PRICE_LIMIT * PRICE_UNITS - 1


def only(rate: str = "0.001") -> Rules:
    """Have no other rule on."""
    return Rules.of("unusual", unusual_rate=Decimal(rate), alert_cooldown_seconds=0)


def ticks_at(prices: Iterable[int]) -> list[Tick]:
    """Make a tick a minute; prices are in 10⁻⁹."""
    return [Tick("A", timestamp_of(START_MS + 60_000 * minute), price) for minute, price in enumerate(prices)]


def forecasts(prices: Iterable[int], rate: str = "0.001") -> list[Seen]:
    """See what the rule says of prices."""
    return see_all(ticks_at(prices), only(rate))


def real_prices() -> list[int]:
    """3,500 closes of INDA."""
    return [fixed(bar["price"]) for bar in oracle.bars(DATA / "inda_1min.csv", "INDA")]


def is_rate_kept(prices: Iterable[int], rate: str) -> bool:
    """Tell whether the share of ticks with a side is within a tenth of the rate after 500 ticks."""
    sides = [one.sides["unusual"] != 0 for one in forecasts(prices, rate)][500:]
    due = Fraction(rate) * len(sides)
    return abs(sum(sides) - due) <= due / 10


# --- edges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["0.1", "0.001"])
@pytest.mark.parametrize("step", [100, 10**4, 10**9])
@pytest.mark.parametrize(
    ("edge", "off", "side"),
    [
        ("expected_high", -1, 0),
        ("expected_high", 0, 0),
        ("expected_high", 1, 1),
        ("expected_low", 1, 0),
        ("expected_low", 0, 0),
        ("expected_low", -1, -1),
    ],
)
def test_on_the_edge_is_inside(rate: str, step: int, edge: str, off: int, side: int) -> None:
    """What is expected depends on the ticks before alone; a unit beyond it fires, and carries the edge."""
    before = [50 * 10**9 + step * (minute % 3) for minute in range(40)]
    expected = forecasts([*before, before[-1]], rate)[-1].values[edge]
    found = forecasts([*before, expected + off], rate)[-1]
    assert found.values[edge] == expected
    assert found.sides["unusual"] == side
    told = [(alert.direction, alert.severity, alert.value, alert.threshold) for alert in found.alerts]
    assert told == ([("up" if side > 0 else "down", "warning", expected + off, expected)] if side else [])


def test_twenty_ticks_are_learnt_from_before_anything_is_expected() -> None:
    """The first has no return, the second gives the scale; a jump before the 23rd is outside of nothing."""
    found = forecasts([10**9 + minute % 2 for minute in range(30)])
    assert [one.values["expected_low"] is None for one in found] == [True] * 22 + [False] * 8
    jump = [10**9 + minute % 2 for minute in range(21)] + [10**12]
    assert not any(one.alerts for one in forecasts(jump))


def test_one_move_is_one_alert() -> None:
    """Ticks that stay outside on the same side are counted, but fire once."""
    found = forecasts([10**11 + minute % 2 * 10**7 for minute in range(40)] + [10**11 + 10**10, 10**11 + 10**13])
    assert [one.sides["unusual"] for one in found[-2:]] == [1, 1]
    assert [len(one.alerts) for one in found[-2:]] == [1, 0]


def test_what_a_tick_teaches_worked_out_by_hand() -> None:
    """A mean return of 1 % and a multiplier of -ln 0.1; then a tick outside, one far outside, and one inside."""
    usual = oracle._Usual(Decimal("0.1"))  # the oracle's own arithmetic is what is checked here
    assert usual.see(Fraction(100), Fraction(101), 10**7) is None
    assert (usual.scale, usual.multiplier) == (Fraction(1, 100), Fraction("2.302585"))
    usual.see(Fraction(100), Fraction(103), 3 * 10**7)
    assert (usual.scale, usual.multiplier) == (Fraction("0.012"), Fraction("2.392585"))
    usual.see(Fraction(100), Fraction(200), 10**9)
    assert (usual.scale, usual.multiplier) == (Fraction("0.0204"), Fraction("2.482585"))
    usual.see(Fraction(100), Fraction(100), 0)
    assert (usual.scale, usual.multiplier) == (Fraction("0.0204"), Fraction("2.472585"))


@pytest.mark.parametrize("rate", ["0", "-0.1", "0.000000999999", "0.500001", "10"])
def test_rates_that_are_none_are_refused(rate: str) -> None:
    """A share of all ticks is above 0, and above a half it would be usual."""
    with pytest.raises(ValueError, match=r"UNUSUAL_RATE \(.*\) must be from 0.000001 to 0.5"):
        Detector(only(rate))


# --- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["0.1", "0.01"])
def test_the_share_outside_is_the_rate_on_real_bars(rate: str) -> None:
    """Within a tenth of it after 500 ticks, though minutes are quiet, busy and after a night."""
    assert is_rate_kept(real_prices(), rate)


def test_one_in_a_thousand_is_a_handful_on_real_bars() -> None:
    """Of 3,000 ticks three: a tenth of that cannot be seen, but not ten times as many, and not none."""
    assert 1 <= sum(one.sides["unusual"] != 0 for one in forecasts(real_prices())[500:]) <= 6


def _quiet_and_wild(chance: random.Random) -> Callable[[int], float]:
    return lambda minute: chance.gauss(0, 1e-5 if minute // 700 % 2 else 1e-3)


_RETURNS: dict[str, Callable[[random.Random], Callable[[int], float]]] = {
    "normal": lambda chance: lambda _: chance.gauss(0, 1e-4),
    "exponential": lambda chance: lambda _: chance.expovariate(1e4) * chance.choice([-1, 1]),
    "heavy tails": lambda chance: lambda _: 1e-4 * (chance.paretovariate(3) - 1) * chance.choice([-1, 1]),
    "mostly standing still": lambda chance: lambda _: chance.gauss(0, 1e-4) if chance.random() < 0.2 else 0.0,
    "quiet and wild": _quiet_and_wild,
}


@pytest.mark.parametrize("rate", ["0.1", "0.02"])
@pytest.mark.parametrize("kind", _RETURNS)
def test_the_share_outside_is_the_rate_whatever_the_returns_are(kind: str, rate: str) -> None:
    """Nothing is assumed of returns: the share comes right with thin tails, heavy ones and changing ones."""
    next_return = _RETURNS[kind](random.Random(7))
    prices, price = [], 50e9
    for minute in range(6000):
        price *= 1 + next_return(minute)
        prices.append(round(price))
    assert is_rate_kept(prices, rate)


# --- extremes and restarts ------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["0.5", "0.001", "0.000001"])
def test_extreme_prices_stay_in_their_columns(rate: str) -> None:
    """A price is expected between 0 and the highest there is, also after returns of 10²⁸."""
    chance = random.Random(3)
    prices = [chance.choice([1, 2, 10**9, HIGHEST]) for _ in range(400)]
    for one in forecasts(prices, rate)[30:]:
        low, high = one.values["expected_low"], one.values["expected_high"]
        assert 0 <= low <= high <= HIGHEST + 1


def test_a_price_that_stands_still_fires_nothing() -> None:
    """Neither while it never moved, nor after it did."""
    assert not any(one.alerts for one in forecasts([10**9] * 500))
    assert not any(one.alerts for one in forecasts([10**9] + [10**9 + 1] * 500))


def test_moves_after_a_standstill_are_not_a_burst_of_alerts() -> None:
    """A night of equal quotes leaves the scale: at most the first move is taken as unusual."""
    chance = random.Random(5)
    day = [10**11 + round(chance.gauss(0, 1e7)) for _ in range(300)]
    found = forecasts([*day, *[day[-1]] * 2000, *day])
    assert sum(len(one.alerts) for one in found[2300:]) <= 2


@pytest.mark.parametrize("rate", ["0.1", "0.001"])
def test_restarts_change_nothing(rate: str) -> None:
    """Written to a snapshot and read again every few ticks, each forecast is the oracle's to the last digit."""
    detector = Detector(only(rate))
    state, usual, last = detector.new_state("A"), oracle._Usual(Decimal(rate)), None
    for number, tick in enumerate(ticks_at(real_prices()[:700])):
        if number and number % 7 == 0:
            saved = msgspec.msgpack.decode(msgspec.msgpack.encode(detector.save(state)), type=SavedState)
            state = detector.restore("A", saved, detector.rules)
        found, price = seen(detector, state, tick).values, Fraction(tick.price, 10**9)
        expected = usual.see(last, price, round(10**9 * (price - last) / last)) if last else None
        edges = (None, None) if expected is None else tuple(int(edge * 10**9) for edge in expected)
        assert (found["expected_low"], found["expected_high"]) == edges
        last = price
