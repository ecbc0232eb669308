"""Quotes streamed by Yahoo Finance, by way of yfinance; polled while there is no stream."""

import logging
import queue
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from common.tick import Tick
from producer.clock import Clock
from producer.feeds.yahoo import Poller, brief, name_from, price_from, timestamp_from, volume_from
from producer.settings import ProducerSettings
from producer.wire import QuotedTick

log = logging.getLogger(__name__)

_RESUBSCRIBE_SECONDS = 15  # as yfinance's asynchronous client does
_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 1.0, 60.0  # between connections
_WATCH_SECONDS = 0.2
_REPORT_SECONDS = 60
_REGULAR_HOURS = 1


def open_feed(settings: ProducerSettings, clock: Clock) -> Iterator[Tick]:
    """Open it as the settings say."""
    return yahoo_live(
        settings.symbols,
        silence_seconds=settings.stream_silence_seconds,
        interval_seconds=settings.feed_interval_seconds,
        closed_interval_seconds=settings.market_closed_interval_seconds,
        extended_hours=settings.extended_hours,
        clock=clock,
    )


def yahoo_live(
    symbols: Sequence[str],
    *,
    silence_seconds: float,
    interval_seconds: float,
    closed_interval_seconds: float,
    extended_hours: bool = False,
    clock: Clock,
) -> Iterator[Tick]:
    """Give quotes as Yahoo streams them; those of the feed `yahoo` at first, and while the stream is down or silent.

    A stream that is silent for ``silence_seconds`` while a market is open is given up for a new connection.
    """
    arrivals: queue.SimpleQueue[Tick | BaseException] = queue.SimpleQueue()
    poller = Poller(  # imports yfinance, which two threads must not do at a time
        symbols,
        interval_seconds=interval_seconds,
        closed_interval_seconds=closed_interval_seconds,
        extended_hours=extended_hours,
        clock=clock,
    )
    stream = _Stream(symbols, arrivals.put, silence_seconds=silence_seconds, clock=clock)

    def poll_while_down() -> None:
        while clock.sleep_until(poller.due) and stream.is_down.wait():
            for tick in poller.poll():
                arrivals.put(tick)

    for work in (stream.run, poll_while_down):
        threading.Thread(target=_run, args=(work, arrivals.put), name=work.__name__, daemon=True).start()
    while clock.sleep_until(clock.monotonic()):
        with suppress(queue.Empty):
            arrived = arrivals.get(timeout=_WATCH_SECONDS)
            if isinstance(arrived, BaseException):
                raise arrived
            yield arrived
        stream.watch(market_is_open=poller.market_is_open)


def _run(work: Callable[[], None], tell: Callable[[BaseException], None]) -> None:
    try:
        work()
    except BaseException as error:  # who reads the feed raises it
        tell(error)


class _Stream:
    """One connection after another, whose quotes are delivered as they arrive.

    yfinance connects, subscribes and decodes. When to give up a connection, and when to open the next, is decided here.
    """

    def __init__(
        self, symbols: Sequence[str], deliver: Callable[[Tick], None], *, silence_seconds: float, clock: Clock
    ) -> None:
        self._symbols = frozenset(symbols)
        self._deliver = deliver
        self._silence = silence_seconds
        self._clock = clock
        self._socket: Any = None  # yfinance has no types; None while there is no connection
        self._heard = self._asked = clock.monotonic()
        self._counts = Counter(connections=0, ticks=0, bad_messages=0)
        self._report_at = clock.monotonic() + _REPORT_SECONDS
        self.is_down = threading.Event()
        """No quote has arrived from this connection, or none for too long."""
        self.is_down.set()
        self._has_said_so = False

    def run(self) -> None:
        """Connect, again and again."""
        rest = _FIRST_REST_SECONDS
        resume = self._clock.monotonic()
        while self._clock.sleep_until(resume):
            before = self._counts["ticks"]
            self._say_down(self._connect_and_listen())
            rest = _FIRST_REST_SECONDS if self._counts["ticks"] > before else min(2 * rest, _LONGEST_REST_SECONDS)
            resume = self._clock.monotonic() + rest * random.uniform(0.5, 1)  # noqa: S311  (jitter)

    def watch(self, *, market_is_open: bool) -> None:
        """Look after the connection; call this often."""
        now = self._clock.monotonic()
        socket = self._socket
        if socket is not None and now - self._asked > _RESUBSCRIBE_SECONDS:
            self._asked = now
            with suppress(Exception):  # whatever is wrong with the connection, the thread that listens finds out
                socket.subscribe([])  # all that it has subscribed to
        if now - self._heard > self._silence:
            self._say_down(f"silent for {self._silence:g} s")
            if socket is not None and market_is_open:
                self._heard = now
                threading.Thread(target=socket.close, daemon=True).start()  # may wait 10 s for Yahoo's farewell
        if now >= self._report_at:
            log.info("yahoo_streamed", extra=dict(self._counts))
            self._report_at = now + _REPORT_SECONDS

    def _connect_and_listen(self) -> str:
        """Listen until the connection is lost, and give the reason."""
        import yfinance  # noqa: PLC0415  (2.5 s and 150 MB that other feeds do not pay for)
        from google.protobuf.message import (  # type: ignore[import-untyped]  # noqa: PLC0415  (as is yfinance, with which it comes)
            DecodeError,
        )

        yfinance.config.debug.hide_exceptions = False  # lest a lost connection and an odd message look alike
        socket = yfinance.WebSocket(verbose=False)
        try:
            socket.subscribe(sorted(self._symbols))
            self._counts["connections"] += 1
            self._heard = self._asked = self._clock.monotonic()
            self._socket = socket
            while True:
                try:
                    socket.listen(self._receive)
                except (ValueError, TypeError, AttributeError, DecodeError):  # of one message; others may follow
                    self._counts["bad_messages"] += 1
        except Exception as error:  # refused, lost, closed by us, in any of several libraries' words: open another
            return brief(error)
        finally:
            self._socket = None
            with suppress(Exception):  # it is lost anyhow
                socket.close()

    def _receive(self, message: dict[str, Any]) -> None:
        symbol = message.get("id")
        timestamp = timestamp_from(message.get("time"), 1, self._clock)
        price = price_from(message.get("price"))
        if symbol not in self._symbols or timestamp is None or price is None:
            self._counts["bad_messages"] += 1
            return
        self._heard = self._clock.monotonic()
        self._counts["ticks"] += 1
        self._deliver(
            QuotedTick(
                symbol=symbol,
                timestamp=timestamp,
                price=price,
                open=price_from(message.get("open_price")),
                high=price_from(message.get("day_high")),
                low=price_from(message.get("day_low")),
                previous_close=_previous_close(message),
                volume=volume_from(message.get("day_volume")),
                source="yahoo-live",
                currency=name_from(message.get("currency")),
                exchange=name_from(message.get("exchange")),
            )
        )
        if self.is_down.is_set():
            self.is_down.clear()
            self._has_said_so = False
            log.info("stream_up")

    def _say_down(self, reason: str) -> None:
        self.is_down.set()
        if not self._has_said_so:
            self._has_said_so = True
            log.warning("stream_down", extra={"reason": reason})


def _previous_close(message: dict[str, Any]) -> int | None:
    """Before and after regular hours, ``change`` is counted from another price than the previous close."""
    if "previous_close" in message or message.get("market_hours") != _REGULAR_HOURS:
        return price_from(message.get("previous_close"))
    try:
        difference = Decimal(str(message["price"])) - Decimal(str(message.get("change")))
        return price_from(round(difference, int(message.get("price_hint", 2))))
    except (InvalidOperation, ValueError):
        return None
