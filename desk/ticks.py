"""Ticks: which symbols there are, the latest of each, and the history of one."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

from common.aws import ask
from common.errors import UserError
from consumer.memory import names_in
from desk.rows import Row, query
from desk.system import System

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectTypeDef  # development dependencies: types only

_MOST_ENDED = 100
"""Of so many shards that have ended the last snapshots are read: children begin with them, and may have none yet."""

_SUGGESTIONS = 3
_ATTEMPTS = 5


def symbols(system: System) -> list[str]:
    """Name all symbols, in alphabetical order.

    They are those of the shards' snapshots: one small object a shard, written with each archive window. Reading them
    from the table would be a scan of all its rows.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    for _ in range(_ATTEMPTS):
        bodies = list(system.side_by_side(lambda key: _snapshot(system, key), _snapshot_keys(system)))
        if None not in bodies:
            break  # else a shard has replaced its snapshot meanwhile: the next list has the new one
    return sorted({name for body in bodies if body for name in names_in(body)})


def _snapshot_keys(system: System) -> list[str]:
    bucket, prefix = system.archive_bucket, f"snapshots/{system.application}/"

    def listed() -> list["ObjectTypeDef"]:
        pages = system.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item for page in pages for item in page.get("Contents", [])]

    found = ask(f"bucket {bucket}, snapshots/", listed)
    ended = [item for item in found if item["Key"].endswith("/SHARD_END")]
    ended.sort(key=lambda item: item["LastModified"], reverse=True)
    live = [item["Key"] for item in found if not item["Key"].endswith("/SHARD_END")]
    return [*live, *(item["Key"] for item in ended[:_MOST_ENDED])]


def _snapshot(system: System, key: str) -> bytes | None:
    bucket = system.archive_bucket

    def get() -> bytes | None:
        try:
            return system.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except system.s3.exceptions.NoSuchKey:
            return None

    return ask(f"bucket {bucket}, snapshots/", get)


def latest(system: System, wanted: Iterable[str]) -> dict[str, Row]:
    """Read the newest row of each symbol; a symbol that has none is left out.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    names = list(dict.fromkeys(wanted))
    rows = system.side_by_side(lambda name: list(islice(history(system, name, newest_first=True, page=1), 1)), names)
    return {name: found[0] for name, found in zip(names, rows, strict=True) if found}


def history(
    system: System,
    symbol: str,
    since: str | None = None,
    until: str | None = None,
    *,
    newest_first: bool = False,
    page: int = 1000,
) -> Iterator[Row]:
    """Read a symbol's rows, both bounds included, page by page as they are wanted.

    Parameters
    ----------
    system
        Whose ticks they are.
    symbol
        The symbol, in upper case.
    since, until
        Event times as ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.
    newest_first
        Whether the newest row comes first, else the oldest.
    page
        How many rows are asked for at a time.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    return query(system, system.ticks_table, symbol, "timestamp", (since, until), newest_first=newest_first, page=page)


def unknown(system: System, name: str) -> UserError:
    """Say that there is nothing of a symbol, and which ones are written like it."""
    known = symbols(system) if system.bucket else []
    alike = get_close_matches(name, known, _SUGGESTIONS) or [
        other for other in known if other.startswith(name) or name.startswith(other)
    ]
    hint = f"did you mean {' or '.join(alike[:_SUGGESTIONS])}?" if alike else "`tickertape latest` shows what there is"
    return UserError(f"there are no ticks of {name}: {hint}")
