"""How the pipeline does: its shards, what became of the records of the last minutes, and what is wrong, in words."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import islice
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from isal import igzip

from common.tick import timestamp_of
from desk import archive, quarantine
from desk.rows import Row, row_of
from desk.system import System

_RECENT = timedelta(minutes=15)
_MOST_OBJECTS = 200
"""Of each kind: the newest."""

_READ_IN_A_LOOK = 60
_CHUNK_BYTES = 256 * 1024
_QUARANTINE = timedelta(days=1)
_QUARANTINE_COUNTED = 500
_QUARANTINE_SHOWN = 30
_PAYLOAD_SHOWN = 2000
_LEASE_LASTS_SECONDS = 20
_BEHIND_SECONDS = 60
_STALE_SECONDS = 120
_ENDED = "SHARD_END"


class Window(msgspec.Struct):
    """What the archive says of one object's records."""

    shard_id: str
    start: str
    records: int = 0
    ticks: int = 0
    late: int = 0
    conflicts: int = 0
    quarantined: int = 0
    bytes: int = 0
    objects: int = 0

    @property
    def duplicates(self) -> int:
        """Records that are neither rows nor quarantined."""
        return max(0, self.records - self.ticks - self.conflicts)


class Shard(msgspec.Struct):
    """A shard, who processes it, and for how long its oldest unprocessed record has waited."""

    shard_id: str
    worker: str | None
    checkpoint: str
    behind_seconds: float | None


class _Renewal:
    """When a lease was last seen to change: one that stands still belongs to nobody who is alive."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[str, float], float]] = {}

    def is_alive(self, shard_id: str, state: tuple[str, float]) -> bool:
        now = time.monotonic()
        before, since = self._seen.get(shard_id, (None, now))
        if before != state:
            since = now
        self._seen[shard_id] = (state, since)
        return now - since < _LEASE_LASTS_SECONDS


class Pipeline:
    """Looks at leases, stream and archive; what it has read of the archive it does not read twice."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._renewal = _Renewal()
        self._objects: dict[str, dict[str, int]] = {}
        self._rejected: tuple[list[archive.Object], dict[str, Any]] = ([], _no_rejects())
        self._newest: dict[str, str] = {}
        """The newest record of each shard that has a row, by its sequence number."""

    def problems(self, rows: list[Row]) -> list[dict[str, str]]:
        """Say what is wrong; ``rows`` are the symbols' newest ones. Costs two requests."""
        self._note(rows)
        try:
            shards = self._shards()
        except (ClientError, BotoCoreError) as error:
            return [_problem("critical", *explained(error, self._system.application))]
        return [*_without_workers(shards), *_behind(shards), *_stale(rows)]

    def look(self, rows: list[Row]) -> dict[str, Any]:
        """Give all that the view of the pipeline shows."""
        self._note(rows)
        shards = self._with_lags(self._shards())
        windows = self._windows()
        return {
            "shards": shards,
            "windows": [
                {**msgspec.to_builtins(window), "duplicates": window.duplicates}
                for window in sorted(windows, key=lambda window: (window.start, window.shard_id))
            ],
            "quarantine": self._quarantine(),
            "stream": self._system.stream,
            "application": self._system.application,
            "bucket": self._system.archive_bucket,
            "problems": [*_without_workers(shards), *_behind(shards), *_stale(rows)],
        }

    def _note(self, rows: list[Row]) -> None:
        for row in rows:
            shard, number = row.get("shard_id", ""), row.get("sequence_number", "")
            if number.isdecimal() and int(number) > int(self._newest.get(shard, "0")):
                self._newest[shard] = number

    # ---------------------------------------------------------------- shards
    def _shards(self) -> list[Shard]:
        leases = {lease["leaseKey"]: lease for lease in self._leases()}
        parents = {parent for lease in leases.values() for parent in lease.get("parentShardId", ())}
        open_shards = self._shard_ids() - parents - {k for k, v in leases.items() if v.get("checkpoint") == _ENDED}
        return [self._shard(shard_id, leases.get(shard_id, {})) for shard_id in sorted(open_shards)]

    def _shard(self, shard_id: str, lease: Row) -> Shard:
        owner = lease.get("leaseOwner")
        is_alive = self._renewal.is_alive(shard_id, (owner or "", lease.get("leaseCounter", 0)))
        return Shard(shard_id, owner if is_alive else None, lease.get("checkpoint", ""), None)

    def _leases(self) -> list[Row]:
        pages = self._system.dynamodb.get_paginator("scan").paginate(TableName=self._system.application)
        return [row for page in pages for row in map(row_of, page["Items"]) if row["leaseKey"].startswith("shardId-")]

    def _shard_ids(self) -> set[str]:
        pages = self._system.kinesis.get_paginator("list_shards").paginate(
            StreamName=self._system.stream, ShardFilter={"Type": "AT_LATEST"}
        )
        return {shard["ShardId"] for page in pages for shard in page["Shards"]}

    def _with_lags(self, shards: list[Shard]) -> list[Shard]:
        for shard in shards:
            try:
                shard.behind_seconds = self._lag(shard)
            except (ClientError, BotoCoreError):
                shard.behind_seconds = None  # others read the stream, too: it may have been too much at once
        return shards

    def _lag(self, shard: Shard) -> float | None:
        """Tell for how long the first record after the last processed one has been in the stream, in seconds."""
        after = max(shard.checkpoint, self._newest.get(shard.shard_id, ""), key=_number)
        place: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if _number(after):
            place = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
        iterator = self._system.kinesis.get_shard_iterator(
            StreamName=self._system.stream, ShardId=shard.shard_id, **place
        )
        answer = self._system.kinesis.get_records(ShardIterator=iterator["ShardIterator"], Limit=1)
        if answer["Records"]:
            arrived: datetime = answer["Records"][0]["ApproximateArrivalTimestamp"]
            return max(0.0, (_now() - arrived).total_seconds())
        return 0.0 if answer.get("MillisBehindLatest", 0) == 0 else None

    # ---------------------------------------------------------------- archive
    def _windows(self) -> list[Window]:
        found: dict[str, Window] = {}
        keys = self._recent_keys()
        self._objects = {key: counts for key, counts in self._objects.items() if key in keys}
        unread = [key for key in sorted(keys, key=_start, reverse=True) if key not in self._objects]
        now = unread[:_READ_IN_A_LOOK]
        self._objects.update(zip(now, self._system.side_by_side(self._count, now), strict=True))
        for key, counts in self._objects.items():
            name = key.rpartition("/")[2].partition(".")[0]
            shard_id, start = name.split("_")[:2]
            window = found.setdefault(name, Window(shard_id, start))
            window.objects += 1
            window.bytes += keys[key]
            for field, count in counts.items():
                setattr(window, field, getattr(window, field) + count)
        return list(found.values())

    def _recent_keys(self) -> dict[str, int]:
        """Find the archive's objects of the last minutes, with their sizes."""
        now = _now()
        since = f"{now - _RECENT:%Y%m%dT%H%M%SZ}"
        hours = {f"dt={moment:%Y-%m-%d}/hour={moment:%H}/" for moment in (now - _RECENT, now)}
        days = {f"dt={moment:%Y-%m-%d}/" for moment in (now - _RECENT, now)}
        prefixes = [f"{kind}/{hour}" for kind in ("raw-data", "ticks") for hour in hours]
        prefixes += [f"quarantine/{day}" for day in days]
        found: dict[str, int] = {}
        for prefix in prefixes:
            recent = {key: size for key, size in self._list(prefix).items() if _start(key) >= since}
            for key in sorted(recent, key=_start)[-_MOST_OBJECTS:]:
                found[key] = recent[key]
        return found

    def _list(self, prefix: str) -> dict[str, int]:
        pages = self._system.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._system.archive_bucket, Prefix=prefix
        )
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def _count(self, key: str) -> dict[str, int]:
        body = BytesIO(archive.get(self._system, key))
        if key.endswith(".parquet"):
            return _count_rows(body)
        return {"quarantined" if key.startswith("quarantine/") else "records": _count_lines(body)}

    def _quarantine(self) -> dict[str, Any]:
        """Read the newest records of the last day's quarantine, with the reasons' numbers, if there are new ones."""
        since = timestamp_of(int((_now() - _QUARANTINE).timestamp() * 1000))
        objects = archive.objects(self._system, "quarantine", since)
        if objects[:1] != self._rejected[0][:1]:
            records = list(islice(quarantine.rejects(self._system, since), _QUARANTINE_COUNTED))
            self._rejected = (
                objects,
                {
                    "reasons": Counter(record.reason for record in records).most_common(20),
                    "records": [_shown(record) for record in records[:_QUARANTINE_SHOWN]],
                    "counted": len(records),
                },
            )
        return self._rejected[1]


def _no_rejects() -> dict[str, Any]:
    return {"reasons": [], "records": [], "counted": 0}


def explained(error: ClientError | BotoCoreError, table: str) -> tuple[str, str]:
    """Say what AWS refused, and what to do about it."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code == "ResourceNotFoundException":
        return "No consumer has run yet.", f"There is no table of leases, {table}: start one with `tickertape consume`."
    if "AccessDenied" in code:
        return "The dashboard may not read all of the pipeline.", str(error)
    return "AWS does not answer the dashboard.", str(error)


def _shown(reject: quarantine.Reject) -> Row:
    """Give a record's place and reason, and the beginning of its bytes as text."""
    payload = reject.data[:_PAYLOAD_SHOWN].decode(errors="replace")
    return {
        **{name: getattr(reject, name) for name in ("id", "reason", "shard_id", "partition_key", "arrived_at")},
        "sequence_number": reject.sequence_number,
        "payload": payload,
        "payload_bytes": len(reject.data),
    }


def _count_lines(body: BytesIO) -> int:
    lines = 0
    with igzip.IGzipFile(fileobj=body) as unpacked:  # type: ignore[no-untyped-call]  # it has no types
        while chunk := unpacked.read(_CHUNK_BYTES):
            lines += chunk.count(b"\n")
    return lines


def _count_rows(body: BytesIO) -> dict[str, int]:
    from arro3.io import read_parquet  # noqa: PLC0415  (it takes some megabytes, and only this view needs it)

    counts = Counter[str]()
    for batch in read_parquet(body):
        counts["ticks"] += batch.num_rows
        for flag, name in (("late", "late"), ("conflict", "conflicts")):
            if flag in batch.schema.names:
                counts[name] += batch.num_rows - batch.column(flag).null_count
    counts["ticks"] -= counts["conflicts"]
    return dict(counts)


def _now() -> datetime:
    return datetime.now(UTC)


def _start(key: str) -> str:
    """Give the moment at which the object's window began."""
    return key.rpartition("/")[2].split("_")[1]


def _number(sequence_number: str) -> int:
    return int(sequence_number) if sequence_number.isdecimal() else 0


# -------------------------------------------------------------------- in words
def _problem(severity: str, text: str, hint: str) -> dict[str, str]:
    return {"severity": severity, "text": text, "hint": hint}


def _without_workers(shards: list[Shard]) -> list[dict[str, str]]:
    idle = [shard for shard in shards if shard.worker is None]
    if not idle:
        return []
    hint = "Ticks wait in the stream meanwhile; start one with `tickertape consume`."
    if len(idle) == len(shards):
        return [_problem("critical", "No consumer is running: no shard has a worker.", hint)]
    return [_problem("critical", f"{_names(idle)} without a worker.", "Others take it over within half a minute.")]


def _behind(shards: list[Shard]) -> list[dict[str, str]]:
    late = [shard for shard in shards if (shard.behind_seconds or 0) > _BEHIND_SECONDS]
    return [_problem("warning", f"{_names([shard])} {_for(shard.behind_seconds or 0)} behind.", "") for shard in late]


def _stale(rows: list[Row]) -> list[dict[str, str]]:
    arrived = max((row["arrived_at"] for row in rows if "arrived_at" in row), default=None)
    if arrived is None:
        return [_problem("info", "There are no ticks yet.", "They appear here when the consumer has stored them.")]
    silence = (_now() - datetime.fromisoformat(arrived)).total_seconds()
    if silence < _STALE_SECONDS:
        return []
    hint = "The market may be closed, or the producer has stopped."
    return [_problem("warning", f"No tick has arrived for {_for(silence)}.", hint)]


def _names(shards: list[Shard]) -> str:
    numbers = [shard.shard_id.removeprefix("shardId-").lstrip("0") or "0" for shard in shards]
    if len(numbers) > 5:
        return f"{len(numbers)} shards are"
    return f"Shard {numbers[0]} is" if len(numbers) == 1 else f"Shards {', '.join(numbers)} are"


def _for(seconds: float) -> str:
    for length, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} seconds"
