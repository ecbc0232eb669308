"""The archive in S3: objects whose boundaries and bytes depend on the stream alone.

An object holds the records of one shard that arrived in one window of time, cut further at 16 MiB of payload. Whoever
writes it again, after a crash or as a paused zombie, writes the same bytes to the same key.
"""

import base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from common.tick import timestamp_of
from consumer.backpressure import persist
from consumer.detection import Column
from consumer.protocol import Record
from consumer.sinks.packing import GzipLines, ParquetRows
from consumer.sinks.row import Row

MAX_CHUNK_BYTES = 16 * 1024 * 1024

_GRACE_MS = 1000
"""A window is past only this long after its end: a record that arrived in it may become visible a little later."""

FETCHED_AHEAD = 20
"""So many answers of the stream the KCL can have in its queues (11 and 8) and in the pipe to this process.

Empty ones among them tell nothing of a window that has ended since, least of all to a process that was paused: its
shard may have another owner, who has archived more of the window, under the same key. What comes after them was asked
for when the window was past.
"""


class Rejected(NamedTuple):
    """A record is no tick, for a reason."""

    reason: str


class Chunk:
    """Consecutive records of one shard and window: what goes into one object of each kind."""

    def __init__(self, first: Record, window: int, columns: tuple[Column, ...]) -> None:
        self.window = window
        self.first = first
        self.last = first
        self.payloads = GzipLines()
        self.rows = ParquetRows(columns)
        self.rejects = GzipLines()


class Archive:
    """Gathers records of one shard and writes them when their window is complete.

    Parameters
    ----------
    s3
        A boto3 client.
    bucket
        The bucket's name.
    shard_id
        The shard that all records are of.
    columns
        What the rows consist of.
    window_seconds
        Length of a window of arrival time.

    """

    def __init__(self, s3: Any, bucket: str, shard_id: str, columns: tuple[Column, ...], window_seconds: int) -> None:  # noqa: ANN401
        self._s3 = s3
        self._bucket = bucket
        self._shard_id = shard_id
        self._columns = columns
        self._window_ms = window_seconds * 1000
        self._open: Chunk | None = None
        self._open_bytes = 0
        """The size of its records."""
        self._empty_answers = 0
        """How many have come in a row since its window was past."""

    def cut(self, records: Sequence[Record]) -> Iterator[list[Record]]:
        """Cut a batch where chunks end: the first part, which may be empty, goes on with the open chunk.

        Each other part begins a chunk, and is given out only when the one before it may be taken out.
        """
        window, size = (self._open.window, self._open_bytes) if self._open else (None, 0)
        part: list[Record] = []
        for record in records:
            its_window = record.approximate_arrival_timestamp // self._window_ms
            if window is None:
                window = its_window
            elif its_window > window or size + len(record.data) > MAX_CHUNK_BYTES:
                yield part
                part, window, size = [], its_window, 0
            part.append(record)
            size += len(record.data)
        self._open_bytes = size
        yield part

    def add(self, records: Sequence[Record], outcomes: Sequence[Row | Rejected | None]) -> None:
        """Take records of one chunk, each with its row, None for a duplicate, or the reason why it is no tick."""
        chunk = self._open
        if chunk is None:
            window = records[0].approximate_arrival_timestamp // self._window_ms
            chunk = self._open = Chunk(records[0], window, self._columns)
        chunk.last = records[-1]
        self._empty_answers = 0
        rejects = [
            self._reject_json(record, outcome.reason)
            for record, outcome in zip(records, outcomes, strict=True)
            if isinstance(outcome, Rejected)
        ]
        chunk.rejects.extend(rejects)
        chunk.payloads.extend(
            [r.data for r, outcome in zip(records, outcomes, strict=True) if not isinstance(outcome, Rejected)]
            if rejects
            else [record.data for record in records]
        )
        chunk.rows.extend([row for row in outcomes if row is not None and not isinstance(row, Rejected)])

    def take_past(self, now_ms: int) -> Chunk | None:
        """Take the open chunk out if nothing more can come into its window: call this for each empty answer."""
        chunk = self._open
        if chunk is None or now_ms < (chunk.window + 1) * self._window_ms + _GRACE_MS:
            return None
        self._empty_answers += 1
        return self.take() if self._empty_answers > FETCHED_AHEAD else None

    def take(self) -> Chunk | None:
        """Take the open chunk out as it is: where a batch is cut, or for a shard that ended."""
        chunk, self._open = self._open, None
        return chunk

    def discard(self) -> None:
        """Forget the open chunk: the next owner of the shard reads its records again."""
        self._open = None

    def write(self, chunk: Chunk) -> int:
        """Write a complete chunk; returns the number of objects, when they are durable."""
        start = datetime.fromtimestamp(chunk.window * self._window_ms / 1000, UTC)
        name = (
            f"{self._shard_id}_{start:%Y%m%dT%H%M%SZ}_{chunk.first.sequence_number}_{chunk.first.sub_sequence_number}"
        )
        day, hour = f"dt={start:%Y-%m-%d}", f"hour={start:%H}"
        objects = {}
        if chunk.payloads.count:
            objects[f"raw-data/{day}/{hour}/{name}.json.gz"] = chunk.payloads.finish()
        if chunk.rows.count:
            objects[f"ticks/{day}/{hour}/{name}.parquet"] = chunk.rows.finish()
        if chunk.rejects.count:
            objects[f"quarantine/{day}/{name}.json.gz"] = chunk.rejects.finish()
        for key, body in objects.items():
            self._put(key, body)
        return len(objects)

    def summary(self, chunk: Chunk) -> dict[str, object]:
        """Count what is in a chunk that was written, for the log."""
        payloads, rows, rejects = chunk.payloads.count, chunk.rows.count, chunk.rejects.count
        late, conflicts, misplaced, foreign, fired, suppressed = (
            chunk.rows.counted[name]
            for name in ("late", "conflict", "misplaced", "partition_key", "anomalies", "suppressed")
        )
        alerts = fired - suppressed
        return {
            "window": timestamp_of(chunk.window * self._window_ms),
            "records": payloads + rejects,
            "ticks": rows - conflicts.total(),
            "duplicates": payloads - rows,
            "conflicts": conflicts.total(),
            "late": late.total(),
            "misplaced": misplaced.total(),
            "foreign_keys": foreign.total(),
            "quarantined": rejects,
            "alerts": alerts.total(),
            "alerts_by_rule": dict(alerts),
            "suppressed": suppressed.total(),
        }

    def _put(self, key: str, body: bytes) -> None:
        persist(lambda: self._s3.put_object(Bucket=self._bucket, Key=key, Body=body), about=f"bucket {self._bucket}")

    def _reject_json(self, record: Record, reason: str) -> bytes:
        return msgspec.json.encode(
            {
                "reason": reason,
                "shard_id": self._shard_id,
                "sequence_number": record.sequence_number,
                "sub_sequence_number": record.sub_sequence_number,
                "record_index": record.record_index,
                "partition_key": record.partition_key,
                "arrived_at": timestamp_of(record.approximate_arrival_timestamp),
                "data": base64.b64encode(record.data).decode(),
            }
        )
