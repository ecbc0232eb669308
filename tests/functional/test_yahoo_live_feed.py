"""The streamed feed: yfinance's own WebSocket, in a process of its own, against a stand-in for Yahoo."""

import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.functional.kinesis_stub import KinesisStub
from tests.functional.test_produce_command import environment, events, start
from tests.waiting import wait_for
from tests.yahoo.running_feed import RunningFeed
from tests.yahoo.stand_in import StandIn, quote

__all__ = ["environment"]  # a fixture


@pytest.fixture
def yahoo(tmp_path: Path) -> Iterator[StandIn]:
    """Run a stand-in that knows AAPL and BTC-USD."""
    with StandIn(tmp_path).running() as stand_in:
        stand_in.quotes = {symbol: quote(symbol, 100) for symbol in ("AAPL", "BTC-USD")}
        yield stand_in


def feed_of(yahoo: StandIn, folder: Path, *flags: str) -> RunningFeed:
    """Prepare a feed of the two symbols."""
    return RunningFeed(folder, yahoo.environment(), "yahoo-live", "--symbols", "AAPL,BTC-USD", *flags)


def from_source(ticks: list[dict[str, Any]], source: str) -> list[float]:
    """Give the prices of the ticks from there."""
    return [tick["price"] for tick in ticks if tick["source"] == source]


def test_streamed_quotes_are_published_at_once(environment: dict[str, str], yahoo: StandIn) -> None:
    """`tickertape produce` publishes streamed quotes within a second, polled ones while the stream is away."""
    with KinesisStub().running() as kinesis:
        aws = {name: value for name, value in environment.items() if name.startswith("AWS_")}
        settings = {"FEED": "yahoo-live", "SYMBOLS": "AAPL,BTC-USD", "FEED_INTERVAL_SECONDS": "0.5"}
        process = start(yahoo.environment() | aws | settings | {"AWS_ENDPOINT_URL": kinesis.url})
        ticks = kinesis.accepted["AAPL"]
        wait_for(lambda: ticks and yahoo.subscriptions)
        latencies = []
        for number in range(1, 21):
            sent = time.monotonic()
            assert yahoo.stream("AAPL", number) == 1
            wait_for(lambda: number in from_source(ticks, "yahoo-live"))  # noqa: B023  (waited for here)
            latencies.append(time.monotonic() - sent)
        polls = len(yahoo.requests)
        time.sleep(1)
        assert len(yahoo.requests) <= polls + 1  # one may have been under way when the stream came up

        yahoo.refuses_streams = True
        yahoo.drop_streams()
        polled = len(from_source(ticks, "yahoo"))
        wait_for(lambda: len(from_source(ticks, "yahoo")) >= polled + 3)
        yahoo.refuses_streams = False
        wait_for(lambda: yahoo.stream("AAPL", 21))
        wait_for(lambda: 21 in from_source(ticks, "yahoo-live"))

        stopped = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0, stderr
    assert time.monotonic() - stopped < 5
    assert sorted(latencies)[-2] < 1  # of 20, one may fall into a pause of this machine
    assert from_source(ticks, "yahoo-live")[:20] == list(range(1, 21))
    names = [event["event"] for event in events(stderr) if event["event"] != "published"]
    assert names == ["producer_started", "stream_up", "stream_down", "stream_up", "producer_stopped"]


ODD_MESSAGES = [
    "not JSON",
    "[1]",
    "null",
    '{"type": "pricing", "message": 7}',
    '{"type": "pricing", "message": "A"}',
    '{"type": "pricing", "message": "/////w=="}',
    '{"type": "pricing", "message": ""}',
    '{"type": "heartbeat"}',
]


def test_every_good_message_that_arrives_is_given(yahoo: StandIn, tmp_path: Path) -> None:
    """Odd messages are counted, and those around them given, exactly; so are those on their way when it hangs up."""
    with feed_of(yahoo, tmp_path, "--interval", "30", "--silence", "900", "--speed", "20").running() as feed:
        wait_for(lambda: yahoo.subscriptions)
        for number, odd in enumerate(ODD_MESSAGES, start=1):
            yahoo.stream("AAPL", number)
            yahoo.send(odd, "AAPL")
            yahoo.send(odd, "AAPL")
        for price in (0, -1, float("nan"), float("inf")):
            yahoo.stream("AAPL", price)
        yahoo.stream("AAPL", 5, time=0)
        yahoo.stream("AAPL", 5, time=4_000_000_000_000)
        yahoo.stream("BTC-USD", 94745.08, **BITCOIN)
        yahoo.stream("AAPL", 230.12, change=1.62, market_hours=2, previous_close=0)
        yahoo.stream("AAPL", 230.13, previous_close=228.5, change=9, day_volume=5)
        wait_for(lambda: 230.13 in from_source(feed.ticks(), "yahoo-live"))
        streamed = [tick for tick in feed.ticks() if tick["source"] == "yahoo-live"]
        assert [tick["price"] for tick in streamed[: len(ODD_MESSAGES)]] == list(range(1, len(ODD_MESSAGES) + 1))
        assert streamed[len(ODD_MESSAGES)] == {
            "symbol": "BTC-USD",
            "timestamp": "2025-01-10T11:39:00.000000Z",
            "price": 94745.08,
            "open": 92529.99,
            "high": 95227.555,
            "low": 92517.22,
            "previous_close": 93313.19,
            "volume": 59712028672,
            "source": "yahoo-live",
            "currency": "USD",
        }
        assert "previous_close" not in streamed[-2]
        assert (streamed[-1]["previous_close"], streamed[-1]["volume"]) == (228.5, 5)
        wait_for(lambda: feed.events("yahoo_streamed"))
        assert yahoo.connections == 1
        assert [sorted(symbols) for symbols in yahoo.subscriptions[:4]] == [["AAPL", "BTC-USD"]] * 4  # again each 15 s
        counts = feed.events("yahoo_streamed")[-1]
        assert counts["bad_messages"] == 2 * len(ODD_MESSAGES) + 6
        assert counts["ticks"] == len(ODD_MESSAGES) + 3

        for number in range(1000):
            yahoo.stream("AAPL", 1000 + number)
        yahoo.end_streams()
        wait_for(lambda: from_source(feed.ticks(), "yahoo-live")[-1000:] == list(range(1000, 2000)))
        wait_for(lambda: yahoo.connections == 2)


BITCOIN = {
    "time": 1736509140000,
    "change": 1431.8906,
    "open_price": 92529.99,
    "day_high": 95227.555,
    "day_low": 92517.22,
    "day_volume": 59712028672,
}
"""As Yahoo streams it: without a previous close."""


def test_a_silent_stream_is_replaced_while_a_market_is_open(yahoo: StandIn, tmp_path: Path) -> None:
    """Silence leads to polling, and in an open market to a new connection; in a closed one the stream is left alone."""
    with feed_of(yahoo, tmp_path, "--interval", "10", "--silence", "20", "--speed", "20").running() as feed:
        wait_for(lambda: yahoo.connections == 1 and yahoo.stream("AAPL", 1))
        wait_for(lambda: 1 in from_source(feed.ticks(), "yahoo-live"))
        polls = len(yahoo.requests)
        wait_for(lambda: yahoo.connections == 3)  # one after the other was silent
        assert len(yahoo.requests) > polls
        assert [event["reason"] for event in feed.events("stream_down")] == ["silent for 20 s"]
        wait_for(lambda: yahoo.stream("BTC-USD", 2) == 1)
        wait_for(lambda: 2 in from_source(feed.ticks(), "yahoo-live"))

        for said in yahoo.quotes.values():
            said["marketState"] = "CLOSED"
        polled = len(yahoo.requests)
        wait_for(lambda: len(yahoo.requests) > polled)
        time.sleep(1.2)  # a connection that was silent before the feed knew may yet be replaced
        connections, polled = yahoo.connections, len(yahoo.requests)
        time.sleep(3)  # 60 s for the feed
        assert yahoo.connections == connections
        assert len(yahoo.requests) <= polled + 1
        assert yahoo.stream("AAPL", 3) == 1
        wait_for(lambda: 3 in from_source(feed.ticks(), "yahoo-live"))


def test_connections_are_not_hurried(yahoo: StandIn, tmp_path: Path) -> None:
    """While Yahoo refuses streams, the feed tries ever more rarely, says so once, and gives polled quotes."""
    yahoo.refuses_streams = True
    with feed_of(yahoo, tmp_path, "--interval", "10", "--speed", "20").running() as feed:
        wait_for(lambda: len(feed.ticks("AAPL")) >= 8)
        assert 2 <= len(yahoo.refused) <= 9
        gaps = [after - before for before, after in pairwise(yahoo.refused)]
        assert gaps[-1] > gaps[0]
        assert len(feed.events("stream_down")) == 1
        assert "503" in feed.events("stream_down")[0]["reason"]
        assert not from_source(feed.ticks(), "yahoo-live")
        assert not feed.events("stream_up")
