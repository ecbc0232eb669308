"""A tick as its record: what the contract has, and what else its feed knows."""

from collections.abc import Callable

import msgspec

from common.tick import Tick, encode


class QuotedTick(Tick, gc=False, kw_only=True):
    """A tick whose record says more than the contract: consumers keep it with the raw data, and do not read it."""

    currency: str | None = None
    exchange: str | None = None


class Received(msgspec.Struct, gc=False):
    """A record as another system had it: published byte by byte, be it a tick or not.

    ``key`` is the partition key: the symbol, if it is a tick. ``timestamp`` is the tick's, else empty. ``taken`` is
    called once the stream has it.
    """

    key: str
    payload: bytes
    timestamp: str
    taken: Callable[[], None]


def payload(tick: Tick) -> bytes:
    """Write a tick as the bytes of its record."""
    encoded = encode(tick)
    if not isinstance(tick, QuotedTick):
        return encoded
    more = {"currency": tick.currency, "exchange": tick.exchange}
    fields = {name: text for name, text in more.items() if text is not None}
    return encoded[:-1] + b"," + msgspec.json.encode(fields)[1:] if fields else encoded
