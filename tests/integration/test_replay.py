"""`tickertape local --once` over real bars: the export equals the oracle's, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compare import compare
from tests.functional.chat import Chat, line, running_chat
from tests.integration.processes import is_open, listening_ports, marked
from tests.oracle import expect_replay

DATA = Path(__file__).parents[1] / "data"
_LONGEST_RUN_SECONDS = 420


@pytest.mark.timeout(_LONGEST_RUN_SECONDS + 60)
@pytest.mark.parametrize(
    ("file", "symbol", "shards", "workers"),
    [
        pytest.param("inda_1min.csv", "INDA", 1, 1, id="minutes-1-shard-1-worker"),
        pytest.param("sp500_daily.csv", None, 4, 2, id="days-4-shards-2-workers"),
    ],
)
def test_export_equals_the_oracle(
    tmp_path: Path, chat: Chat, file: str, symbol: str | None, shards: int, workers: int
) -> None:
    """Every row, number, object and message of a replay is the oracle's, whatever the shards and workers.

    Before it ends, a chat that `--notify` names is told of each alert once.
    """
    export = tmp_path / "out"
    flags = ["--feed", "replay", "--file", str(DATA / file), "--speed", "max", "--once", "--export", str(export)]
    flags += ["--shards", str(shards), "--workers", str(workers)]
    flags += ["--symbol", symbol] if symbol else []
    flags += ["--notify", f"json://{chat.host}/all json://{chat.host}/none?severity=critical&symbols=NONE"]
    mark = f"TICKERTAPE_TEST={tmp_path}"
    with (tmp_path / "stdout").open("wb") as stdout, (tmp_path / "stderr").open("wb") as stderr:
        run = subprocess.Popen(
            [sys.executable, "-m", "tickertape", "local", *flags],
            stdout=stdout,
            stderr=stderr,
            env=os.environ | dict([mark.split("=", 1)]) | {"NOTIFY_GROUP_SECONDS": "1"},
        )
        try:
            ports = _ports_until_it_ends(run, mark)
        finally:
            if run.poll() is None:
                run.send_signal(signal.SIGTERM)
                run.wait(60)
    assert run.returncode == 0, (tmp_path / "stderr").read_text()[-2000:]
    assert _left_behind(mark) == []
    assert ports, "the embedded AWS was never seen listening"
    assert [port for port in ports if is_open(port)] == [], "a port is still open"

    rows = [json.loads(row) for row in (export / "alerts.jsonl").read_text().splitlines()]
    assert sorted(chat.lines("/all")) == sorted(map(line, rows))
    assert {taken.path for taken in chat.taken} == {"/all"}
    named = ["--symbol", symbol] if symbol else []
    payloads = next((export / "s3").rglob("raw-data"))
    for recorded in ([DATA / file, *named], [export / "s3"], [payloads]):
        assert _backtest(tmp_path / "alerts.jsonl", *recorded) == _sent(rows)
    expected = expect_replay(DATA / file, symbol)
    compare(export, expected, same_bytes=False)
    summary = json.loads((tmp_path / "stdout").read_text().splitlines()[-1])
    assert summary.pop("seconds") > 0
    assert summary == {
        "published": len(expected.archived) + len(expected.quarantined),
        "skipped": 0,
        "stored": len(expected.ticks),
        "alerts": len(expected.alerts),
        "suppressed": expected.suppressed,
        "duplicates": 0,
        "conflicts": 0,
        "late": 0,
        "quarantined": len(expected.quarantined),
        "archive_objects": sum(path.is_file() for path in (export / "s3").rglob("*")),
    }


def _backtest(alerts: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    """Ask a backtest for all alerts."""
    command = [sys.executable, "-m", "tickertape", "backtest", *map(str, arguments), "--alerts", str(alerts)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return _sent(json.loads(line) for line in alerts.read_text().splitlines())


def _sent(alerts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Alerts in their order, without what says when they were sent."""
    of_the_run = ("status", "published_at", "expires_at")
    rows = [{name: value for name, value in alert.items() if name not in of_the_run} for alert in alerts]
    return sorted(rows, key=lambda row: (row["symbol"], row["alert_id"]))


@pytest.fixture
def chat() -> Iterator[Chat]:
    """A service that takes messages."""
    with running_chat() as running:
        yield running


def _ports_until_it_ends(run: subprocess.Popen[bytes], mark: str) -> set[int]:
    """Wait for the end of a run and gather the ports on which its processes were seen listening."""
    ports: set[int] = set()
    deadline = time.monotonic() + _LONGEST_RUN_SECONDS
    while run.poll() is None and time.monotonic() < deadline:
        ports |= listening_ports(list(marked(mark)))
        time.sleep(1)
    assert run.poll() is not None, f"it still runs after {_LONGEST_RUN_SECONDS} s"
    return ports


def _left_behind(mark: str) -> list[str]:
    """List what is still there a moment after the end."""
    deadline = time.monotonic() + 5
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [f"{pid}: {command}" for pid, command in left.items()]
