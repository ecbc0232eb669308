"""A market that never was: no network, and eventful enough to show every kind of alert within a minute or so."""

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from random import Random

from common.tick import PRICE_UNITS, Tick, normalise_timestamp
from producer.clock import Clock
from producer.settings import ProducerSettings

DEFAULT_SYMBOLS = {
    "AAPL": 230.0,
    "AMZN": 220.0,
    "BAC": 46.0,
    "GOOGL": 190.0,
    "JPM": 270.0,
    "KO": 70.0,
    "META": 640.0,
    "MSFT": 450.0,
    "NVDA": 140.0,
    "TSLA": 320.0,
    "WMT": 98.0,
    "XOM": 110.0,
}
"""The symbols that are simulated unless others are asked for, and about what they cost."""

# All of these are per tick, whatever the interval: a demonstration should not take hours to become interesting.
_USUAL_VOLATILITY = 0.0012
_SHOCK_WEIGHT, _VARIANCE_WEIGHT = 0.12, 0.85  # GARCH(1,1): volatility clusters
_PULL = 0.01  # back to the usual price, so that months of jumps do not add up to absurd prices
_JUMP_PROBABILITY = 1 / 120
_JUMP_SIZES = (0.03, 0.09)
_BURST_PROBABILITY = 1 / 100
_BURST_FACTORS = (10, 30)
_CENT = PRICE_UNITS // 100


def open_feed(settings: ProducerSettings, clock: Clock) -> Iterator[Tick]:
    """Open it as the settings say."""
    return simulated(
        settings.symbols,
        interval_seconds=settings.feed_interval_seconds,
        seed=settings.simulation_seed,
        clock=clock,
    )


def simulated(symbols: Sequence[str], *, interval_seconds: float, seed: int | None, clock: Clock) -> Iterator[Tick]:
    """Give one tick of each symbol every ``interval_seconds``, without drift; intervals that were missed are skipped.

    The same seed gives a symbol the same prices and volumes, whatever the other symbols are.
    """
    seed = Random().getrandbits(64) if seed is None else seed  # noqa: S311  (prices, not secrets)
    stocks = [_Stock(symbol, seed) for symbol in symbols or DEFAULT_SYMBOLS]
    start = clock.monotonic()
    beat = 0
    while clock.sleep_until(start + beat * interval_seconds):
        for stock in stocks:
            yield stock.tick(clock.utc())
        missed = int((clock.monotonic() - start) / interval_seconds)
        beat = max(beat, missed) + 1


class _Stock:
    """One symbol: its price, its volatility, and its session, which lasts from midnight to midnight UTC."""

    def __init__(self, symbol: str, seed: int) -> None:
        self._symbol = symbol
        self._random = random = Random(f"{seed}/{symbol}")  # noqa: S311  (prices, not secrets)
        usual_price = DEFAULT_SYMBOLS.get(symbol) or random.uniform(20, 400)
        self._usual = math.log(usual_price)
        self._log_price = self._usual + random.gauss(0, 0.01)
        self._variance = _USUAL_VOLATILITY**2
        self._usual_volume = random.uniform(500, 5000)
        self._day = date.min
        self._price = self._cents()
        self._previous_close = self._open = self._high = self._low = self._price
        self._volume = 0

    def tick(self, now: datetime) -> Tick:
        """Move on by one tick."""
        if now.date() != self._day:
            self._open_session(now.date())
        self._move()
        return Tick(
            symbol=self._symbol,
            timestamp=normalise_timestamp(now.isoformat()),
            price=self._price,
            open=self._open,
            high=self._high,
            low=self._low,
            previous_close=self._previous_close,
            volume=self._volume,
            source="simulated",
        )

    def _open_session(self, day: date) -> None:
        self._day = day
        self._previous_close = self._price
        self._log_price += self._random.gauss(0, 0.01)
        self._price = self._open = self._high = self._low = self._cents()
        self._volume = 0

    def _move(self) -> None:
        random = self._random
        shock = random.gauss(0, math.sqrt(self._variance))
        self._variance = (
            (1 - _SHOCK_WEIGHT - _VARIANCE_WEIGHT) * _USUAL_VOLATILITY**2
            + _SHOCK_WEIGHT * shock**2
            + _VARIANCE_WEIGHT * self._variance
        )
        jumps = random.random() < _JUMP_PROBABILITY
        jump = random.uniform(*_JUMP_SIZES) * random.choice((-1, 1)) if jumps else 0.0
        self._log_price += _PULL * (self._usual - self._log_price) + shock + jump
        self._price = self._cents()
        self._high = max(self._high, self._price)
        self._low = min(self._low, self._price)
        bursts = jumps or random.random() < _BURST_PROBABILITY  # news moves prices and volumes together
        factor = random.uniform(*_BURST_FACTORS) if bursts else random.lognormvariate(0, 0.4)
        self._volume += round(self._usual_volume * factor)

    def _cents(self) -> int:
        return max(1, round(100 * math.exp(self._log_price))) * _CENT
