"""SQL over the archive: DuckDB on copies of its objects, which are fetched side by side and are gone afterwards."""

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from re import compile as regex
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from common.errors import UserError
from common.tick import WIRE_FIELDS
from desk import archive
from desk.archive import Object
from desk.progress import progress
from desk.system import System

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Result = TypeVar("Result")

TABLES = ("ticks", "raw_data", "quarantine", "bars")

_MOST_BYTES = 4 * 1024**3
_MOST_OBJECTS = 50_000
_MEMORY = "512MB"
_ROWS = 1000
_INTERRUPT_AGAIN_SECONDS = 0.1
_PARTITION = regex(r"/dt=(\d{4}-\d\d-\d\d)/(?:hour=(\d\d)/)?")
_HIVE = "hive_partitioning = true, hive_types = {dt: DATE, hour: INT}"
_DAYS = "hive_partitioning = true, hive_types = {dt: DATE}"

_TEXT = ("payload", *WIRE_FIELDS)
_REJECT = {
    **dict.fromkeys(("reason", "shard_id", "sequence_number"), "VARCHAR"),
    **dict.fromkeys(("sub_sequence_number", "record_index"), "BIGINT"),
    **dict.fromkeys(("partition_key", "arrived_at", "data"), "VARCHAR"),
}


class Answer(NamedTuple):
    """The names of the columns, each once, and the rows."""

    names: list[str]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def ask(system: System, query: str, since: str | None = None, until: str | None = None) -> Iterator[Answer]:
    """Answer a query while in the context.

    Parameters
    ----------
    system
        Whose archive it is.
    query
        One SELECT of DuckDB's SQL that names some of `TABLES`.
    since, until
        Times of arrival as ``YYYY-MM-DDTHH:MM:SS.ffffffZ``; they pick objects, not rows.

    Raises
    ------
    UserError
        It is no such query, or something of the archive is missing or too much.

    """
    tables = tables_in(query)
    with TemporaryDirectory(prefix="tickertape-sql-", ignore_cleanup_errors=True) as folder, _database() as database:
        found = {table: _objects(system, table, since, until) for table in tables}
        _refuse_too_much(found)
        for table, objects in found.items():
            _create(database, table, _copied(system, table, objects, Path(folder)))
        _lock(database, folder)
        yield _answer(database, query)


def tables_in(query: str) -> list[str]:
    """Name the tables of a query.

    Raises
    ------
    UserError
        It is not one SELECT, or names none of `TABLES`.

    """
    with _database() as database:
        (text,) = database.execute("SELECT json_serialize_sql(?)", [query]).fetchone() or ("{}",)
    parsed = json.loads(text)
    if parsed["error"] and parsed.get("error_type") != "not implemented":
        raise UserError(f"the query cannot be read: {_one_line(parsed['error_message'])}")
    if parsed["error"] or len(parsed["statements"]) != 1:
        raise UserError("only one SELECT is answered: the archive is read, never written")
    named = set(_tables_below(parsed))
    tables = [table for table in TABLES if table in named]
    if not tables:
        raise UserError(f"the query names no table: there are {', '.join(TABLES)}")
    return tables


def _tables_below(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield node["table_name"].lower()
        for value in node.values():
            yield from _tables_below(value)
    elif isinstance(node, list):
        for value in node:
            yield from _tables_below(value)


@contextmanager
def _database() -> "Iterator[DuckDBPyConnection]":
    try:
        import duckdb  # noqa: PLC0415  (68 MB, which only SQL needs)
    except ModuleNotFoundError:
        raise UserError(
            "sql needs duckdb, not installed here: pip install 'tickertape[desk]', use the image tickertape:local, or "
            "ask Athena: --athena"
        ) from None
    with duckdb.connect(":memory:") as database:
        yield database


@contextmanager
def _as_user_errors() -> Iterator[None]:
    import duckdb  # noqa: PLC0415  (see _database)

    try:
        yield
    except duckdb.Error as error:
        raise UserError(_one_line(str(error).partition("\n\nLINE ")[0])) from None


def _objects(system: System, table: str, since: str | None, until: str | None) -> list[Object]:
    return archive.objects(system, table.replace("_", "-"), since, until)


def _refuse_too_much(found: dict[str, list[Object]]) -> None:
    objects = [item for items in found.values() for item in items]
    size = sum(item.size for item in objects)
    if size > _MOST_BYTES or len(objects) > _MOST_OBJECTS:
        raise UserError(
            f"{len(objects):,} objects of {size / 1e9:.1f} GB would have to be read: narrow the time with --since and "
            "--until, or ask Athena: --athena"
        )


def _copied(system: System, table: str, objects: list[Object], folder: Path) -> Path | None:
    """Copy objects into files, the newest first; gives the folder that they are in, or None if there are none."""
    target = folder / table
    convert = _text_columns if table == "raw_data" else bytes
    ending = "json.gz" if table == "quarantine" else "parquet"

    def copy(numbered: tuple[int, Object]) -> None:
        number, item = numbered
        _write(target / _partition(item.key) / f"{number}.{ending}", archive.get(system, item.key), convert)

    copies = system.side_by_side(copy, enumerate(objects))
    for _ in progress(copies, f"objects of {table} read", len(objects)):
        pass
    return target if objects else None


def _write(file: Path, body: bytes, convert: Callable[[bytes], bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(convert(body))


def _partition(key: str) -> str:
    """Name the folder of a partition as the bucket does: it makes columns, ``dt`` and, where there are, ``hour``."""
    found = _PARTITION.search(key)
    day, hour = found.groups() if found else ("1970-01-01", None)
    return f"dt={day}/hour={hour}" if hour else f"dt={day}"


def _text_columns(body: bytes) -> bytes:
    """Make Parquet of received payloads: each field's own text, as DuckDB's JSON makes doubles of numbers."""
    from arro3.core import Array, DataType, Table  # noqa: PLC0415  (8 MB, which nothing else here needs)
    from arro3.io import write_parquet  # noqa: PLC0415

    rows = [_texts(line) for line in gzip.decompress(body).splitlines()]
    columns = dict(zip(_TEXT, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(_TEXT, ())
    table = Table.from_pydict({name: Array(values, type=DataType.utf8()) for name, values in columns.items()})
    file = BytesIO()
    write_parquet(table, file, compression="zstd(1)")
    return file.getvalue()


def _texts(line: bytes) -> list[str | None]:
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        fields = {}
    return [line.decode(errors="replace"), *(_text(fields.get(name)) for name in WIRE_FIELDS)]


def _text(value: msgspec.Raw | None) -> str | None:
    if value is None or value == b"null":
        return None
    raw = bytes(value)
    return msgspec.json.decode(raw, type=str) if raw[:1] == b'"' else raw.decode()


def _create(database: "DuckDBPyConnection", table: str, folder: Path | None) -> None:
    if folder is not None:
        database.execute(f"CREATE VIEW {table} AS SELECT * FROM {_source(table, folder)}")  # noqa: S608  (our own names)
        return
    if table in {"ticks", "bars"}:
        raise UserError(f"there are no {table} in the archive of this time: --since 7d looks further back")
    columns = {**(_REJECT if table == "quarantine" else dict.fromkeys(_TEXT, "VARCHAR")), "dt": "DATE"}
    if table == "raw_data":
        columns["hour"] = "INT"
    definitions = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    database.execute(f"CREATE TABLE {table} ({definitions})")


def _source(table: str, folder: Path) -> str:
    if table == "quarantine":
        columns = ", ".join(f"{name}: '{kind}'" for name, kind in _REJECT.items())
        return f"read_json('{folder}/**/*.json.gz', format = 'newline_delimited', columns = {{{columns}}}, {_DAYS})"
    # rules come and go, and with them columns
    partitions = _DAYS if table == "bars" else _HIVE
    return f"read_parquet('{folder}/**/*.parquet', union_by_name = true, {partitions})"


def _lock(database: "DuckDBPyConnection", folder: str) -> None:
    """Have the query read nothing but the copies, and change nothing of this."""
    for setting in (
        f"memory_limit = '{_MEMORY}'",
        f"temp_directory = '{folder}/spilled'",
        f"allowed_directories = ['{folder}']",
        "enable_external_access = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "python_enable_replacements = false",
        "lock_configuration = true",
    ):
        database.execute(f"SET {setting}")


def _answer(database: "DuckDBPyConnection", query: str) -> Answer:
    result = _interruptible(database, lambda: database.execute(query))
    names: list[str] = []
    for name, *_ in result.description or ():
        others = sum(other == name or other.startswith(f"{name}_") for other in names)
        names.append(f"{name}_{others}" if name in names else name)
    return Answer(names, _rows(result))


def _rows(result: "DuckDBPyConnection") -> Iterator[tuple[Any, ...]]:
    while rows := _interruptible(result, lambda: result.fetchmany(_ROWS)):
        yield from rows


def _interruptible(database: "DuckDBPyConnection", call: Callable[[], Result]) -> Result:
    """Have DuckDB work in a thread: where it works, nobody notices Ctrl-C.

    Raises
    ------
    UserError
        It cannot do it.

    """
    with ThreadPoolExecutor(1) as pool, _as_user_errors():
        future = pool.submit(call)
        try:
            return future.result()
        finally:
            while not future.done():  # an interrupt of what has not begun yet is forgotten
                database.interrupt()
                wait([future], _INTERRUPT_AGAIN_SECONDS)


def _one_line(text: str) -> str:
    return " ".join(text.split())
