"""A tick as its record: what the contract has, and what else its feed knows."""

import msgspec

from common.tick import Tick, encode


class QuotedTick(Tick, gc=False, kw_only=True):
    """A tick whose record says more than the contract: consumers keep it with the raw data, and do not read it."""

    currency: str | None = None
    exchange: str | None = None


def payload(tick: Tick) -> bytes:
    """Write a tick as the bytes of its record."""
    encoded = encode(tick)
    if not isinstance(tick, QuotedTick):
        return encoded
    more = {"currency": tick.currency, "exchange": tick.exchange}
    fields = {name: text for name, text in more.items() if text is not None}
    return encoded[:-1] + b"," + msgspec.json.encode(fields)[1:] if fields else encoded
