"""Records as large as Kinesis takes them, enough to fill several answers, in the smallest task there can be."""

import json
import random
import re
from hashlib import md5
from itertools import count
from pathlib import Path

import pytest

from infra.templates import SERVICES, SMALL
from tests.chaos.memory import megabytes
from tests.compare import compare
from tests.integration.pipeline import Pipeline, Put
from tests.integration.processes import marked
from tests.oracle import Settings, expect

_LARGE_BYTES = 1_048_000
"""With its partition key just below the limit of 1 MiB."""
_LARGE_RECORDS = 27
_PUTS_AT_A_TIME = 4
"""A request's limit is 5 MiB."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("shards", [1, 2])
def test_large_records_fit_into_the_smallest_task(tmp_path: Path, shards: int) -> None:
    """Shards full of them are processed: Java does not run out of its share, and the task not of its memory."""
    memory = _small_consumer_megabytes() if shards == 1 else _smallest_task_megabytes()
    with Pipeline(tmp_path, shards=shards) as pipeline:
        pipeline.create_leases()
        pipeline.put(_puts(shards), batch=_PUTS_AT_A_TIME)
        as_in_the_image = f"-XX:MaxRAM={memory}m -XX:AOTMode=off"  # which has no cache of classes
        consumer = pipeline.start_consumer({"JDK_JAVA_OPTIONS": as_in_the_image})
        pipeline.drain(consumer)
        assert "OutOfMemoryError" not in pipeline.log(0).read_text()
        commands = marked(pipeline.mark)
        used = {pid: megabytes(pid, "VmHWM") for pid in commands if "infra.local" not in commands[pid]}
        assert sum(used.values()) < memory, used
        expected = expect(pipeline.records(), Settings())
        assert len(expected.quarantined) == shards * _LARGE_RECORDS
        assert len(expected.ticks) == shards * _LARGE_RECORDS
        compare(pipeline.export(tmp_path / "export"), expected)


def _smallest_task_megabytes() -> int:
    """Read from the template what a consumer has at least."""
    sizes = re.search(r"ConsumerSize:.*?AllowedValues: \[(.*?)\]", SERVICES.read_text(), re.DOTALL)
    assert sizes is not None
    return min(int(size.partition("-")[2]) for size in sizes[1].split(", "))


def _small_consumer_megabytes() -> int:
    """Read from the small template, which is for one shard, what its consumer has."""
    memory = re.search(r"Command: \[consume\].*?Memory: (\d+)", SMALL.read_text(), re.DOTALL)
    assert memory is not None
    return int(memory[1])


def _puts(shards: int) -> list[Put]:
    """Alternate large records, which are no ticks and cannot be compressed, with good ticks, on each shard."""
    dice = random.Random(27)
    keys = [next(key for key in map(str, count()) if _shard_of(key) == shard) for shard in range(shards)]
    puts = []
    for number in range(_LARGE_RECORDS):
        for key in keys:
            tick = {"symbol": key, "timestamp": f"2026-01-02T00:{number:02}:00Z", "price": 100 + number % 2}
            puts += [Put(key, dice.randbytes(_LARGE_BYTES)), Put(key, json.dumps(tick).encode())]
    return puts


def _shard_of(key: str) -> int:
    """Tell which of two shards a partition key is on."""
    return int.from_bytes(md5(key.encode(), usedforsecurity=False).digest()[:1]) >> 7
