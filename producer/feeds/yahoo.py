"""Quotes polled from Yahoo Finance, by way of yfinance."""

import http
import logging
import math
import random
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from common.tick import VOLUME_LIMIT, NotATickError, Tick, fixed, timestamp_of
from producer.clock import Clock
from producer.settings import ProducerSettings
from producer.wire import QuotedTick

log = logging.getLogger(__name__)

_QUOTES_URL = "https://query1.finance.yahoo.com/v7/finance/quote"
_SYMBOLS_PER_REQUEST = 50
_ANSWER_SECONDS = 10

_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 30.0, 900.0  # when Yahoo asks for fewer requests
_LONGEST_ABSENCE_SECONDS = 3600.0  # until a symbol that Yahoo does not know is asked for again
_LONGEST_LEAD_SECONDS = 300  # of a quote's time before ours: consumers refuse more
_REPORT_SECONDS = 60
_HOURS = ("pre", "post")
_LONGEST_NAME = 64


def open_feed(settings: ProducerSettings, clock: Clock) -> Iterator[Tick]:
    """Open it as the settings say."""
    return yahoo(
        settings.symbols,
        interval_seconds=settings.feed_interval_seconds,
        closed_interval_seconds=settings.market_closed_interval_seconds,
        extended_hours=settings.extended_hours,
        clock=clock,
    )


def yahoo(
    symbols: Sequence[str],
    *,
    interval_seconds: float,
    closed_interval_seconds: float,
    extended_hours: bool = False,
    clock: Clock,
) -> Iterator[Tick]:
    """Ask for all symbols every ``interval_seconds``, without drift, and give those whose market time has grown.

    A symbol whose market is closed is asked for every ``closed_interval_seconds`` only. With ``extended_hours``, quotes
    from before and after regular hours are given, too, whose source is ``yahoo-pre`` or ``yahoo-post``; a market is
    not closed then. Whatever Yahoo answers, or does not, the feed goes on until its clock says that it should end.
    """
    poller = Poller(
        symbols,
        interval_seconds=interval_seconds,
        closed_interval_seconds=closed_interval_seconds,
        extended_hours=extended_hours,
        clock=clock,
    )
    while clock.sleep_until(poller.due):
        yield from poller.poll()


class Poller:
    """Asks Yahoo for quotes, and knows when to ask for what.

    The parameters are those of `yahoo`.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        interval_seconds: float,
        closed_interval_seconds: float,
        extended_hours: bool = False,
        clock: Clock,
    ) -> None:
        from yfinance.data import YfData  # noqa: PLC0415  (2.5 s and 150 MB that other feeds do not pay for)

        logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # we say once what it says at every request
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="yfinance")  # its developers' business
        self._yahoo = YfData()
        self._interval = interval_seconds
        self._closed_interval = closed_interval_seconds
        self._extended_hours = extended_hours
        self._clock = clock
        self.due = clock.monotonic()
        """When to poll next."""
        self._ask_at: dict[str, float] = dict.fromkeys(symbols, -math.inf)
        self._absences: dict[str, float] = {}  # of symbols that Yahoo does not know: how long they are left alone
        self._open: dict[str, bool] = {}
        self._latest: dict[str, str] = {}  # timestamps
        self._rest = 0.0  # instead of the interval, while Yahoo asks for fewer requests
        self._is_failing = False
        self._counts = Counter(requests=0, failed=0, rate_limited=0, ticks=0, unchanged=0, bad_quotes=0)
        self._report_at = self.due + _REPORT_SECONDS

    @property
    def market_is_open(self) -> bool:
        """Some symbol's market has regular hours, as far as we know; may be asked while another thread polls."""
        markets = self._open.copy()
        return not markets or any(markets.values())

    def poll(self) -> Iterator[Tick]:
        """Ask once for the symbols that are due, and plan the next poll."""
        self.due += self._interval * ((self._clock.monotonic() - self.due) // self._interval)  # if we come late
        soon = self.due + self._interval / 2  # sums of intervals are not exact
        due = [symbol for symbol, moment in self._ask_at.items() if moment <= soon]
        if due:
            # What failed the last time comes first, lest a limit that is always reached leaves out the same symbols.
            yield from self._ask_for(sorted(due, key=self._ask_at.__getitem__))
        self._report()
        pace = max(self._interval, self._rest * random.uniform(0.75, 1.25))  # noqa: S311  (jitter)
        self.due += pace * (1 + (self._clock.monotonic() - self.due) // pace)  # polls that were missed are skipped

    def _ask_for(self, symbols: list[str]) -> Iterator[Tick]:
        failure: Exception | None = None
        unknown: list[str] = []
        for start in range(0, len(symbols), _SYMBOLS_PER_REQUEST):
            if not self._clock.sleep_until(self._clock.monotonic()):
                return
            some = symbols[start : start + _SYMBOLS_PER_REQUEST]
            self._counts["requests"] += 1
            try:
                quotes = self._quotes(some)
            except Exception as error:  # yfinance stumbles over odd answers in many ways; no reason to end
                failure = error
                self._counts["failed"] += 1
                if _asks_for_fewer_requests(error):
                    break
            else:
                unknown += [symbol for symbol in some if symbol not in quotes and symbol not in self._absences]
                for symbol in some:
                    yield from self._settle(symbol, quotes.get(symbol))
        if unknown:
            log.warning("symbols_unknown", extra={"symbols": unknown})
        self._learn_from(failure)

    def _quotes(self, symbols: list[str]) -> dict[str, dict[str, Any]]:
        """Ask Yahoo, for certain: unlike what yfinance's tickers have, this answer comes from no cache."""
        parameters = {"symbols": ",".join(symbols), "formatted": "false"}
        answer = self._yahoo.get_raw_json(_QUOTES_URL, parameters, timeout=_ANSWER_SECONDS)
        return {
            quote.get("symbol", ""): quote for quote in answer["quoteResponse"]["result"] if isinstance(quote, dict)
        }

    def _settle(self, symbol: str, quote: dict[str, Any] | None) -> Iterator[Tick]:
        """Plan when to ask for a symbol again, and give its ticks that are news."""
        if quote is None:
            absence = min(2 * self._absences.get(symbol, self._interval / 2), _LONGEST_ABSENCE_SECONDS)
            self._absences[symbol] = absence
            self._open.pop(symbol, None)
            self._ask_at[symbol] = self.due + absence
            return
        if self._absences.pop(symbol, None):
            log.info("symbol_known_again", extra={"symbol": symbol})
        state = quote.get("marketState")
        self._open[symbol] = state in ("REGULAR", None)
        is_trading = self._open[symbol] or (self._extended_hours and state in ("PRE", "POST"))
        self._ask_at[symbol] = self.due + (0 if is_trading else self._closed_interval)
        yield from self._news(symbol, quote)

    def _news(self, symbol: str, quote: dict[str, Any]) -> Iterator[Tick]:
        regular = self._regular(symbol, quote)
        if regular is None:
            self._counts["bad_quotes"] += 1
            return
        extended = [self._extended(symbol, quote, hours) for hours in _HOURS] if self._extended_hours else []
        later = [tick for tick in extended if tick is not None and tick.timestamp > regular.timestamp]
        quoted = [regular, *sorted(later, key=lambda tick: tick.timestamp)]
        news = [tick for tick in quoted if tick.timestamp > self._latest.get(symbol, "")]
        self._counts["unchanged"] += not news
        self._counts["ticks"] += len(news)
        for tick in news:
            self._latest[symbol] = tick.timestamp
            yield tick

    def _regular(self, symbol: str, quote: dict[str, Any]) -> Tick | None:
        timestamp = timestamp_from(quote.get("regularMarketTime"), 1000, self._clock)
        price = price_from(quote.get("regularMarketPrice"))
        if timestamp is None or price is None:
            return None
        return QuotedTick(
            symbol=symbol,
            timestamp=timestamp,
            price=price,
            open=price_from(quote.get("regularMarketOpen")),
            high=price_from(quote.get("regularMarketDayHigh")),
            low=price_from(quote.get("regularMarketDayLow")),
            previous_close=price_from(quote.get("regularMarketPreviousClose")),
            volume=volume_from(quote.get("regularMarketVolume")),
            source="yahoo",
            currency=name_from(quote.get("currency")),
            exchange=name_from(quote.get("exchange")),
        )

    def _extended(self, symbol: str, quote: dict[str, Any], hours: str) -> Tick | None:
        """Read a quote from before or after regular hours, which has neither a volume nor a range of its own.

        Before regular hours the last regular price is the close of the day before; after them, the day's remains.
        """
        timestamp = timestamp_from(quote.get(f"{hours}MarketTime"), 1000, self._clock)
        price = price_from(quote.get(f"{hours}MarketPrice"))
        if timestamp is None or price is None:
            return None
        close = "regularMarketPrice" if hours == "pre" else "regularMarketPreviousClose"
        return QuotedTick(
            symbol=symbol,
            timestamp=timestamp,
            price=price,
            previous_close=price_from(quote.get(close)),
            source=f"yahoo-{hours}",
            currency=name_from(quote.get("currency")),
            exchange=name_from(quote.get("exchange")),
        )

    def _learn_from(self, failure: Exception | None) -> None:
        """Take a poll's last failure, or that there was none, into account, and say once when that changes things."""
        if failure is None:
            if self._rest:
                log.info("yahoo_rate_limit_over")
            if self._is_failing:
                log.info("yahoo_answers_again")
            self._rest = 0.0
            self._is_failing = False
        elif _asks_for_fewer_requests(failure):
            self._counts["rate_limited"] += 1
            if not self._rest:
                log.warning("yahoo_rate_limited", extra={"error": brief(failure)})
            self._rest = min(max(2 * self._rest, _FIRST_REST_SECONDS), _LONGEST_REST_SECONDS)
        elif not self._is_failing:
            self._is_failing = True
            log.warning("yahoo_does_not_answer", extra={"error": brief(failure)})

    def _report(self) -> None:
        if self._clock.monotonic() >= self._report_at:
            log.info("yahoo_polled", extra=dict(self._counts))
            self._report_at = self._clock.monotonic() + _REPORT_SECONDS


def name_from(value: object) -> str | None:
    """Read a name that is kept in the raw record, as that of a currency; what is none is not known."""
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME else None


def price_from(value: object) -> int | None:
    """Read a price; 0 is how Yahoo writes "not known", and what is no price is not known either."""
    try:
        return fixed(Decimal(str(value)))
    except (InvalidOperation, NotATickError):
        return None


def volume_from(value: object) -> int | None:
    """Read a session's volume; 0 and what is no volume are not known."""
    try:
        volume = Decimal(str(value))
    except InvalidOperation:
        return None
    return round(volume) if volume.is_finite() and 0 < volume < VOLUME_LIMIT else None


def timestamp_from(value: object, unit_ms: int, clock: Clock) -> str | None:
    """Read a quote's time, in units since 1970; one in the future, which would hide all that come later, is none."""
    text = str(value)
    if not text.isdecimal() or len(text) > len("1700000000000"):
        return None
    epoch_ms = int(text) * unit_ms
    latest_ms = (clock.utc().timestamp() + _LONGEST_LEAD_SECONDS) * 1000
    return timestamp_of(epoch_ms) if 0 < epoch_ms <= latest_ms else None


def _asks_for_fewer_requests(error: Exception) -> bool:
    from yfinance.exceptions import YFRateLimitError  # noqa: PLC0415  (as above)

    status = getattr(getattr(error, "response", None), "status_code", None)
    # 401 is what remains when Yahoo gives us no crumb, its token for a session, because there were too many requests.
    return isinstance(error, YFRateLimitError) or status in {http.HTTPStatus.UNAUTHORIZED, 429}


def brief(error: Exception) -> str:
    """Write an error in one line that is not too long."""
    return " ".join(repr(error).split())[:200]
