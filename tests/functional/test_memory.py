"""The measurement of a shard's memory: the process it starts works, and symbols are cheap."""

import subprocess
import sys

from tests.chaos.memory import resident_megabytes

_MORE = 1000


def test_a_symbol_takes_little_memory() -> None:
    """A thousand more symbols, their windows full and their rows waiting for the archive, take under 40 KB each."""
    few, many = resident_megabytes(1), resident_megabytes(1 + _MORE)

    assert 0 < few.now <= few.peak
    assert (many.now - few.now) * 1024 / _MORE < 40


def test_what_only_some_need_is_not_loaded() -> None:
    """The process of a shard that has no ticks yet is without boto3, Arrow and pydantic."""
    loaded = "import sys, consumer.processor, consumer.protocol; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", loaded], text=True).split()

    assert "botocore" in modules
    assert not {"boto3", "arro3", "pydantic"} & set(modules)
