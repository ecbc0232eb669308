"""The measurement of a shard's memory: the process it starts works, and symbols are cheap."""

from tests.chaos.memory import resident_megabytes

_MORE = 1000


def test_a_symbol_takes_little_memory() -> None:
    """A thousand more symbols, their windows full and their rows waiting for the archive, take under 40 KB each."""
    few, many = resident_megabytes(1), resident_megabytes(1 + _MORE)

    assert 0 < few.now <= few.peak
    assert (many.now - few.now) * 1024 / _MORE < 40
