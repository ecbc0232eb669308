"""The examples of docs/replay.md, and more of their kind, give what stands below them."""

import gzip
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import UserError
from common.tick import Tick, decimal_text
from tests.unit.test_cases import replay

ROOT = Path(__file__).parents[2]
DOCUMENTS = [(ROOT / name).read_text(encoding="utf-8") for name in ("docs/replay.md", "tests/data/replays.md")]
_NUMBERS = ("price", "open", "high", "low", "previous_close")


class Example(NamedTuple):
    """A file, the flags that it is replayed with, and what comes of it."""

    name: str
    flags: list[str]
    content: str
    outcome: str


def examples() -> list[Example]:
    """Find the blocks with a file's name, each before what comes of it."""
    blocks = re.compile(r"```(?:csv|json) (\S+)(.*)\n((?s:.*?))```\n```text\n((?s:.*?))```")
    return [
        Example(name, shlex.split(flags), content, outcome)
        for document in DOCUMENTS
        for name, flags, content, outcome in blocks.findall(document)
    ]


@pytest.mark.parametrize("example", examples(), ids=lambda example: " ".join((example.name, *example.flags)))
def test_example(example: Example, tmp_path: Path) -> None:
    """What comes of the file is what the document says."""
    path = tmp_path / example.name
    path.write_text(example.content, encoding="utf-8")
    assert outcome(path, *example.flags).splitlines() == example.outcome.splitlines()


def test_there_are_examples() -> None:
    """The test above would pass on documents without examples; each fence with a file's name is one."""
    fences = [len(re.findall(r"^```(?:csv|json) ", document, flags=re.MULTILINE)) for document in DOCUMENTS]
    assert min(fences) >= 20
    assert len(examples()) == sum(fences)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("a.csv", "Date,Close,Eröffnung\n2025-01-03,1,2\n".encode("cp1252"), id="Windows-1252"),
        pytest.param("a.csv", b"\xef\xbb\xbfDate,Close,Open\r\n2025-01-03,1,2\r\n", id="UTF-8 with a mark"),
        pytest.param("a.csv", b"Date,Close,Open\r2025-01-03,1,2\r", id="lines of old Macs"),
        pytest.param("a.csv", b"Date,Close,Open\n2025-01-03,1,2", id="no end of the last line"),
        pytest.param("a.txt", "\ufeffDate,Close,Open\r\n2025-01-03,1,2\r\n".encode("utf-16-le"), id="UTF-16"),
        pytest.param("a.txt", "\ufeffDate,Close,Open\n2025-01-03,1,2\n".encode("utf-16-be"), id="UTF-16, big end"),
        pytest.param("a.tsv", "Date\tClose\tOpen\n2025-01-03\t1\t2\n".encode("utf-16-le"), id="UTF-16, no mark"),
        pytest.param("a.csv", "\ufeffDate,Close,Open\n2025-01-03,1,2\n".encode("utf-32-le"), id="UTF-32"),
        pytest.param("a.json", '\ufeff[{"Date":"2025-01-03","Close":1,"Open":2}]'.encode("utf-16-le"), id="JSON"),
        pytest.param("a.json", b'\xef\xbb\xbf[{"Date":"2025-01-03","Close":1,"Open":2}]', id="JSON with a mark"),
        pytest.param("a.jsonl", '\ufeff{"Date":"2025-01-03","Close":1,"Open":2}\n'.encode(), id="JSON lines, a mark"),
        pytest.param("a.jsonl", '{"Date":"2025-01-03","Close":1,"Open":2}\n'.encode("utf-16"), id="JSON lines"),
        pytest.param(
            "a.csv", b"Price,Close,Open\r\nTicker,T,T\r\nDate,,\r\n2025-01-03,1,2\r\n", id="three lines and CRLF"
        ),
    ],
)
def test_encodings_and_ends_of_lines(tmp_path: Path, name: str, content: bytes) -> None:
    """The same bar comes of the same text, however it is encoded and its lines end."""
    path = tmp_path / name
    path.write_bytes(content)
    assert outcome(path, "--symbol", "T") == "T 2025-01-03T00:00:00Z price=1 open=2"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param("a.csv", gzip.compress(b"Date,Close\n"), "compressed by gzip: name it .gz", id="gzip"),
        pytest.param("a.jsonl", b"\x28\xb5\x2f\xfd\x04", "compressed by Zstandard: name it .zst", id="Zstandard"),
        pytest.param("a.csv", b"PK\x03\x04\x14\x00", "a ZIP archive or an Excel workbook", id="ZIP"),
        pytest.param("a.txt", b"\xd0\xcf\x11\xe0\xa1\xb1", "an Excel workbook: save it as CSV", id="Excel"),
        pytest.param("a.csv", b"PAR1\x15\x04", "Parquet: name it .parquet", id="Parquet"),
    ],
)
def test_a_file_that_is_no_text_says_what_it_is(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    """A wrong name costs one line, not a screen of odd characters."""
    path = tmp_path / name
    path.write_bytes(content)
    assert outcome(path).startswith(f"line 1: is no text: the file is {reason}")


def test_single_precision_and_binary_columns(tmp_path: Path) -> None:
    """A 32-bit 98.8212 is that price, not the double next to it; text without a mark as such is text."""
    path = tmp_path / "a.parquet"
    columns: dict[str, Any] = {
        "Date": ["2025-01-02", "2025-01-03", "2025-01-06"],
        "Close": pa.array([98.8212, None, 0.00000812], pa.float32()),
        "Volume": pa.array([2667641.0, 1.0, 123456792.0], pa.float32()),
        "symbol": pa.array([b"KO", b"KO", b"ko"]),
    }
    pq.write_table(pa.table(columns), path)
    assert outcome(path).splitlines() == [
        "KO 2025-01-02T00:00:00Z price=98.8212 volume=2667641",
        "KO 2025-01-06T00:00:00Z price=0.00000812 previous_close=98.8212 volume=123456792",
        "skipped 1",
    ]


def outcome(path: Path, *flags: str) -> str:
    """Say what comes of a file: each tick, and how many rows were passed over; or why it is refused."""
    try:
        feed = replay(path, "", *flags)
        lines = [line(tick) for tick in feed]
    except UserError as error:
        return str(error).removeprefix(f"{path}, ").removeprefix(f"{path}: ")
    return "\n".join([*lines, *([f"skipped {feed.skipped}"] if feed.skipped else [])])


def line(tick: Tick) -> str:
    """Write a tick as the document does."""
    numbers = ((name, getattr(tick, name)) for name in _NUMBERS)
    texts = [f"{name}={decimal_text(units)}" for name, units in numbers if units is not None]
    texts += [] if tick.volume is None else [f"volume={tick.volume}"]
    return " ".join([tick.symbol, tick.timestamp.replace(".000000Z", "Z"), *texts])
