"""The examples of docs/replay.md, and more of their kind, give what stands below them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

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
