"""What other systems' messages hold: ticks as the contract has them, or something else, which is passed on as it is."""

import logging
from collections.abc import Callable, Collection, Mapping

import msgspec

from common.parts import parts_of
from common.tick import NotATickError, Tick, TickDecoder, normalise_symbol, timestamp_of
from producer.publisher import RECORD_BYTES
from producer.wire import Received

log = logging.getLogger(__name__)

_ANY_SKEW_SECONDS = 10 * 366 * 86400  # which ticks come too early is for the consumer to say
_LONGEST_KEY = 256


class Delivery:
    """A message on its way: once the stream has taken all that it holds, its source may forget it.

    Parameters
    ----------
    settled
        Is called then, in a sender's thread. It must be quick.

    """

    __slots__ = ("_settled", "owed")

    def __init__(self, settled: Callable[[], None] = lambda: None) -> None:
        self._settled = settled
        self.owed: int | None = None
        """Records that the stream has not taken yet; None before the message is read."""

    def owe(self, records: int) -> None:
        """The message has so many; call this before any is published."""
        self.owed = records
        if not records:
            self._settled()

    def taken(self) -> None:
        """Another one is in the stream. `Lanes` calls it, one call at a time."""
        assert self.owed  # noqa: S101  (`owe` comes first)
        self.owed -= 1
        if not self.owed:
            self._settled()


class MessageReader:
    """Makes records of messages: one for each tick, under its symbol, byte by byte as it was sent.

    A message is one tick, or several: a JSON array, or one a line. A tick without ``timestamp`` gets the time of its
    message, so that it is the same tick if the message comes again. What is no tick is passed on as it is, under its
    place, for the consumer to put it into quarantine.

    Parameters
    ----------
    field_map
        As the consumer's: other names of a tick's fields.
    only
        The symbols to pass on; none means all.

    """

    def __init__(self, field_map: Mapping[str, str], only: Collection[str]) -> None:
        self._decoder = TickDecoder(_ANY_SKEW_SECONDS, field_map)
        self._only = frozenset(only)
        timestamp = next((name for name, field in field_map.items() if field == "timestamp"), "timestamp")
        self._timestamp = msgspec.json.encode(timestamp)

    def read(
        self, message: bytes, taken: Callable[[], None], *, sent_ms: int, place: str, symbol: str = ""
    ) -> list[Received]:
        """Give a message's records.

        Parameters
        ----------
        message
            What it holds.
        taken
            Is to be called for each record that the stream has taken.
        sent_ms
            When it was sent, in epoch milliseconds.
        place
            What tells this message from all others.
        symbol
            The symbol of a tick that names none.

        """
        if not message:
            return []
        tick = self._tick(message, taken, sent_ms, symbol)
        if tick is not None:
            return self._wanted([tick])
        parts = parts_of(message)
        if not parts:
            return [_as_it_is(message, taken, place)]
        return self._wanted(
            [
                self._tick(part, taken, sent_ms, symbol) or _as_it_is(part, taken, f"{place}/{number}")
                for number, part in enumerate(parts)
            ]
        )

    def _wanted(self, records: list[Received]) -> list[Received]:
        if not self._only:
            return records
        return [record for record in records if not record.timestamp or record.key in self._only]

    def _tick(self, payload: bytes, taken: Callable[[], None], sent_ms: int, symbol: str) -> Received | None:
        tick = self._decoded(payload, sent_ms)
        if tick is None and _is_symbol(symbol):
            payload = b'{"symbol":%s,%s' % (msgspec.json.encode(symbol), payload.lstrip()[1:])  # its own would count
            tick = self._decoded(payload, sent_ms)
        if tick is None:
            return None
        if tick.timestamp == timestamp_of(sent_ms):  # it has none, or just this one
            payload = b'%s,%s:"%s"}' % (payload.rstrip()[:-1], self._timestamp, tick.timestamp.encode())
        return Received(tick.symbol, payload, tick.timestamp, taken)

    def _decoded(self, payload: bytes, sent_ms: int) -> Tick | None:
        try:
            return self._decoder.decode(payload, sent_ms)
        except NotATickError:
            return None


def _as_it_is(payload: bytes, taken: Callable[[], None], place: str) -> Received:
    """Pass on what is no tick; of what is larger than a record may be, as much as goes into one."""
    key = place[-_LONGEST_KEY:]
    most = RECORD_BYTES - len(key.encode())
    if len(payload) > most:
        log.warning("message_cut", extra={"place": place, "bytes": len(payload), "kept": most})
    return Received(key, payload[:most], "", taken)


def _is_symbol(text: str) -> bool:
    try:
        return bool(normalise_symbol(text))
    except NotATickError:
        return False
