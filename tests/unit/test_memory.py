"""A shard's memory, written down and taken up again: equal, in the same order, whatever was in it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from common.tick import Tick
from consumer import memory
from consumer.detection import Detection, Detector, Rules
from consumer.memory import Memory

START = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


def see(shard: Memory, detector: Detector, name: str, second: int, price: int) -> Detection:
    """Let a symbol have a tick."""
    symbol = shard.recall(name, START_MS + 1000 * second)
    timestamp = (START + timedelta(seconds=second)).isoformat(timespec="microseconds")[:26] + "Z"
    return detector.detect(
        symbol.state, Tick(name, timestamp, price, previous_close=10**9, volume=second * price % 999)
    )


def test_twenty_thousand_symbols_come_back_from_one_snapshot() -> None:
    """Each with its own windows, and all that follows is the same; a symbol takes less than 150 bytes."""
    symbols = [f"S{number}" for number in range(20_000)]
    detector = Detector(Rules())
    shard, successor = Memory(detector, 30), Memory(detector, 30)
    for second in range(6):
        for number, name in enumerate(symbols):
            see(shard, detector, name, second, (number + 1) * 10**7 + second)
    body = shard.save()
    assert successor.load(body) == []

    assert len(body) < 150 * len(symbols)
    assert successor.save() == body
    for number, name in enumerate(symbols):
        price = (number + 1) * 10**7 + 7
        assert see(successor, detector, name, 7, price) == see(shard, detector, name, 7, price)
    assert shard.forgotten == successor.forgotten == 0


@pytest.mark.parametrize("extreme", [1, 9_200_000_000 * 10**9 - 1])
def test_returns_larger_than_64_bits_come_back(extreme: int) -> None:
    """From the smallest price to the largest one a return has 28 digits."""
    detector = Detector(Rules.of(z_score_window=2))
    shard, successor = Memory(detector, 30), Memory(detector, 30)
    for second, price in enumerate([1, 9_200_000_000 * 10**9 - 1, 5]):
        see(shard, detector, "A", second, price)
    successor.load(shard.save())
    assert see(successor, detector, "A", 9, extreme) == see(shard, detector, "A", 9, extreme)


def test_the_most_silent_symbol_goes_after_a_restart_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order in which symbols were silent comes back with them."""
    monkeypatch.setattr(memory, "_MOST_SYMBOLS", 3)
    detector = Detector(Rules.of(sma_fast=2))
    shard, successor = Memory(detector, 30), Memory(detector, 30)
    for second, name in enumerate("ABCA"):
        see(shard, detector, name, second, 5)
    successor.load(shard.save())
    for each in (shard, successor):
        averages = [see(each, detector, name, second, 5).values[0] for second, name in enumerate("DACB", start=4)]
        assert averages == [None, 5, 5, None]
        assert each.forgotten == 2


def test_changed_numbers_are_named() -> None:
    """Who takes up a snapshot learns which of the rules' numbers it was not made with."""
    old, new = Detector(Rules()), Detector(Rules.of(sma_fast=4, alert_threshold=Decimal(3)))
    shard = Memory(old, 30)
    see(shard, old, "A", 0, 5)
    assert Memory(new, 30).load(shard.save()) == ["alert_threshold", "sma_fast"]


def test_an_empty_memory_comes_back_empty() -> None:
    """A shard without a tick has a snapshot all the same: its children look for it."""
    detector = Detector(Rules())
    empty: dict[str, Any] = vars(Memory(detector, 30))
    successor = Memory(detector, 30)
    assert successor.load(Memory(detector, 30).save()) == []
    assert vars(successor) == empty
