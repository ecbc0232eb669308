"""The archive's objects: those of some time, newest first, fetched side by side."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from re import compile as regex
from typing import NamedTuple

from common.aws import ask
from desk.system import System

_DAY = regex(r"/dt=(\d{4}-\d\d-\d\d)/")
_WINDOW = regex(r"_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z_")
_LONGEST_WINDOW = timedelta(hours=1)


class Object(NamedTuple):
    """An object's key, its size in bytes, and when its window of arrival begins (``YYYY-MM-DDTHH:MM:SS``)."""

    key: str
    size: int
    start: str


def objects(system: System, folder: str, since: str | None = None, until: str | None = None) -> list[Object]:
    """List the objects that may hold records which arrived in some time, newest window first.

    Parameters
    ----------
    system
        Whose archive it is.
    folder
        ``ticks``, ``raw-data``, ``quarantine`` or ``bars``.
    since, until
        Times of arrival as ``YYYY-MM-DDTHH:MM:SS.ffffffZ``; None for no such bound.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    first, last = _window_before(since), (until or "~")[:19]
    days = [day for day in _days(system, folder) if first[:10] <= day <= last[:10]]
    found = [item for listed in system.side_by_side(lambda day: _of_day(system, folder, day), days) for item in listed]
    return sorted(
        (item for item in found if first <= item.start <= last or len(item.start) == 10),
        key=lambda item: (item.start, item.key),
        reverse=True,
    )


def fetch(system: System, wanted: Iterable[Object]) -> Iterator[tuple[Object, bytes]]:
    """Read objects side by side, and give them in their order.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    return system.side_by_side(lambda item: (item, get(system, item.key)), wanted)


def get(system: System, key: str) -> bytes:
    """Read an object.

    Raises
    ------
    UserError
        AWS refuses, or does not answer.

    """
    bucket = system.archive_bucket

    def attempt() -> bytes:
        body = system.download(key)
        return system.s3.get_object(Bucket=bucket, Key=key)["Body"].read() if body is None else body

    return ask(f"object {key} of bucket {bucket}", attempt)


def _window_before(since: str | None) -> str:
    """Give the earliest start of a window that reaches into what is wanted."""
    if since is None:
        return ""
    start = datetime.fromisoformat(since).astimezone(UTC) - _LONGEST_WINDOW
    return start.isoformat()[:19]


def _days(system: System, folder: str) -> list[str]:
    bucket = system.archive_bucket

    def listed() -> list[str]:
        pages = system.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/", Delimiter="/")
        return [prefix["Prefix"] for page in pages for prefix in page.get("CommonPrefixes", [])]

    days = (_DAY.search(prefix) for prefix in ask(f"bucket {bucket}, {folder}/", listed))
    return [day[1] for day in days if day]


def _of_day(system: System, folder: str, day: str) -> list[Object]:
    bucket, prefix = system.archive_bucket, f"{folder}/dt={day}/"

    def listed() -> list[Object]:
        pages = system.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        items = [item for page in pages for item in page.get("Contents", [])]
        return [Object(item["Key"], item["Size"], _start(item["Key"]) or day) for item in items]

    return ask(f"bucket {bucket}, {folder}/", listed)


def _start(key: str) -> str | None:
    found = _WINDOW.search(key)
    return "{}-{}-{}T{}:{}:{}".format(*found.groups()) if found else None
