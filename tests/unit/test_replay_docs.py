"""The examples of docs/replay.md give what stands below them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from common.errors import UserError
from common.tick import Tick, decimal_text
from tests.unit.test_cases import replay

DOCUMENT = (Path(__file__).parents[2] / "docs" / "replay.md").read_text(encoding="utf-8")
_NUMBERS = ("price", "open", "high", "low", "previous_close")


class Example(NamedTuple):
    """A file, the flags that it is replayed with, and what comes of it."""

    name: str
    flags: list[str]
    content: str
    outcome: str


def examples() -> list[Example]:
    """Find the blocks with a file's name, each before what comes of it."""
    found = re.findall(r"```(?:csv|json) (\S+)(.*)\n((?s:.*?))```\n```text\n((?s:.*?))```", DOCUMENT)
    return [Example(name, shlex.split(flags), content, outcome) for name, flags, content, outcome in found]


@pytest.mark.parametrize("example", examples(), ids=lambda example: " ".join((example.name, *example.flags)))
def test_example(example: Example, tmp_path: Path) -> None:
    """What comes of the file is what the document says."""
    path = tmp_path / example.name
    path.write_text(example.content, encoding="utf-8")
    assert outcome(path, *example.flags).splitlines() == example.outcome.splitlines()


def test_there_are_examples() -> None:
    """The test above would pass on a document without examples; each fence with a file's name is one."""
    assert len(examples()) == len(re.findall(r"^```(?:csv|json) ", DOCUMENT, flags=re.MULTILINE)) >= 20


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
