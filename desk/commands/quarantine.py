"""`tickertape quarantine`: what was no tick and why, and how it is published again."""

import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg

from common.errors import SettingsError, UserError
from common.settings import read_settings
from common.tick import NotATickError, TickDecoder
from desk.command import QuestionSettings, run
from desk.moments import Moment
from desk.output import Column, is_table, output
from desk.progress import progress
from desk.quarantine import Again, Reader, Reject, publish, rejects
from desk.quotes import time_of
from desk.rows import Row
from desk.system import System, find_system

_NEWEST = 50
_SHOWN_CHARACTERS = 80


class QuarantineSettings(QuestionSettings):
    """List the records that are no ticks, show some of them whole, or publish again what is a tick by now."""

    action: CliPositionalArg[Literal["list", "show", "replay"]] = Field(
        "list", description="list (the newest), show (some, by their ids) or replay (publish again)."
    )
    ids: CliPositionalArg[list[str]] = Field([], description="Which ones, to show or to replay, as list names them.")
    since: Moment | None = Field(
        None, description="Arrival of the first: 30m, 1h, 2d, 1w ago, or a time as 2026-01-31T14:30Z."
    )
    until: Moment | None = Field(None, description="Arrival of the last, likewise.")
    reason: str | None = Field(None, description="Only those whose reason has this in it.")
    limit: int | None = Field(
        None, ge=1, description=f"List at most so many, the newest; without --since and --until {_NEWEST}, else all."
    )
    file: Path | None = Field(
        None, description="Replay the payloads in this file, mended: lines as --format jsonl has them."
    )
    field_map: dict[str, str] = Field(
        {}, validation_alias="field_map", description="Replay reads other producers' names as consume does, as JSON."
    )
    max_clock_skew_seconds: int = Field(
        300,
        ge=0,
        validation_alias="max_clock_skew_seconds",
        description="Replay refuses a tick that is so many seconds ahead of now, as consume does.",
    )

    @model_validator(mode="after")
    def _says_which(self) -> "QuarantineSettings":
        chosen = self.ids or self.since or self.until or self.reason or self.file
        if self.action == "replay" and not chosen:
            raise ValueError("say what to replay: ids, --reason, --since, --until or --file")
        if self.action == "show" and not self.ids:
            raise ValueError("say what to show: ids, as `tickertape quarantine` lists them")
        if self.action == "list" and self.ids:
            raise ValueError(f"list takes no ids: tickertape quarantine show {' '.join(self.ids)}")
        if self.file and (self.action != "replay" or self.ids):
            raise ValueError("--file is for replay, without ids")
        return self


def main(arguments: list[str]) -> int:
    """List, show or replay; returns the exit code."""
    return run(lambda: _quarantine(read_settings(QuarantineSettings, arguments, "quarantine")))


def _quarantine(settings: QuarantineSettings) -> None:
    system = find_system(settings)
    {"list": _list, "show": _show, "replay": _replay}[settings.action](system, settings)


def _list(system: System, settings: QuarantineSettings) -> None:
    limit = settings.limit or (None if settings.since or settings.until else _NEWEST)
    _write(map(_row, islice(_found(system, settings), limit)), settings)


def _show(system: System, settings: QuarantineSettings) -> None:
    rows = map(_row, _found(system, settings))
    if not is_table(settings.format):
        _write(rows, settings)
        return
    for row in rows:
        shown = output(settings.format, (Column("field", style="dim"), Column("value", wraps=True)))
        shown.write({"field": name, "value": value} for name, value in row.items())


def _write(rows: Iterable[Row], settings: QuarantineSettings) -> None:
    shown = output(settings.format, _COLUMNS, _COLUMN_NAMES)
    shown.write(rows)
    shown.end()


def _replay(system: System, settings: QuarantineSettings) -> None:
    """Publish what can be read, say what became of each, and fail if something could not be read."""
    decoder = TickDecoder(settings.max_clock_skew_seconds, settings.field_map)
    reader = Reader(decoder, time.time_ns() // 1_000_000)
    outcomes = _mended(system, reader, settings.file) if settings.file else _as_they_were(system, reader, settings)
    counted = {"published": 0, "refused": 0}
    shown = output(settings.format, _OUTCOME_COLUMNS, ("id", "outcome", "remark"))
    for row in progress(outcomes, "records replayed"):
        counted[row["outcome"]] += 1
        shown.write([row])
    shown.end()
    if counted["refused"]:
        raise UserError(
            f"{counted['published']} published to {system.stream}, {counted['refused']} are no ticks still: "
            "mend their payloads and replay them with --file"
        )
    if not counted["published"]:
        raise UserError("nothing in the quarantine is as you say: `tickertape quarantine` lists what there is")


def _found(system: System, settings: QuarantineSettings) -> Iterator[Reject]:
    """Read what is wanted, newest first.

    Raises
    ------
    UserError
        Some of the ids are nobody's.

    """
    missing = set(settings.ids)
    for reject in progress(rejects(system, settings.since, settings.until), "records read"):
        if settings.reason and settings.reason not in reject.reason:
            continue
        if not settings.ids:
            yield reject
        elif reject.id in missing:
            missing.remove(reject.id)
            yield reject
            if not missing:
                return
    if missing:
        raise UserError(f"the quarantine has no {', '.join(sorted(missing))}: `tickertape quarantine` lists the ids")


def _as_they_were(system: System, reader: Reader, settings: QuarantineSettings) -> Iterator[Row]:
    oldest_first = list(_found(system, settings))[::-1]
    for reject in oldest_first:
        try:
            again = reader.again(reject)
        except NotATickError as error:
            yield {"id": reject.id, "outcome": "refused", "remark": str(error)}
        else:
            yield _published(system, reject.id, again)


class _Mended(msgspec.Struct):
    id: str
    arrived_at: str
    payload: str


def _mended(system: System, reader: Reader, file: Path) -> Iterator[Row]:
    for mended in sorted(_lines(file), key=attrgetter("arrived_at")):
        try:
            again = reader.mended(mended.payload.encode(), mended.arrived_at)
        except NotATickError as error:
            yield {"id": mended.id, "outcome": "refused", "remark": str(error)}
        else:
            yield _published(system, mended.id, again)


def _lines(file: Path) -> Iterable[_Mended]:
    """Read all lines before anything is published.

    Raises
    ------
    SettingsError
        The file cannot be read, or has something else in it.

    """
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise SettingsError(f"--file {file} cannot be read: {error.strerror}") from None
    read = []
    for number, line in enumerate(lines, 1):
        try:
            read.append(msgspec.json.decode(line, type=_Mended))
        except msgspec.DecodeError as error:
            raise SettingsError(
                f"--file {file}, line {number}: {error}: give lines of `tickertape quarantine --format jsonl`"
            ) from None
    return read


def _published(system: System, name: str, again: Again) -> Row:
    (sequence_number,) = publish(system, [again])
    return {"id": name, "outcome": "published", "remark": sequence_number}


def _row(reject: Reject) -> Row:
    return {"id": reject.id, **{name: getattr(reject, name) for name in _COLUMN_NAMES[1:]}}


def _beginning(row: Row) -> str:
    payload: str = row["payload"]
    return payload if len(payload) <= _SHOWN_CHARACTERS else f"{payload[: _SHOWN_CHARACTERS - 1]}…"


_COLUMN_NAMES = (
    *("id", "arrived_at", "reason", "partition_key", "payload"),
    *("shard_id", "sequence_number", "sub_sequence_number", "record_index", "data"),
)
_COLUMNS = (
    Column("id", style="bold"),
    Column("arrived_at", lambda row: time_of(row["arrived_at"]), "dim"),
    Column("reason", style="yellow", wraps=True),
    Column("partition_key"),
    Column("payload", _beginning, wraps=True),
)
_OUTCOME_COLUMNS = (
    Column("id", style="bold"),
    Column("outcome", style=lambda row: "green" if row["outcome"] == "published" else "red"),
    Column("remark", wraps=True),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
