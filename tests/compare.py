"""Compares what a run left behind, exported to a directory, with what the oracle expects: all, exactly.

The directory holds ``ticks.jsonl`` and ``alerts.jsonl`` (the tables' rows), ``messages.jsonl`` (what the
topic delivered), ``quarantine.jsonl`` and ``s3/`` (every object under its key).
"""

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq

from tests.oracle import Expected, Row, read_tick, thinned

_SHOWN = 5
_LATEST_ARRIVAL = 4_102_444_800_000
_BOOKKEEPING = {"shard_id", "sequence_number", "sub_sequence_number", "arrived_at", "expires_at"}
"""Attributes of a row that say how it came, not what it means; the oracle does not know them."""
_UNKNOWN = _BOOKKEEPING | {"partition_key", "record_index"}

_ALERT_FIELDS = (
    "symbol",
    "alert_id",
    "timestamp",
    "rule",
    "direction",
    "severity",
    "price",
    "value",
    "threshold",
)
_QUARANTINE_FIELDS = {
    "record_index",
    "reason",
    "shard_id",
    "sequence_number",
    "sub_sequence_number",
    "partition_key",
    "arrived_at",
    "data",
}
_SETS = ("anomalies", "suppressed")
_FLAGS = ("late", "conflict")
_KEYS = {
    "raw-data": re.compile(r"raw-data/dt=\d{4}-\d\d-\d\d/hour=\d\d/[^/]+\.json\.gz"),
    "ticks": re.compile(r"ticks/dt=\d{4}-\d\d-\d\d/hour=\d\d/[^/]+\.parquet"),
    "quarantine": re.compile(r"quarantine/dt=\d{4}-\d\d-\d\d/[^/]+\.json\.gz"),
}


def compare(
    export: Path,
    expected: Expected,
    *,
    same_bytes: bool = True,
    retention_days: int = 30,
    repeats_allowed: bool = False,
) -> None:
    """Fail with the first differences between the export and what was expected.

    Parameters
    ----------
    export
        The directory.
    expected
        The oracle's word.
    same_bytes
        Whether the archive must hold the very payloads the oracle was given. False where the product wrote
        them itself from a file: then each must say the same as the oracle's.
    retention_days
        After how many days rows expire.
    repeats_allowed
        Whether a message may come more than once, because a process died just after it had published it.

    """
    found = differences(
        export, expected, same_bytes=same_bytes, retention_days=retention_days, repeats_allowed=repeats_allowed
    )
    assert not found, "the export differs from the oracle:\n" + "\n".join(found)


def differences(
    export: Path,
    expected: Expected,
    *,
    same_bytes: bool,
    retention_days: int = 30,
    repeats_allowed: bool = False,
) -> list[str]:
    """List differences in words, the first few of each kind."""
    rows = _lines(export / "ticks.jsonl")
    alerts = _lines(export / "alerts.jsonl")
    objects = _objects(export / "s3")
    archived = _archived(objects["ticks"])
    return [
        *_ticks(rows, _stored(expected, archived)),
        *_bookkeeping(rows, retention_days),
        *_alerts(alerts, expected),
        *_messages(_lines(export / "messages.jsonl"), alerts, repeats_allowed=repeats_allowed),
        *_parquet(archived, rows, expected),
        *_raw_data(objects["raw-data"], expected, same_bytes=same_bytes),
        *_quarantine(objects["quarantine"], expected, same_bytes=same_bytes),
        *_exported_quarantine(_lines(export / "quarantine.jsonl"), objects["quarantine"]),
    ]


@dataclass
class Tally:
    """How many things are lost, are there though they should not be, or say something else than they should."""

    rows_lost: int = 0
    rows_doubled: int = 0
    rows_wrong: int = 0
    alerts_lost: int = 0
    alerts_doubled: int = 0
    alerts_wrong: int = 0
    archive_records_lost: int = 0
    archive_records_doubled: int = 0
    messages_lost: int = 0
    messages_repeated: int = 0
    """The one thing that may happen: a process died between publishing an alert and marking it as published."""

    @property
    def is_perfect(self) -> bool:
        """Nothing is wrong, but for repeated messages."""
        return not any(getattr(self, item.name) for item in fields(self) if item.name != "messages_repeated")

    def __iadd__(self, other: "Tally") -> Self:
        """Add another run's."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))
        return self


def tally(export: Path, expected: Expected) -> Tally:
    """Count what `differences` describes, payloads byte by byte."""
    rows = {(row["symbol"], row["timestamp"]): row for row in _lines(export / "ticks.jsonl")}
    alerts = _by_alert_id(_lines(export / "alerts.jsonl"), _ALERT_FIELDS)
    messages = Counter((row["symbol"], row["alert_id"]) for row in _lines(export / "messages.jsonl"))
    objects = _objects(export / "s3")
    raw_data = (gzip.decompress(content).splitlines() for content in objects["raw-data"].values())
    archived = Counter(map(_one_line, chain.from_iterable(raw_data)))
    archived.update(base64.b64decode(row["data"]) for row in _json_lines(objects["quarantine"]))
    in_archive = _archived(objects["ticks"])
    in_parquet = Counter(map(_key, _without_conflicts(in_archive, expected)))
    stored = _stored(expected, in_archive)
    sent = Counter(map(_one_line, expected.archived)) + Counter(expected.quarantined)
    meant = {key: _plain(row) for key, row in rows.items()}
    return Tally(
        rows_lost=len(stored.keys() - rows.keys()),
        rows_doubled=len(rows.keys() - stored.keys()),
        rows_wrong=sum(meant[key] != expected.ticks[key] for key in meant.keys() & expected.ticks.keys()),
        alerts_lost=len(expected.alerts.keys() - alerts.keys()),
        alerts_doubled=len(alerts.keys() - expected.alerts.keys()),
        alerts_wrong=sum(alerts[key] != expected.alerts[key] for key in alerts.keys() & expected.alerts.keys()),
        archive_records_lost=(sent - archived).total() + (Counter(expected.ticks.keys()) - in_parquet).total(),
        archive_records_doubled=(archived - sent).total() + (in_parquet - Counter(expected.ticks.keys())).total(),
        messages_lost=len(expected.alerts.keys() - messages.keys()),
        messages_repeated=sum(count - 1 for count in messages.values()),
    )


def _archived(objects: Mapping[str, bytes]) -> list[Row]:
    """The rows of all Parquet files, in the stream's order."""
    tables = {key: pq.read_table(BytesIO(content)) for key, content in objects.items()}
    assert not [key for key, table in tables.items() if not table.num_rows], "there is an object without rows"
    rows = [row for table in tables.values() for row in table.to_pylist()]
    return sorted(map(_comparable, rows), key=_place)


def _place(row: Row) -> tuple[Any, ...]:
    numbers = (row["sequence_number"], row["sub_sequence_number"], row.get("record_index", 0))
    return (row["arrived_at"], *map(int, numbers))


def _stored(expected: Expected, archived: list[Row]) -> dict[Any, Row]:
    """What the table must have: all ticks, or where rows are thin some of those that the archive has."""
    if not expected.row_seconds:
        return expected.ticks
    arrivals = [row | {"arrived_at": datetime.fromisoformat(row["arrived_at"])} for row in archived]
    keys = thinned(arrivals, expected.row_seconds)
    return {key: row for key, row in expected.ticks.items() if key in keys}


def _without_conflicts(archived: list[Row], expected: Expected) -> list[Row]:
    """The archived rows of which each has a key of its own: with thin rows, late ones have none."""
    return [row for row in archived if not row.get("conflict") and not (expected.row_seconds and row.get("late"))]


def _key(row: Row) -> tuple[str, str]:
    return row["symbol"], row["timestamp"]


def _ticks(rows: list[Row], expected: dict[Any, Row]) -> list[str]:
    found = {(row["symbol"], row["timestamp"]): _plain(row) for row in rows}
    double = len(rows) - len(found)
    return [
        *([f"ticks.jsonl: {double} rows share a key with another"] if double else []),
        *_different("ticks.jsonl", found, expected),
    ]


def _plain(row: Row) -> Row:
    """Leave out of a row what the oracle does not know."""
    return {name: value for name, value in _comparable(row).items() if name not in _UNKNOWN}


def _bookkeeping(rows: list[Row], retention_days: int) -> list[str]:
    problems = []
    for row in rows:
        missing = _BOOKKEEPING - row.keys()
        if missing:
            problems.append(f"ticks.jsonl: {_name(row)} lacks {', '.join(sorted(missing))}")
            continue
        arrived = datetime.fromisoformat(row["arrived_at"])
        expires = datetime.fromtimestamp(int(row["expires_at"]), UTC)
        if abs(expires - arrived - timedelta(days=retention_days)) > timedelta(seconds=1):
            problems.append(f"ticks.jsonl: {_name(row)} arrived {arrived} and expires {expires}")
    return problems[:_SHOWN]


def _alerts(alerts: list[Row], expected: Expected) -> list[str]:
    found = _by_alert_id(alerts, _ALERT_FIELDS)
    double = len(alerts) - len(found)
    unsent = [_name(row) for row in alerts if row.get("status") != "sent" or not row.get("published_at")]
    speechless = [_name(row) for row in alerts if row["symbol"] not in row.get("message", "")]
    eternal = [_name(row) for row in alerts if not isinstance(row.get("expires_at"), Decimal)]
    return [
        *([f"alerts.jsonl: {double} rows share a key with another"] if double else []),
        *_first("alerts.jsonl: not marked as sent", unsent),
        *_first("alerts.jsonl: no message that names the symbol", speechless),
        *_first("alerts.jsonl: no expires_at", eternal),
        *_different("alerts.jsonl", found, expected.alerts),
    ]


def _messages(messages: list[Row], alerts: list[Row], *, repeats_allowed: bool) -> list[str]:
    names = (*_ALERT_FIELDS, "message")

    times = Counter((row["symbol"], row["alert_id"]) for row in messages)
    repeated = [f"{key} {count} times" for key, count in times.items() if count > 1]
    return [
        *([] if repeats_allowed else _first("messages.jsonl: delivered more than once", repeated)),
        *_different(
            "messages.jsonl (against alerts.jsonl)", _by_alert_id(messages, names), _by_alert_id(alerts, names)
        ),
    ]


def _by_alert_id(rows: list[Row], names: Iterable[str]) -> dict[Any, Row]:
    return {(row["symbol"], row["alert_id"]): {name: row.get(name) for name in names} for row in rows}


def _parquet(archived: list[Row], rows: list[Row], expected: Expected) -> list[str]:
    names = _names_of_averages(rows)
    without_conflicts = _without_conflicts(archived, expected)
    stored = [{names.get(name, name): value for name, value in row.items()} for row in without_conflicts]
    columns = {name for row in stored for name in row}
    hidden = {"expires_at"} - columns  # the archive does not need them
    in_table = {
        _key(row): {name: value for name, value in _comparable(row).items() if name not in hidden} for row in rows
    }
    times = Counter(map(_key, stored))
    repeated = [f"{key} {count} times" for key, count in times.items() if count > 1]
    by_key = {_key(row): row for row in stored}
    conflicts = [row for row in archived if row.get("conflict")]
    late = [row for row in archived if row.get("late")] if expected.row_seconds else []
    return [
        *_first("s3/ticks: rows in more than one place", repeated),
        *_different(
            "s3/ticks (against ticks.jsonl)", {key: row for key, row in by_key.items() if key in in_table}, in_table
        ),
        *_different("s3/ticks", {key: _plain(row) for key, row in by_key.items()}, expected.ticks),
        *_counted("s3/ticks, conflicts", map(_meant, conflicts), map(_meant, expected.conflicts)),
        *_counted("s3/ticks, late", map(_meant, late), map(_meant, expected.late_only)),
    ]


def _meant(row: Row) -> Hashable:
    return _frozen(_plain(row))


def _names_of_averages(rows: list[Row]) -> dict[str, str]:
    """What the table calls the archive's averages: the sizes of the windows are in its names."""
    sizes = {int(found[1]) for row in rows for name in row if (found := re.fullmatch(r"sma_(\d+)", name))}
    return {name: f"sma_{size}" for size, name in zip(sorted(sizes), ("sma_fast", "sma_slow"), strict=False)}


def _raw_data(objects: Mapping[str, bytes], expected: Expected, *, same_bytes: bool) -> list[str]:
    lines = [line for content in objects.values() for line in gzip.decompress(content).splitlines()]
    read = _one_line if same_bytes else _meaning
    return _counted("s3/raw-data", map(read, lines), map(read, expected.archived))


def _quarantine(objects: Mapping[str, bytes], expected: Expected, *, same_bytes: bool) -> list[str]:
    rows = _json_lines(objects)
    incomplete = [str(row)[:200] for row in rows if not row.get("reason") or _QUARANTINE_FIELDS - row.keys()]
    payloads = [base64.b64decode(row["data"], validate=True) for row in rows]
    read: Callable[[bytes], Hashable] = _itself if same_bytes else _fields
    return [
        *_first("s3/quarantine: lines without their reason or origin", incomplete),
        *_counted("s3/quarantine", map(read, payloads), map(read, expected.quarantined)),
    ]


def _exported_quarantine(exported: list[Row], objects: Mapping[str, bytes]) -> list[str]:
    rows = _json_lines(objects)
    same = Counter(map(_frozen, rows)) == Counter(map(_frozen, exported))
    return [] if same else [f"quarantine.jsonl: its {len(exported)} lines are not s3/quarantine's {len(rows)}"]


def _json_lines(objects: Mapping[str, bytes]) -> list[Row]:
    return [json.loads(line) for content in objects.values() for line in gzip.decompress(content).splitlines()]


def _lines(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in file]


def _objects(root: Path) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {kind: {} for kind in _KEYS}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            key = path.relative_to(root).as_posix()
            kind = key.partition("/")[0]
            if kind == "snapshots":
                continue  # the consumer's memory: whether it is right is seen in the rows after a restart
            assert kind in _KEYS, f"s3/{key} is neither raw data nor ticks nor quarantine"
            assert _KEYS[kind].fullmatch(key), f"s3/{key} is not named as agreed"
            found[kind][key] = path.read_bytes()
    return found


def _comparable(row: Row) -> Row:
    """Bring a row of any store into the oracle's form: absent left out, sets sorted, numbers decimals."""
    result: Row = {}
    for name, value in row.items():
        if value is None or (name in _SETS and not value) or (name in _FLAGS and value is False):
            continue
        if name in _SETS:
            result[name] = sorted(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            result[name] = Decimal(str(value))
        elif isinstance(value, datetime):
            result[name] = value.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"
        else:
            result[name] = value
    return result


def _one_line(payload: bytes) -> bytes:
    """Write a payload as the archive does: a line break between two tokens of JSON becomes a space."""
    return payload.replace(b"\r", b" ").replace(b"\n", b" ").strip()


def _meaning(payload: bytes) -> Hashable:
    return read_tick(payload, _LATEST_ARRIVAL)


def _fields(payload: bytes) -> Hashable:
    return _frozen(json.loads(payload, parse_float=Decimal, parse_int=Decimal))


def _itself(payload: bytes) -> Hashable:
    return payload


def _frozen(fields: Row) -> Hashable:
    return frozenset(_comparable(fields).items())


def _counted(where: str, found: Iterable[Hashable], expected: Iterable[Hashable]) -> list[str]:
    have, want = Counter(found), Counter(expected)
    missing = [f"{item!r:.300} x{count}" for item, count in (want - have).items()]
    surplus = [f"{item!r:.300} x{count}" for item, count in (have - want).items()]
    return [*_first(f"{where}: missing", missing), *_first(f"{where}: too many", surplus)]


def _different(where: str, found: Mapping[Any, Row], expected: Mapping[Any, Row]) -> list[str]:
    changed = [
        f"{key}: {', '.join(_changes(found[key], expected[key]))}"
        for key in sorted(found.keys() & expected.keys())
        if found[key] != expected[key]
    ]
    return [
        *_first(f"{where}: missing", [str(key) for key in sorted(expected.keys() - found.keys())]),
        *_first(f"{where}: not expected", [str(key) for key in sorted(found.keys() - expected.keys())]),
        *_first(f"{where}: different", changed),
    ]


def _changes(found: Row, expected: Row) -> Iterable[str]:
    for name in sorted(found.keys() | expected.keys()):
        have, want = found.get(name, "absent"), expected.get(name, "absent")
        if have != want:
            yield f"{name} is {have}, expected {want}"


def _first(what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = f" ... and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return [f"{what} ({len(items)}): " + "; ".join(items[:_SHOWN]) + more]


def _name(row: Row) -> str:
    return f"{row.get('symbol')} {row.get('alert_id') or row.get('timestamp')}"
