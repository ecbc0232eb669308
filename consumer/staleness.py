"""Symbols whose quotes have stopped: no tick tells of that, so that each minute somebody has to look."""

from collections import Counter
from collections.abc import Iterable
from re import compile as regex

from consumer.memory import Symbol

_DAY_MS = 24 * 3600 * 1000
"""A symbol that is silent for longer is not quoted any more."""

_FEWEST_NEIGHBOURS = 2

_MARKET = regex(r"(\.[A-Z]+|=[A-Z]+|-[A-Z]{3,4})$")
"""In Yahoo's spelling, exchanges (SAP.DE), currencies (EURUSD=X), futures (ES=F) and coins (BTC-USD) end with this."""


def stale_symbols(symbols: Iterable[Symbol], now_ms: int, after_seconds: int) -> list[str]:
    """Name the symbols that are silent while their market is open, and their neighbours are not.

    A market is taken as open while at least two of its symbols, and half of those that were quoted within a day,
    are quoted.

    Parameters
    ----------
    symbols
        Those of a shard.
    now_ms
        The time, in epoch milliseconds.
    after_seconds
        So long has a symbol to be silent.

    """
    silent_since_ms = now_ms - after_seconds * 1000
    quoted, silent = Counter[str](), dict[str, str]()
    for symbol in symbols:
        if symbol.arrived_ms > silent_since_ms:
            quoted[_market(symbol.name)] += 1
        elif symbol.arrived_ms > now_ms - _DAY_MS:
            silent[symbol.name] = _market(symbol.name)
    silent_of = Counter(silent.values())
    is_open = {market for market, count in quoted.items() if count >= max(_FEWEST_NEIGHBOURS, silent_of[market])}
    return sorted(name for name, market in silent.items() if market in is_open)


def _market(name: str) -> str:
    found = _MARKET.search(name)
    return found[1] if found else ""
