"""`tickertape backtest`: the alerts of the oracle, counted and compared; all that can be wrong is one line."""

import csv
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from desk.backtest.__main__ import main
from tests import oracle

DATA = Path(__file__).parents[1] / "data"
_FIELDS = ("symbol", "alert_id", "rule", "direction", "severity", "price", "value", "threshold")


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """Two days and a half of minute bars."""
    path = tmp_path / "bars" / "inda.csv"
    path.parent.mkdir()
    path.write_text("".join((DATA / "inda_1min.csv").read_text().splitlines(keepends=True)[:1000]))
    return path


def counted(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[dict[str, Any]]:
    """Run the command, and read its table."""
    assert main([*map(str, arguments), "--format", "csv"]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_its_alerts_are_the_oracles(bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each alert with its numbers, and the counts are theirs."""
    alerts = tmp_path / "alerts.jsonl"
    rows = counted(capsys, bars, "--symbol", "INDA", "--alerts", alerts)
    expected = oracle.expect_replay(bars, "INDA")
    found = [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in alerts.read_text().splitlines()]
    assert {(row["symbol"], row["alert_id"]): {name: row[name] for name in _FIELDS} for row in found} == {
        key: {name: alert[name] for name in _FIELDS} for key, alert in expected.alerts.items()
    }
    assert len(found) == len(expected.alerts) > 50
    assert all(row["message"].startswith("INDA at ") for row in found)
    by_symbol = next(row for row in rows if row["by"] == "symbol")
    days = {timestamp[:10] for _, timestamp in expected.ticks}
    assert int(by_symbol["alerts"]) == len(expected.alerts)
    assert int(by_symbol["suppressed"]) == expected.suppressed
    assert float(by_symbol["per_day"]) == round(len(expected.alerts) / len(days), 2)
    assert all(float(row["us_a_tick"]) >= 0 for row in rows if row["by"] == "rule")


def test_settings_side_by_side(bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a comparison finds is what the same numbers find by themselves."""
    rows = counted(capsys, bars, "--symbol", "INDA", "--compare", "z_score_threshold=3 sma_slow=30")
    alone = counted(capsys, bars, "--symbol", "INDA", "--z-score-threshold", "3", "--sma-slow", "30")
    as_set = counted(capsys, bars, "--symbol", "INDA")

    def numbers(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        return [tuple(row[name] for name in ("by", "name", "alerts", "worst_day", "suppressed")) for row in rows]

    assert numbers([row for row in rows if row["settings"] == "as set"]) == numbers(as_set)
    assert numbers([row for row in rows if row["settings"] != "as set"]) == numbers(alone) != numbers(as_set)


def test_a_folder_of_files_goes_side_by_side(bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file by itself, whatever its form; what is no file of ticks is passed over."""
    (bars.parent / "notes.md").write_text("mine")
    (bars.parent / "again.csv.gz").write_bytes(gzip.compress(bars.read_bytes()))
    alerts = tmp_path / "alerts.jsonl"
    rows = counted(capsys, bars.parent, "--symbol", "INDA", "--processes", "2", "--alerts", alerts)
    once = counted(capsys, bars, "--symbol", "INDA")
    (both,), (one,) = ([row for row in each if row["by"] == "symbol"] for each in (rows, once))
    assert int(both["alerts"]) == 2 * int(one["alerts"]) == len(alerts.read_text().splitlines())


def test_one_symbols_override(bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the rules that are on for it have a say."""
    rows = counted(capsys, bars, "--symbol", "INDA", "--rule-overrides", '{"INDA": {"rules": ["z_score"]}}')
    assert {row["name"] for row in rows if row["by"] == "rule" and int(row["alerts"])} == {"z_score"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.csv"], 1, "nowhere.csv: there is no such file or folder"),
        (["{data}/README.md"], 2, "is not named .csv"),
        (["{data}/inda_1min.csv"], 1, "symbol"),
        (["{data}/inda_1min.csv", "--compare", "z_scor=3"], 2, "z_scor is no number of a rule"),
        (["{data}/inda_1min.csv", "--compare", "z_score_threshold=-3"], 2, "greater than 0"),
        (["{data}/inda_1min.csv", "--compare", "sma_fast=50"], 2, "SMA_FAST (50) must be below SMA_SLOW (20)"),
        (["{data}/inda_1min.csv", "--rules", "rsy"], 2, "there is no rule 'rsy'"),
        (["{data}/inda_1min.csv", "--symbol", "INDA", "--alerts", "/nowhere/alerts"], 1, "cannot be written"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files, numbers and rules: each with its exit code."""
    assert main([argument.format(data=DATA) for argument in arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tickertape: ")
    assert said in line


def test_what_the_consumer_would_quarantine_is_told(
    bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A symbol that is none, in a file that a replay publishes: the others' alerts are as ever."""
    mixed = tmp_path / "mixed.csv"
    header, *lines = bars.read_text().splitlines()
    named = [f"{line},{'NYSE:KO' if number % 100 == 7 else 'INDA'}" for number, line in enumerate(lines)]
    mixed.write_text("\n".join([f"{header},symbol", *named]) + "\n")
    assert main([str(mixed), "--format", "json"]) == 0
    answer = capsys.readouterr()
    assert f"{mixed}: 10 ticks would be in quarantine, the first as symbol is not" in answer.err
    assert {row["name"] for row in json.loads(answer.out) if row["by"] == "symbol"} == {"INDA"}
