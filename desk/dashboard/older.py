"""What has expired from the table, from the archive: a tick of now and then, enough for a line of a month."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from desk import archive
from desk.archive import Object
from desk.rows import Row
from desk.system import System

_MOST_OBJECTS = 120
"""So many are read at most, as far apart as there are others between them."""

_LARGEST_OBJECT_BYTES = 2_000_000
_COLUMNS = ("timestamp", "price", "volume", "bollinger_lower", "bollinger_upper", "expected_low", "expected_high")
_AVERAGES = ("sma_fast", "sma_slow")
"""The archive's names, whatever the windows' sizes are."""


def older(system: System, newer: Row, since: str) -> list[Row]:
    """Read a symbol's last tick in each of some windows of arrival between ``since`` and a row, oldest first.

    Parameters
    ----------
    system
        Whose archive it is.
    newer
        The oldest row that the table has: what is read is of its symbol and shard, and has its names of averages.
    since
        The first moment, ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.

    """
    found = archive.objects(system, "ticks", since, newer["timestamp"])
    fit = [item for item in found if newer.get("shard_id", "") in item.key and item.size <= _LARGEST_OBJECT_BYTES]
    names = {**{name: name for name in _COLUMNS}, **dict(zip(_AVERAGES, _averages(newer), strict=False))}
    last = {row["timestamp"]: row for row in _last_rows(system, _some(fit), newer["symbol"], names)}
    return [last[timestamp] for timestamp in sorted(last) if since <= timestamp < newer["timestamp"]]


def _some(objects: list[Object]) -> list[Object]:
    step = max(1, -(-len(objects) // _MOST_OBJECTS))
    return objects[::step]


def _averages(row: Row) -> list[str]:
    """Name the averages as the table does, the fast one first."""
    return sorted((name for name in row if name.startswith("sma_")), key=lambda name: int(name.removeprefix("sma_")))


def _last_rows(system: System, objects: list[Object], symbol: str, names: dict[str, str]) -> Iterator[Row]:
    for _, body in archive.fetch(system, objects):
        rows = [row for row in _rows(body, {"symbol": "symbol", **names}) if row["symbol"] == symbol]
        if rows:
            yield max(rows, key=lambda row: str(row["timestamp"]))


def _rows(body: bytes, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    from arro3.io import read_parquet  # noqa: PLC0415  (it takes some megabytes, and few charts need it)

    for batch in read_parquet(BytesIO(body)):
        there = [name for name in names if name in batch.schema.names]
        columns = [batch.column(name).to_pylist() for name in there]
        for values in zip(*columns, strict=True):
            told = zip(there, values, strict=True)
            yield {names[name]: value for name, value in told if value is not None}
