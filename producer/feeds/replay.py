"""Recorded ticks and bars, at the pace at which they were recorded, or faster."""

import logging
import math
from collections.abc import Iterator
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Self

from common.errors import UserError
from common.tick import NotATickError, Tick
from producer.bars import Quote, QuoteReader
from producer.clock import Clock
from producer.files import Row, RowFile
from producer.numbers import UndecidedError
from producer.reading import Reading
from producer.sessions import Sessions
from producer.settings import ProducerSettings
from producer.spelling import spell, unread_clock

log = logging.getLogger(__name__)

MOST_SORTED_ROWS = 1_000_000
"""Bars of a longer file have to be in order: others would have to be held in memory as a whole."""

_SKIPPED_ROWS_NAMED = 3


def open_feed(settings: ProducerSettings, clock: Clock) -> "Replay":
    """Open the file that is to be replayed, which complains of what is plainly wrong with it."""
    assert settings.replay_file is not None  # noqa: S101  (the settings want it for this feed)
    return Replay(
        settings.replay_file,
        symbol=settings.symbol,
        only=settings.symbols,
        speed=settings.replay_speed,
        clock=clock,
        reading=settings.reading,
    )


class Replay:
    """The ticks of a file, as an iterator.

    A row with a price is a tick and passes as it is, in the file's order. A row with only a close is a bar: its close
    is the price, its volume is added up over its session, previous_close is the symbol's last close of the session
    before. Bars are given in the order of time, and of one that comes twice in a row the last.

    The file is read twice or three times: for what its dates and decimals mean, where that is not plain; for the
    order of its bars; and for the ticks.

    Parameters
    ----------
    path
        The file; its name tells its format.
    symbol
        The symbol of rows that name none.
    only
        Publish these symbols and pass over others; empty means all.
    speed
        How many times faster than recorded; infinite means without waiting.
    clock
        What paces the ticks and ends them.
    reading
        How the file is to be read.

    Raises
    ------
    SettingsError
        The file cannot be opened.
    UserError
        A row cannot be read; the message names the file, the row, and what is wrong with which field. The iterator
        raises it when it gets there; at the beginning if it is the first row, or can be read in two ways.

    """

    def __init__(
        self,
        path: Path,
        *,
        symbol: str | None,
        only: tuple[str, ...],
        speed: float,
        clock: Clock,
        reading: Reading = Reading(),  # noqa: B008  (it does not change)
    ) -> None:
        self._file = RowFile(path, reading)
        self._only = only
        self.skipped = 0
        """Rows without a price so far."""
        self._reader = QuoteReader(symbol, *spell(self._file, reading))
        for row in self._file.rows():
            self._read(row)  # complain at once of a file that is something else
            break
        ticks = self._ticks()
        self._iterator = ticks if math.isinf(speed) else _paced(ticks, speed, clock)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Tick:
        return next(self._iterator)

    def _ticks(self) -> Iterator[Tick]:
        sessions = Sessions()
        for quote in self._quotes():
            try:
                tick = sessions.tick(quote)
            except NotATickError as error:
                raise self._file.error(quote.number, str(error)) from None
            if tick is not None and (not self._only or tick.symbol in self._only):
                yield tick

    def _quotes(self) -> Iterator[Quote]:
        order = _Order()
        for number, (row, quotes) in enumerate(self._quotes_until_failure(), 1):
            order.note(quotes)
            if order.repeats_at == row.number and (clock := unread_clock(row)):
                raise self._file.error(
                    row.number,
                    f"has the date of the row before, and the column {clock} is not read: if it is the time of day, "
                    "name the columns with --columns, date and time among them; if not, name it - there",
                )
            if order.must_be_sorted and number > MOST_SORTED_ROWS:
                raise self._file.refusal(
                    f"its bars go back in time, in line {order.goes_back_at} for instance, and it has more than "
                    f"{MOST_SORTED_ROWS} rows: sort it by time first"
                )
        return self._sorted() if order.must_be_sorted else self._in_order(order.superseded)

    def _quotes_until_failure(self) -> Iterator[tuple[Row, list[Quote]]]:
        """Give each row's quotes up to a row that cannot be read: what comes before it is published, then it tells.

        What can be read in two ways may be so in all rows, and none is published.
        """
        try:
            for row in self._file.rows():
                yield row, self._read(row)
        except _UndecidedFileError:
            raise
        except UserError:
            return

    def _in_order(self, superseded: bytearray) -> Iterator[Quote]:
        """Give the quotes as they are in the file, without bars that come again at once."""
        quotes = (quote for quotes in self._counted() for quote in quotes)
        for quote, is_superseded in zip_longest(quotes, superseded, fillvalue=0):
            if isinstance(quote, Quote) and not is_superseded:
                yield quote

    def _sorted(self) -> Iterator[Quote]:
        """Give all bars by time; of one that comes again the last, wherever it is in the file."""
        last = {
            (quote.moment.timestamp, quote.symbol, quote.price is None): quote
            for quotes in self._counted()
            for quote in quotes
        }
        yield from sorted(last.values(), key=lambda quote: quote.moment.timestamp)

    def _counted(self) -> Iterator[list[Quote]]:
        """Give each row's quotes, and count the rows without a price."""
        for row in self._file.rows():
            quotes = self._read(row)
            if all(quote.price is None for quote in quotes):
                self.skipped += 1
                if self.skipped <= _SKIPPED_ROWS_NAMED:
                    log.warning("row_skipped", extra={"reason": str(self._file.error(row.number, "has no price"))})
            yield quotes

    def _read(self, row: Row) -> list[Quote]:
        try:
            return self._reader.read(row)
        except UndecidedError as error:
            raise _UndecidedFileError(str(self._file.error(row.number, str(error)))) from None
        except NotATickError as error:
            raise self._file.error(row.number, str(error)) from None


class _UndecidedFileError(UserError):
    """A field can be read in two ways, and no row decides."""


class _Order:
    """Learns whether bars go back in time, and which of them come again at once."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[str, int]] = {}
        self._has_ticks = False
        self.goes_back_at = 0
        """The number of the last row that is earlier than the one before."""
        self.repeats_at = 0
        """The number of the last row that has the time of its symbol's one before."""
        self.superseded = bytearray()
        """For each quote, whether its symbol's next one has the same time."""

    @property
    def must_be_sorted(self) -> bool:
        """Bars go back; ticks may."""
        return self.goes_back_at > 0 and not self._has_ticks

    def note(self, quotes: list[Quote]) -> None:
        """Take a row's quotes into account."""
        for quote in quotes:
            self.superseded.append(0)
            if not quote.is_bar:
                self._has_ticks = True
            elif quote.price is not None:
                self._note_bar(quote)

    def _note_bar(self, bar: Quote) -> None:
        timestamp, place = self._latest.get(bar.symbol, ("", 0))
        if bar.moment.timestamp < timestamp:
            self.goes_back_at = bar.number
        elif bar.moment.timestamp == timestamp:
            self.superseded[place] = 1
            self.repeats_at = bar.number
        self._latest[bar.symbol] = bar.moment.timestamp, len(self.superseded) - 1


def _paced(ticks: Iterator[Tick], speed: float, clock: Clock) -> Iterator[Tick]:
    start = clock.monotonic()
    recorded_start = math.nan
    for tick in ticks:
        recorded = datetime.fromisoformat(tick.timestamp).timestamp()
        if math.isnan(recorded_start):
            recorded_start = recorded
        if not clock.sleep_until(start + (recorded - recorded_start) / speed):
            return
        yield tick
