"""The recorded ticks of a backtest: files that a replay reads, or an archive, in parts that go side by side."""

import gzip
import math
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from re import compile as regex
from threading import Event
from typing import NamedTuple

import msgspec

from common.errors import UserError
from common.tick import NotATickError, Tick, TickDecoder, encode
from producer.clock import Clock
from producer.feeds.replay import Replay
from producer.files import has_rows
from producer.reading import Reading

_EVER_MS = 4_102_444_800_000
"""2100: recorded ticks are in time, whenever they arrived."""

_TICKS = """
    SELECT symbol, timestamp, (price * 1000000000)::BIGINT, (open * 1000000000)::BIGINT,
        (high * 1000000000)::BIGINT, (low * 1000000000)::BIGINT, (previous_close * 1000000000)::BIGINT, volume, source
    FROM read_parquet(?, union_by_name = true, hive_partitioning = false)
    WHERE late IS NULL AND conflict IS NULL AND misplaced IS NULL AND hash(symbol) % ? = ?
    ORDER BY timestamp, symbol
"""
_ROWS = 10_000
_WINDOW = regex(r"_(\d{8}T\d{6}Z)_")
_ANY_SKEW_SECONDS = 100 * 365 * 24 * 3600


class Part(NamedTuple):
    """Ticks that one process takes, one after the other; no symbol of an archive is in two parts of it.

    ``kind`` is ``file``, or the archive's folder: ``ticks`` or ``raw-data``.
    """

    kind: str
    paths: tuple[Path, ...]
    share: int = 0
    shares: int = 1


class FileNotes(msgspec.Struct, frozen=True):
    """What a person says of files: see `producer.feeds.replay.Replay`."""

    symbol: str | None
    only: tuple[str, ...]
    field_map: dict[str, str]


def find_parts(paths: list[Path], processes: int) -> list[Part]:
    """Divide what is to be read; a file is a part, as a replay of it would be a run.

    Raises
    ------
    UserError
        There is nothing to read.

    """
    return [part for path in paths for part in _parts_of(path, processes)]


def _parts_of(path: Path, processes: int) -> list[Part]:
    if not path.is_dir():
        return [Part("file", (path,))]
    if ticks := _objects(path, "ticks", ".parquet"):
        return [Part("ticks", ticks, share, processes) for share in range(processes)]
    if lines := _objects(path, "raw-data", ".json.gz"):
        return [Part("raw-data", lines)]
    files = sorted(file for file in path.iterdir() if file.is_file() and has_rows(file))
    if not files:
        raise UserError(f"{path}: there is neither an archive in it nor a file that a replay reads")
    return [Part("file", (file,)) for file in files]


def _objects(path: Path, folder: str, suffix: str) -> tuple[Path, ...]:
    """Find an archive's objects of a kind in the order of their windows; ``path`` is its root, or above or below it."""
    found = [file for file in path.rglob(f"*{suffix}") if f"/{folder}/dt=" in file.as_posix()]
    return tuple(sorted(found, key=lambda file: (file.name.partition("_")[2], file.name)))


def ticks_of(part: Part, notes: FileNotes, reading: Reading) -> Iterator[Tick]:
    """Read the ticks of a part as the consumer gets them, but for those that it does not take.

    Raises
    ------
    UserError
        A file cannot be read; the message says where and why.

    """
    read = {"file": _of_file, "ticks": _of_ticks, "raw-data": _of_payloads}[part.kind]
    last: dict[str, str] = {}
    for tick in read(part, notes, reading):
        if tick.timestamp > last.get(tick.symbol, ""):  # others are late, or come again
            last[tick.symbol] = tick.timestamp
            yield tick


def _of_file(part: Part, notes: FileNotes, reading: Reading) -> Iterator[Tick]:
    """Read a file as a replay of it would publish it; what the consumer would quarantine is told at the end."""
    (path,) = part.paths
    decoder, clock, refused = TickDecoder(0), Clock(Event()), list[str]()
    for tick in Replay(path, symbol=notes.symbol, only=notes.only, speed=math.inf, clock=clock, reading=reading):
        try:
            yield decoder.decode(encode(tick), _EVER_MS)
        except NotATickError as error:
            refused.append(str(error))
    if refused:
        sys.stderr.write(f"{path}: {len(refused):,} ticks would be in quarantine, the first as {refused[0]}\n")


def _of_ticks(part: Part, notes: FileNotes, reading: Reading) -> Iterator[Tick]:
    try:
        import duckdb  # noqa: PLC0415  (of the extra `desk`, as large as all the rest)
    except ModuleNotFoundError:
        raise UserError("an archive's ticks/ need duckdb, not installed here: pip install 'tickertape[desk]'") from None
    with duckdb.connect(config={"threads": 1}) as database:
        try:
            answer = database.execute(_TICKS, [list(map(str, part.paths)), part.shares, part.share])
            while rows := answer.fetchmany(_ROWS):
                yield from (Tick(*row) for row in rows if not notes.only or row[0] in notes.only)
        except duckdb.Error as error:
            raise UserError(f"the archive's ticks cannot be read: {' '.join(str(error).split())[:300]}") from None


def _of_payloads(part: Part, notes: FileNotes, reading: Reading) -> Iterator[Tick]:
    """Read payloads; one without a timestamp arrived, as far as the archive tells, when its window began."""
    decoder = TickDecoder(_ANY_SKEW_SECONDS, notes.field_map)
    for path in part.paths:
        arrived_ms = _window_start_ms(path)
        try:
            with gzip.open(path) as lines:
                for line in lines:
                    tick = decoder.decode(line, arrived_ms)
                    if not notes.only or tick.symbol in notes.only:
                        yield tick
        except (NotATickError, OSError, EOFError) as error:
            raise UserError(f"{path} cannot be read: {error}") from None


def _window_start_ms(path: Path) -> int:
    found = _WINDOW.search(path.name)
    if found is None:
        raise UserError(f"{path} is not named as the archive names its objects")
    return int(datetime.strptime(f"{found[1]}+0000", "%Y%m%dT%H%M%SZ%z").timestamp() * 1000)
