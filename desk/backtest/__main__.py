"""``tickertape backtest``: what rules would have said of recorded ticks."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError
from pydantic_settings import CliPositionalArg

from common.errors import SettingsError, UserError
from common.settings import FieldMap
from consumer.detection import Rules
from consumer.rule_settings import RuleSettings, read_with_numbers
from desk.backtest import report
from desk.backtest.bucket import fetched
from desk.backtest.findings import Findings, Trial, microseconds, run
from desk.backtest.inputs import FileNotes, Part, find_parts, ticks_of
from desk.command import run as run_question
from desk.output import Format
from desk.progress import progress
from producer.reading import Reading
from producer.settings import FileSettings

_SAMPLE = 5000
"""Ticks on which each rule's time is measured."""


class BacktestSettings(RuleSettings, FileSettings):
    """Say what rules would have said of recorded ticks: the alerts that the pipeline would send for them.

    Files are those that a replay reads, each by itself. A folder or s3://bucket/prefix is a folder of such files, or an
    archive of Tickertape's. All settings of the rules are flags here, too.
    """

    paths: CliPositionalArg[list[str]] = Field(description="Files, folders, and s3://bucket/prefix.")
    compare: list[str] = Field(
        [],
        description="Numbers to try beside those that are set, z_score_threshold=5 for instance, several with spaces "
        "between them; can be given several times.",
    )
    alerts: Path | None = Field(None, description="A file for all alerts that are sent, a JSON object a line.")
    format: Format | None = Field(
        None, description="How counts are written; by default tables on a terminal, else tab-separated text."
    )
    field_map: FieldMap = Field(
        {}, description='Names that an archive\'s raw data have for a tick\'s fields, as JSON: {"TICKER": "symbol"}.'
    )
    processes: int = Field(os.cpu_count() or 1, ge=1, description="How many parts are read at a time.")


class Job(NamedTuple):
    """What a process does with a part: it tries each choice of rules; the first one's alerts go to a file."""

    part: Part
    notes: FileNotes
    reading: Reading
    choices: dict[str, Rules]
    alerts: Path | None


def main(arguments: list[str]) -> int:
    """Run it; returns the exit code."""
    return run_question(lambda: _backtest(read_with_numbers(BacktestSettings, arguments, "backtest")))


def _backtest(settings: BacktestSettings) -> None:
    choices = {"": settings.chosen_rules(), **{change: _changed(settings, change) for change in settings.compare}}
    notes = FileNotes(settings.symbol, settings.symbols, settings.field_map)
    with tempfile.TemporaryDirectory(prefix="tickertape-backtest-") as folder:
        parts = find_parts([_local(path, Path(folder)) for path in settings.paths], settings.processes)
        jobs = [
            Job(part, notes, settings.reading, choices, Path(folder, f"{number}.jsonl") if settings.alerts else None)
            for number, part in enumerate(parts)
        ]
        found = {change: Findings() for change in choices}
        for findings in _all(jobs, settings.processes):
            for change, one in findings.items():
                found[change].add(one)
        if settings.alerts:
            _write_alerts(settings.alerts, [job.alerts for job in jobs if job.alerts])
        sample = list(islice(ticks_of(parts[0], notes, settings.reading), _SAMPLE))
        report.write(found, microseconds(choices[""], sample), settings.format)


def _changed(settings: BacktestSettings, change: str) -> Rules:
    """Give the rules with other numbers.

    Raises
    ------
    SettingsError
        One is no number of a rule, or the rules cannot be applied.

    """
    numbers: dict[str, Any] = {}
    for word in change.split():
        name, equals, value = word.partition("=")
        if not equals or name.lower() not in {*settings.numbers, *RuleSettings.model_fields}:
            raise SettingsError(f"--compare {change!r}: {name} is no number of a rule, as in z_score_threshold=5")
        numbers[name.lower()] = value
    try:
        return type(settings)(**{**settings.model_dump(), **numbers}).chosen_rules()
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SettingsError(f"--compare {change!r}: {reason}") from None


def _local(path: str, folder: Path) -> Path:
    """Give a path, and what is in S3 as a path below ``folder``."""
    if path.startswith("s3://"):
        return fetched(path, folder)
    if not Path(path).exists():
        raise UserError(f"{path}: there is no such file or folder")
    return Path(path)


def _all(jobs: list[Job], processes: int) -> Iterator[dict[str, Findings]]:
    """Do all jobs, several at a time; a single one is done here, and tells its ticks."""
    if len(jobs) == 1:
        yield _done(jobs[0], is_told=True)
        return
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn")) as pool:
        yield from progress(pool.map(_done, jobs), "parts read", len(jobs))


def _done(job: Job, *, is_told: bool = False) -> dict[str, Findings]:
    alerts = job.alerts.open("wb") if job.alerts else None
    try:
        trials = [Trial(rules, alerts if change == "" else None) for change, rules in job.choices.items()]
        ticks = ticks_of(job.part, job.notes, job.reading)
        for _ in run(progress(ticks, "ticks read") if is_told else ticks, trials):
            pass
    finally:
        if alerts:
            alerts.close()
    return dict(zip(job.choices, (trial.findings for trial in trials), strict=True))


def _write_alerts(path: Path, parts: list[Path]) -> None:
    try:
        with path.open("wb") as whole:
            for part in parts:
                with part.open("rb") as one:
                    shutil.copyfileobj(one, whole)
    except OSError as error:
        raise UserError(f"--alerts {path} cannot be written: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
