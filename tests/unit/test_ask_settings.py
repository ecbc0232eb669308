"""The flags of the commands that ask: those in the documents are taken, and what cannot be right is one line."""

import re
import shlex
from pathlib import Path

import pytest

from common.settings import CommandSettings, read_settings
from desk.commands import alerts, history, latest, quarantine, sql

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/ask.md")
SETTINGS: dict[str, type[CommandSettings]] = {
    "latest": latest.LatestSettings,
    "history": history.HistorySettings,
    "alerts": alerts.AlertsSettings,
    "quarantine": quarantine.QuarantineSettings,
    "sql": sql.SqlSettings,
}


def _shown() -> list[str]:
    """The questions in the documents' blocks of commands."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    return re.findall(rf"^(?:\$ )?(?:\.venv/bin/)?tickertape ((?:{'|'.join(SETTINGS)})\b.*)$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("line", _shown())
def test_questions_in_the_documents_are_taken(line: str) -> None:
    """Each command line that is shown has flags that exist."""
    words = shlex.split(re.split(r" [|>] ", line)[0], comments=True)
    assert read_settings(SETTINGS[words[0]], words[1:], words[0])


def test_each_command_is_shown() -> None:
    """The test above would pass on documents without commands."""
    assert {line.split()[0] for line in _shown()} == {*SETTINGS}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("latest 'no way'", "symbol is not 1 to 32"),
        ("latest --format xml", "FORMAT"),
        ("latest --follow --format json", "--format jsonl"),
        ("history", "SYMBOL"),
        ("history AAPL --since yesterday", "SINCE: give how long ago"),
        ("history AAPL --limit 0", "LIMIT"),
        ("alerts --severity awful", "SEVERITY"),
        ("sql", "QUERY"),
        ("sql 'SELECT 1 FROM ticks' --athena --since 1d", "WHERE dt >="),
        ("quarantine mend", "ACTION"),
        ("quarantine show", "say what to show"),
        ("quarantine list abc", "quarantine show abc"),
        ("quarantine replay", "say what to replay"),
        ("quarantine --file x.jsonl", "--file is for replay"),
        ("quarantine replay --file missing.jsonl --no-local", "missing.jsonl cannot be read"),
        (f"quarantine replay --file {__file__} --no-local", "line 1"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_code_2(line: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that cannot be right is named in one line, before anything is asked of AWS."""
    name, *words = shlex.split(line)
    command = {"latest": latest, "history": history, "alerts": alerts, "quarantine": quarantine, "sql": sql}[name]
    assert command.main(words) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert len(written.err.splitlines()) == 1
    assert reason in written.err


def test_the_environment_of_others_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """SINCE and FORMAT in somebody's environment change nothing; the names of the stores are read from there."""
    for name, value in {"SINCE": "never", "FORMAT": "xml", "SYMBOLS": "A,B", "TICKS_TABLE": "mine"}.items():
        monkeypatch.setenv(name, value)
    settings = read_settings(latest.LatestSettings, [], "latest")
    assert (settings.format, settings.symbols, settings.ticks_table) == (None, [], "mine")
