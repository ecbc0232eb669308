"""The process of a shard, which notes when it was given each record: what `benchmarks.latency` has the daemon start."""

import os
import time
from pathlib import Path

import msgspec
from amazon_kclpy.kcl import Checkpointer

from consumer import __main__ as shard
from consumer import processor
from consumer.protocol import Record

FOLDER = "LATENCY_NOTES"
"""The variable with the folder that the notes go to."""


class _Named(msgspec.Struct):
    symbol: str
    timestamp: str


class Note(_Named):
    """When the stream took a tick, and when the process was given it, in epoch milliseconds."""

    arrived: float
    given: float


class NotingProcessor(processor.ShardProcessor):
    """Does as `ShardProcessor`, and writes down when; after the work, so that nothing waits for it."""

    def process_records(
        self, records: list[Record], millis_behind_latest: int | None, checkpointer: Checkpointer
    ) -> None:
        """Note when the records came."""
        given = time.time() * 1000
        super().process_records(records, millis_behind_latest, checkpointer)
        with Path(os.environ[FOLDER], f"{os.getpid()}.jsonl").open("ab") as file:
            file.writelines(_line(record, given) for record in records)


def _line(record: Record, given: float) -> bytes:
    tick = msgspec.json.decode(record.data, type=_Named)
    return msgspec.json.encode(Note(tick.symbol, tick.timestamp, record.approximate_arrival_timestamp, given)) + b"\n"


if __name__ == "__main__":
    processor.ShardProcessor = NotingProcessor  # type: ignore[misc]  # where the shard's main takes it from
    shard.main()
