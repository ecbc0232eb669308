"""The simulated feed: repeatable, consistent, and shaped like a market."""

import statistics
from collections import defaultdict
from datetime import timedelta
from itertools import islice, pairwise

import pytest

from common.tick import PRICE_UNITS, Tick, encode
from producer.feeds.simulated import DEFAULT_SYMBOLS, simulated
from tests.oracle import Record, expect
from tests.unit.fake_clock import FakeClock


def ticks_of(*symbols: str, count: int, seed: int | None = 7, interval: float = 1.0) -> list[Tick]:
    """Give the first ticks of a simulated market."""
    return list(islice(simulated(symbols, interval_seconds=interval, seed=seed, clock=FakeClock()), count))


def returns_of(ticks: list[Tick]) -> list[float]:
    """Give the relative moves of the price."""
    return [after.price / before.price - 1 for before, after in pairwise(ticks)]


def test_same_seed_gives_the_same_market() -> None:
    """A seed decides every tick; another seed gives other ticks."""
    assert ticks_of("AAPL", "KO", count=500) == ticks_of("AAPL", "KO", count=500)
    assert ticks_of("AAPL", "KO", count=500) != ticks_of("AAPL", "KO", count=500, seed=8)


def test_no_seed_gives_a_different_market_each_time() -> None:
    """Without a seed, two starts differ."""
    assert ticks_of("AAPL", count=50, seed=None) != ticks_of("AAPL", count=50, seed=None)


def test_a_symbol_does_not_depend_on_the_others() -> None:
    """Which other symbols are simulated changes nothing for a symbol."""
    alone = ticks_of("KO", count=200)
    among_others = [tick for tick in ticks_of("AAPL", "KO", "ZZZ", count=600) if tick.symbol == "KO"]
    assert among_others == alone


def test_each_interval_has_one_tick_of_each_symbol() -> None:
    """Every interval, each default symbol has one tick, named as simulated, with the clock's time."""
    ticks = ticks_of(count=3 * len(DEFAULT_SYMBOLS), interval=0.5)
    for beat in range(3):
        batch = ticks[beat * len(DEFAULT_SYMBOLS) :][: len(DEFAULT_SYMBOLS)]
        assert [tick.symbol for tick in batch] == list(DEFAULT_SYMBOLS)
        assert {tick.timestamp for tick in batch} == {f"2024-03-04T12:00:0{beat // 2}.{5 * (beat % 2)}00000Z"}
        assert {tick.source for tick in batch} == {"simulated"}


def test_schedule_does_not_drift() -> None:
    """Waits end at multiples of the interval from the start, however long a tick took; missed intervals are skipped."""
    clock = FakeClock()
    feed = simulated(("KO",), interval_seconds=2.0, seed=1, clock=clock)
    for took in (0.5, 1.9, 5.0, 0.0):
        next(feed)
        clock.now += took
    next(feed)
    assert clock.waits == [0.0, 2.0, 4.0, 10.0, 12.0]


def test_feed_ends_when_its_clock_says_so() -> None:
    """The feed is endless until the clock's wait says that it should end."""
    assert len(list(simulated(("KO",), interval_seconds=1, seed=1, clock=FakeClock(end=5)))) == 5


def test_volatility_clusters() -> None:
    """Calm follows calm and storm follows storm: squared returns without jumps are autocorrelated and fat-tailed."""
    returns = [move for move in returns_of(ticks_of("KO", count=20_000)) if abs(move) < 0.02]
    squares = [move**2 for move in returns]
    assert statistics.correlation(squares[:-1], squares[1:]) > 0.15  # independent moves have 0
    variance = statistics.fmean(squares)
    assert statistics.fmean(square**2 for square in squares) / variance**2 > 3.5  # a normal distribution has 3


def test_prices_jump_now_and_then() -> None:
    """About one tick in 120 jumps by 3 to 9 per cent, up as often as down."""
    jumps = [move for move in returns_of(ticks_of("KO", count=20_000)) if abs(move) > 0.025]
    assert 120 < len(jumps) < 215
    assert 0.4 < sum(move > 0 for move in jumps) / len(jumps) < 0.6
    assert max(abs(move) for move in jumps) < 0.12


def test_prices_stay_sane_for_months() -> None:
    """After tens of thousands of jumps and moves the price is still of its usual size, in whole cents."""
    ticks = ticks_of("KO", count=30_000)
    assert all(35 * PRICE_UNITS < tick.price < 140 * PRICE_UNITS for tick in ticks)
    assert all(tick.price % (PRICE_UNITS // 100) == 0 for tick in ticks)


def test_volume_comes_in_bursts() -> None:
    """The session's volume grows with every tick, and now and then by many times the usual."""
    ticks = ticks_of("KO", count=20_000)
    steps = [(after.volume or 0) - (before.volume or 0) for before, after in pairwise(ticks)]
    assert min(steps) > 0
    usual = statistics.median(steps)
    bursts = sum(step > 8 * usual for step in steps)
    assert 200 < bursts < 600


def test_session_is_consistent() -> None:
    """Open, high, low and previous_close fit the prices of the session, which ends at midnight UTC."""
    ticks = ticks_of("KO", count=3000, interval=60)  # two days and more
    days = defaultdict(list)
    for tick in ticks:
        days[tick.timestamp[:10]].append(tick)
    assert len(days) == 3
    for day in days.values():
        high, low = day[0].high, day[0].low
        for tick in day:
            high, low = max(high or 0, tick.price), min(low or 0, tick.price)
            assert (tick.high, tick.low) == (high, low)
            assert low <= (tick.open or 0) <= high
        assert len({(tick.open, tick.previous_close) for tick in day}) == 1
    for before, after in pairwise(days.values()):
        assert after[0].previous_close == before[-1].price
        assert (after[0].volume or 0) < (before[-1].volume or 0)


@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_alert_appears_within_a_minute(seed: int) -> None:
    """At two ticks a second, a minute of the default symbols sets off every rule that needs no level."""
    clock = FakeClock(end=60)
    ticks = simulated((), interval_seconds=0.5, seed=seed, clock=clock)
    arrival = int((clock.utc() + timedelta(seconds=60)).timestamp() * 1000)
    alerts = expect(Record(encode(tick), arrival) for tick in ticks).alerts
    assert {alert["rule"] for alert in alerts.values()} == {
        "sma_cross",
        "price_move",
        "z_score",
        "bollinger",
        "volume_spike",
        "unusual",
    }
