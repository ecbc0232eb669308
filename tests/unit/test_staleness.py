"""Symbols that are silent while their neighbours are quoted."""

import pytest

from consumer.detection import Detector, Rules
from consumer.memory import Symbol
from consumer.staleness import stale_symbols

NOW = 1_800_000_000_000
STATE = Detector(Rules()).new_state("A")


def quoted(**seconds_ago: float) -> list[Symbol]:
    """Symbols by the age of their last record; a dot is written as __, a dash as _."""
    symbols = []
    for name, ago in seconds_ago.items():
        symbol = Symbol(name.replace("__", ".").replace("_", "-"), STATE)
        symbol.arrived_ms = NOW - int(ago * 1000)
        symbols.append(symbol)
    return symbols


@pytest.mark.parametrize(
    ("symbols", "stale"),
    [
        (quoted(A=1, B=2, C=300), ["C"]),
        (quoted(A=1, B=2, C=299.999), []),
        (quoted(A=1, C=300), []),  # one neighbour tells nothing
        (quoted(A=300, B=301, C=302), []),  # the market is closed, or the feed is silent: other alarms tell
        (quoted(A=1, B=1, C=400, D=400), ["C", "D"]),
        (quoted(A=1, B=1, C=400, D=400, E=400), []),  # most are silent: it is closing
        (quoted(A=1, B=1, C=86_399), ["C"]),
        (quoted(A=1, B=1, C=86_400), []),  # not quoted any more
        (quoted(BTC_USD=1, ETH_USD=1, AAPL=5000, MSFT=5001), []),  # coins are quoted at night
        (quoted(BTC_USD=1, ETH_USD=1, SOL_USD=600, AAPL=5000), ["SOL-USD"]),
        (quoted(SAP__DE=1, BMW__DE=2, VOW3__DE=900, HSBA__L=900), ["VOW3.DE"]),
        (quoted(AAPL=1, BRK_B=900, MSFT=1), ["BRK-B"]),  # a class of shares is no currency
        ([], []),
    ],
)
def test_who_is_stale(symbols: list[Symbol], stale: list[str]) -> None:
    """Silent for the whole time, within a market of which two symbols and half of all are quoted."""
    assert stale_symbols(symbols, NOW, 300) == stale
