"""The polled feed: yfinance's own code, in a process of its own, against a stand-in for Yahoo."""

import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest

from tests.functional.kinesis_stub import KinesisStub
from tests.functional.test_produce_command import environment, events, start
from tests.waiting import wait_for
from tests.yahoo.running_feed import RunningFeed
from tests.yahoo.stand_in import StandIn, quote

__all__ = ["environment"]  # a fixture


@pytest.fixture
def yahoo(tmp_path: Path) -> Iterator[StandIn]:
    """Run a stand-in that knows AAPL."""
    with StandIn(tmp_path).running() as stand_in:
        stand_in.quotes["AAPL"] = quote("AAPL")
        yield stand_in


class StartFeed(Protocol):
    """How a test starts the feed."""

    def __call__(
        self, *symbols: str, interval: float, closed_interval: float = 300, speed: float, flags: tuple[str, ...] = ()
    ) -> RunningFeed: ...


@pytest.fixture
def feed_of(yahoo: StandIn, tmp_path: Path) -> Iterator[StartFeed]:
    """Start the feed, which runs until the end of the test."""
    with ExitStack() as stack:

        def start_feed(
            *symbols: str, interval: float, closed_interval: float = 300, speed: float, flags: tuple[str, ...] = ()
        ) -> RunningFeed:
            feed = RunningFeed(
                tmp_path,
                yahoo.environment(),
                *("yahoo", "--symbols", ",".join(symbols), "--interval", str(interval)),
                *("--closed-interval", str(closed_interval), "--speed", str(speed)),
                *flags,
            )
            return stack.enter_context(feed.running())

        yield start_feed


def wait_for_requests(yahoo: StandIn, count: int) -> None:
    """Wait until Yahoo got so many more requests for quotes."""
    enough = len(yahoo.requests) + count
    wait_for(lambda: len(yahoo.requests) >= enough)


def test_quotes_are_published(environment: dict[str, str], yahoo: StandIn) -> None:
    """`tickertape produce` publishes each symbol's session as Yahoo tells it, with Yahoo's time, poll after poll."""
    symbols = ["AAPL", "BRK-B", "BTC-USD", "EURUSD=X", "^GSPC"]
    yahoo.quotes |= {symbol: quote(symbol) for symbol in symbols}
    yahoo.quotes["EURUSD=X"] = quote("EURUSD=X", 1.0823456, regularMarketVolume=0, regularMarketOpen=None, exchange=7)
    yahoo.quotes["AAPL"]["regularMarketTime"] = 1700000000
    with KinesisStub().running() as kinesis:
        aws = {name: value for name, value in environment.items() if name.startswith("AWS_")}
        settings = {"FEED": "yahoo", "SYMBOLS": ",".join(symbols), "FEED_INTERVAL_SECONDS": "0.5"}
        process = start(yahoo.environment() | aws | settings | {"AWS_ENDPOINT_URL": kinesis.url})
        wait_for(lambda: kinesis.count >= 15)
        stopped = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0, stderr
    assert time.monotonic() - stopped < 5
    assert {event["event"] for event in events(stderr)} <= {"producer_started", "producer_stopped", "published"}
    assert kinesis.accepted["AAPL"][0] == {
        "symbol": "AAPL",
        "timestamp": "2023-11-14T22:13:21.000000Z",
        "price": 230.12,
        "open": 229.5,
        "high": 231,
        "low": 228.01,
        "previous_close": 228.5,
        "volume": 1234567,
        "source": "yahoo",
        "currency": "USD",
        "exchange": "NMS",
    }
    assert kinesis.accepted["EURUSD=X"][0].keys() == {
        *("symbol", "timestamp", "price", "high", "low", "previous_close", "source", "currency")
    }
    for symbol in symbols:
        times = [tick["timestamp"] for tick in kinesis.accepted[symbol]]
        assert times == sorted(set(times))
    assert all(asked == symbols for _, asked in yahoo.requests)


def test_two_hundred_symbols_keep_the_schedule(feed_of: StartFeed, yahoo: StandIn) -> None:
    """Polls of 200 symbols take four requests each, and as long as that takes, the schedule does not drift.

    What has not traded since the last poll is not given again.
    """
    symbols = [f"S{number}" for number in range(200)]
    yahoo.quotes = {symbol: quote(symbol) for symbol in symbols}
    yahoo.latency = 0.05
    feed = feed_of(*symbols, interval=30, speed=60)
    wait_for_requests(yahoo, 4 * 8)
    yahoo.trades = False
    wait_for_requests(yahoo, 8)
    ticks = len(feed.ticks())
    wait_for_requests(yahoo, 8)
    assert len(feed.ticks()) == ticks

    assert {len(asked) for _, asked in yahoo.requests} == {50}
    polls = [moment for moment, asked in yahoo.requests if asked[0] == "S0"]
    gaps = [after - before for before, after in pairwise(polls)]
    assert 0.45 < statistics.median(gaps) < 0.6  # with a drift it is the interval, 0.5 s, and four answers of 0.05 s
    assert ticks % 50 == 0
    assert {tick["symbol"] for tick in feed.ticks()} == set(symbols)


def test_rate_limits_slow_the_schedule_down(feed_of: StartFeed, yahoo: StandIn) -> None:
    """Told to ask less, the feed does, ever less; it says so once, and recovers by itself as soon as it may."""
    symbols = [f"S{number}" for number in range(120)]
    yahoo.quotes = {symbol: quote(symbol) for symbol in symbols}
    faults = ["429 everywhere", "429", "unauthorized"]  # the first one from the start: neither cookie nor crumb
    yahoo.fault = faults[0]
    feed = feed_of(*symbols, interval=10, speed=100)
    for number, fault in enumerate(faults, start=1):
        yahoo.fault = fault
        wait_for(lambda: len(feed.events("yahoo_rate_limited")) == number)  # noqa: B023  (waited for here)
        yahoo.requests.clear()
        time.sleep(1.5)  # 150 s for the feed: 15 polls, if it went on; rests of 30, 60 and 120 s, as it does not
        moments = [moment for moment, _ in yahoo.requests]
        attempts = 1 + sum(after - before > 0.2 for before, after in pairwise(moments))  # yfinance itself tries twice
        assert 1 <= attempts <= 3
        assert len({tuple(asked) for _, asked in yahoo.requests}) == 1  # a poll's first request is also its last

        yahoo.fault = ""
        given = len(feed.ticks())
        wait_for(lambda: len(feed.ticks()) >= given + 360)  # noqa: B023  (as above)
        assert len(feed.events("yahoo_rate_limited")) == len(feed.events("yahoo_rate_limit_over")) == number


def test_answers_that_are_none_are_survived(feed_of: StartFeed, yahoo: StandIn) -> None:
    """HTML, half an answer, nulls, hang-ups, no answer: the feed says so once, tries on, and gives only good ticks."""
    feed = feed_of("AAPL", interval=10, speed=100)
    faults = ["html", "server error", "truncated", "empty", "null", "null result", "other shape", "hangs up"]
    for number, fault in enumerate([*faults, "unreachable", "slow"]):
        wait_for(lambda: len(feed.events("yahoo_answers_again")) == number)  # noqa: B023  (waited for here)
        before = len(feed.ticks())
        wait_for(lambda: len(feed.ticks()) > before)  # noqa: B023  (as above)
        yahoo.fault = fault
        wait_for(lambda: len(feed.events("yahoo_does_not_answer")) == number + 1)  # noqa: B023  (as above)
        time.sleep(0.3)
        yahoo.fault = ""
    wait_for(lambda: len(feed.events("yahoo_answers_again")) == len(faults) + 2)

    assert len(feed.events("yahoo_does_not_answer")) == len(faults) + 2
    assert {tick["price"] for tick in feed.ticks()} == {230.12}
    times = [tick["timestamp"] for tick in feed.ticks()]
    assert times == sorted(set(times))
    assert not feed.events("symbols_unknown", "yahoo_rate_limited")


BAD_QUOTES = {
    "ZERO": quote("ZERO", 0),
    "NULL": quote("NULL", None),
    "NAN": quote("NAN", float("nan")),
    "BELOW": quote("BELOW", -37.63),
    "HUGE": quote("HUGE", 1e300),
    "TRUE": quote("TRUE", True),
    "TEXT": quote("TEXT", "n/a"),
    "OBJECT": quote("OBJECT", {"raw": 1.0, "fmt": "1.00"}),
    "NO-PRICE": quote("NO-PRICE", ...),
    "NO-TIME": quote("NO-TIME", regularMarketTime=...),
    "NULL-TIME": quote("NULL-TIME", regularMarketTime=None),
    "AT-ZERO": quote("AT-ZERO", regularMarketTime="0"),
    "FUTURE": quote("FUTURE", regularMarketTime=4_000_000_000),
    "ODD-STATE": quote("ODD-STATE", 0, marketState=["?"]),
}


def test_bad_quotes_are_counted_and_their_neighbours_are_given(feed_of: StartFeed, yahoo: StandIn) -> None:
    """A quote without a price or a time is no tick, but counted; one without anything else is a tick."""
    yahoo.quotes |= BAD_QUOTES | {
        "BARE": {"symbol": "BARE", "regularMarketPrice": 5, "regularMarketTime": 1700000000},
        "ODD": quote(
            *("ODD", 1e-7),
            regularMarketOpen="n/a",
            regularMarketDayHigh=float("nan"),
            regularMarketDayLow=-1,
            regularMarketPreviousClose=[1],
            regularMarketVolume=float("inf"),
            currency="x" * 65,
            exchange="",
        ),
        "VOID": None,
    }
    feed = feed_of(*yahoo.quotes, interval=10, closed_interval=1, speed=100)
    wait_for(lambda: feed.events("yahoo_polled"))

    assert {tick["symbol"] for tick in feed.ticks()} == {"AAPL", "BARE", "ODD"}
    assert feed.ticks("BARE")[0] == {
        "symbol": "BARE",
        "timestamp": "2023-11-14T22:13:21.000000Z",
        "price": 5,
        "source": "yahoo",
    }
    assert feed.ticks("ODD")[0].keys() == {"symbol", "timestamp", "price", "source"}
    assert feed.ticks("ODD")[0]["price"] == 1e-7
    counts = feed.events("yahoo_polled")[0]
    assert counts["bad_quotes"] == len(BAD_QUOTES) * counts["requests"]
    assert counts["ticks"] == 3 * counts["requests"]
    assert [event["symbols"] for event in feed.events("symbols_unknown")] == [["VOID"]]


def test_unknown_symbols_are_asked_for_rarely(feed_of: StartFeed, yahoo: StandIn) -> None:
    """A symbol that Yahoo does not know is warned of once and asked for ever more rarely; it may come up yet."""
    feed = feed_of("AAPL", "GONE", interval=10, speed=200)
    wait_for_requests(yahoo, 60)
    asked = [number for number, (_, symbols) in enumerate(yahoo.requests) if "GONE" in symbols]
    assert 5 <= len(asked) <= 7  # after 0, 10, 30, 70, 150, 310 and perhaps 630 s
    gaps = [after - before for before, after in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert [event["symbols"] for event in feed.events("symbols_unknown")] == [["GONE"]]

    yahoo.quotes["GONE"] = quote("GONE", 7)
    wait_for(lambda: len(feed.ticks("GONE")) >= 5)
    assert [event["symbol"] for event in feed.events("symbol_known_again")] == ["GONE"]
    assert len(feed.events("symbols_unknown")) == 1


def test_closed_markets_are_asked_rarely(feed_of: StartFeed, yahoo: StandIn) -> None:
    """A symbol whose market is closed is asked for every closed interval only; those that trade on are not held up."""
    yahoo.quotes |= {"AAPL": quote("AAPL", marketState="POSTPOST"), "BTC-USD": quote("BTC-USD")}
    feed = feed_of("AAPL", "BTC-USD", interval=10, closed_interval=100, speed=100)
    wait_for_requests(yahoo, 35)
    asked = [number for number, (_, symbols) in enumerate(yahoo.requests) if "AAPL" in symbols]
    assert all(5 <= after - before <= 10 for before, after in pairwise(asked))  # fewer than 10 where polls were missed
    assert all("BTC-USD" in symbols for _, symbols in yahoo.requests)

    yahoo.quotes["AAPL"]["marketState"] = "REGULAR"
    before = len(feed.ticks("AAPL"))
    wait_for(lambda: len(feed.ticks("AAPL")) >= before + 5)
    assert all({"AAPL", "BTC-USD"} == set(symbols) for _, symbols in yahoo.requests[-3:])


def extended_quotes() -> dict[str, dict[str, object]]:
    """Quotes of markets before, in and after their regular hours; what Yahoo says of other hours stays there."""
    opens = 1_700_000_000
    before = {"preMarketPrice": 231.5, "preMarketTime": opens + 60_000}
    after = {"postMarketPrice": 229.75, "postMarketTime": opens + 30_000}
    return {
        "BEFORE": quote("BEFORE", 230, marketState="PRE", regularMarketTime=opens, **before),
        "AFTER": quote("AFTER", 230, marketState="POST", regularMarketTime=opens, **after),
        "BOTH": quote("BOTH", 230, marketState="PREPRE", regularMarketTime=opens, **before, **after),
        "OLD": quote("OLD", 230, regularMarketTime=opens, preMarketPrice=1, preMarketTime=opens - 5000),
        "BAD": quote("BAD", 230, marketState="POST", regularMarketTime=opens, postMarketPrice=0, postMarketTime=opens),
    }


def test_extended_hours_are_given_if_wanted(feed_of: StartFeed, yahoo: StandIn) -> None:
    """Before and after regular hours, with EXTENDED_HOURS, quotes have their own price, time and source, in order."""
    yahoo.trades = False
    yahoo.quotes = extended_quotes()
    feed = feed_of(*yahoo.quotes, interval=10, closed_interval=1000, speed=100, flags=("--extended-hours",))
    wait_for_requests(yahoo, 5)

    told = [(tick["symbol"], tick["source"], tick["price"], tick["previous_close"]) for tick in feed.ticks()]
    assert told == [
        ("BEFORE", "yahoo", 230, 228.5),
        ("BEFORE", "yahoo-pre", 231.5, 230),
        ("AFTER", "yahoo", 230, 228.5),
        ("AFTER", "yahoo-post", 229.75, 228.5),
        ("BOTH", "yahoo", 230, 228.5),
        ("BOTH", "yahoo-post", 229.75, 228.5),
        ("BOTH", "yahoo-pre", 231.5, 230),
        ("OLD", "yahoo", 230, 228.5),
        ("BAD", "yahoo", 230, 228.5),
    ]
    pre = feed.ticks("BEFORE")[1]
    assert pre["timestamp"] == "2023-11-15T14:53:20.000000Z"
    assert pre.keys() == {"symbol", "timestamp", "price", "previous_close", "source", "currency", "exchange"}
    assert all(set(asked) == {"BEFORE", "AFTER", "OLD", "BAD"} for _, asked in yahoo.requests[1:])


def test_extended_hours_are_not_given_by_default(feed_of: StartFeed, yahoo: StandIn) -> None:
    """Without EXTENDED_HOURS there are quotes of regular hours only, and other hours are polled rarely."""
    yahoo.trades = False
    yahoo.quotes = extended_quotes()
    feed = feed_of(*yahoo.quotes, interval=10, closed_interval=1000, speed=100)
    wait_for_requests(yahoo, 5)

    assert [tick["source"] for tick in feed.ticks()] == ["yahoo"] * 5
    assert all(asked == ["OLD"] for _, asked in yahoo.requests[1:])


@pytest.mark.skipif(
    os.environ.get("TICKERTAPE_REAL_YAHOO") != "1", reason="asks the real Yahoo: set TICKERTAPE_REAL_YAHOO=1"
)
def test_the_real_yahoo_answers(tmp_path: Path) -> None:
    """The real Yahoo gives a plausible quote of a market that never closes."""
    feed = RunningFeed(tmp_path, os.environ, "yahoo", "--symbols", "BTC-USD", "--interval", "10")
    with feed.running():
        wait_for(feed.ticks, seconds=60)
    tick = feed.ticks()[0]
    assert tick["symbol"] == "BTC-USD"
    assert tick["low"] <= tick["price"] <= tick["high"]
