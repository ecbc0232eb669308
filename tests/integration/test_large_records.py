"""Records as large as Kinesis takes them, enough to fill several answers, in the smallest task there can be."""

import json
import random
import re
from itertools import count
from pathlib import Path

import pytest

from tests.compare import compare
from tests.integration.pipeline import Pipeline, Put
from tests.integration.test_least_privilege import shard_of
from tests.oracle import Settings, expect
from tests.templates import SERVICES

_LARGE_BYTES = 1_048_000
"""With its partition key just below the limit of 1 MiB."""
_LARGE_RECORDS = 27
_PUTS_AT_A_TIME = 4
"""A request's limit is 5 MiB."""


@pytest.mark.timeout(300)
def test_large_records_fit_into_the_smallest_task(tmp_path: Path) -> None:
    """Two shards full of them are processed: Java, with its share of that task's memory, does not run out of it."""
    with Pipeline(tmp_path, shards=2) as pipeline:
        pipeline.create_leases()
        pipeline.put(_puts(), batch=_PUTS_AT_A_TIME)
        consumer = pipeline.start_consumer({"JDK_JAVA_OPTIONS": f"-XX:MaxRAM={_smallest_task_megabytes()}m"})
        pipeline.drain(consumer)
        assert "OutOfMemoryError" not in pipeline.log(0).read_text()
        expected = expect(pipeline.records(), Settings())
        assert len(expected.quarantined) == 2 * _LARGE_RECORDS
        assert len(expected.ticks) == 2 * _LARGE_RECORDS
        compare(pipeline.export(tmp_path / "export"), expected)


def _smallest_task_megabytes() -> int:
    """Read from the template what a consumer has at least."""
    sizes = re.search(r"ConsumerSize:.*?AllowedValues: \[(.*?)\]", SERVICES.read_text(), re.DOTALL)
    assert sizes is not None
    return min(int(size.partition("-")[2]) for size in sizes[1].split(", "))


def _puts() -> list[Put]:
    """Alternate large records, which are no ticks and cannot be compressed, with good ticks, on both shards."""
    dice = random.Random(27)
    keys = [next(key for key in map(str, count()) if shard_of(key) == shard) for shard in (0, 1)]
    puts = []
    for number in range(_LARGE_RECORDS):
        for key in keys:
            tick = {"symbol": key, "timestamp": f"2026-01-02T00:{number:02}:00Z", "price": 100 + number % 2}
            puts += [Put(key, dice.randbytes(_LARGE_BYTES)), Put(key, json.dumps(tick).encode())]
    return puts
