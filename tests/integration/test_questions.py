"""The commands that ask, as processes, on a real local run that they find by themselves: all formats, and bad input."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest

from desk import running

SYMBOLS = ("AAPL", "BRK-B", "M&M.NS")
TICKS = 90
POISON = (b"nonsense", b'{"symbol":"AAPL","price":-3,"timestamp":"2026-01-02T03:04:05Z"}')
_PATIENCE_SECONDS = 120


@dataclass
class Local:
    """A local run that has archived its replay, and where its files are."""

    folder: Path
    rows: dict[tuple[str, str], dict[str, Any]]
    alerts: list[dict[str, Any]]

    @property
    def environment(self) -> dict[str, str]:
        """What a person's shell has, in whose directory for temporary files the run is."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COLUMNS"))}
        return ours | {"TMPDIR": str(self.folder), "COLUMNS": "200"}

    def ask(self, *words: str, code: int = 0, environment: dict[str, str] | None = None) -> str:
        """Run a command to its end; gives its stdout, or the only line of stderr if it is to fail."""
        run = subprocess.run(
            [sys.executable, "-m", "tickertape", *words],
            env=self.environment | (environment or {}),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert run.returncode == code, run.stdout + run.stderr
        if not code:
            assert run.stderr == ""
            return run.stdout
        assert len(run.stderr.splitlines()) == 1, run.stderr
        return run.stderr

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command that goes on."""
        return subprocess.Popen(
            [sys.executable, "-m", "tickertape", *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def client(self, service: str) -> Any:  # noqa: ANN401  (boto3 makes clients' types at run time)
        """Make a client of the run's AWS."""
        system = _announced(self.folder)
        session = boto3.Session("embedded", "embedded", region_name="us-east-1")
        return session.client(service, endpoint_url=system["AWS_ENDPOINT_URL"])  # type: ignore[call-overload]

    def publish(self, data: bytes, key: str = "AAPL") -> None:
        """Put a record into the stream."""
        self.client("kinesis").put_record(StreamName="stock-market-stream", Data=data, PartitionKey=key)


def _announced(folder: Path) -> dict[str, str]:
    (file,) = folder.glob(f"{running.FOLDER_PREFIX}*/system.json")
    found: dict[str, str] = json.loads(file.read_text())
    return found


def _replay(file: Path) -> None:
    """Ticks of the last minutes, a second apart, whose prices jump now and then."""
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    lines = ["symbol,timestamp,price,previous_close,volume"]
    for number in range(TICKS):
        for place, symbol in enumerate(SYMBOLS):
            price = 100 * (place + 1) + number % 7 * Decimal("0.125") + (12 if number % 40 == 39 else 0)
            moment = begin + timedelta(seconds=number)
            lines.append(f"{symbol},{moment:%Y-%m-%dT%H:%M:%SZ},{price},{100 * (place + 1)},{number * 1000}")
    file.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A run that goes on after its replay, with two records that are no ticks in the quarantine."""
    folder = tmp_path_factory.mktemp("run")
    _replay(folder / "ticks.csv")
    run = Local(folder, {}, [])
    flags = ["--feed", "replay", "--file", str(folder / "ticks.csv"), "--speed", "max", "--shards", "1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tickertape", "local", *flags],
            env=run.environment | {"ARCHIVE_SECONDS": "2", "ALERT_COOLDOWN_SECONDS": "0"},
            stdout=log,
            stderr=log,
        )
    try:
        _await_rows(run, process)
        for payload in POISON:
            run.publish(payload)
        _await_quarantine(run, process)
        run.rows = {(row["symbol"], row["timestamp"]): row for row in _scan(run, "stock-market-data")}
        run.alerts = _scan(run, "stock-alerts")
        yield run
    finally:
        process.terminate()
        process.wait(60)


def _await_rows(run: Local, process: "subprocess.Popen[bytes]") -> None:
    def all_stored() -> bool:
        return bool(list(run.folder.glob("*/system.json"))) and _count(run) == TICKS * len(SYMBOLS)

    _await(all_stored, run, process)


def _await_quarantine(run: Local, process: "subprocess.Popen[bytes]") -> None:
    def all_refused() -> bool:
        return len(run.ask("quarantine").splitlines()) == len(POISON)

    _await(all_refused, run, process)


def _await(condition: Any, run: Local, process: "subprocess.Popen[bytes]") -> None:  # noqa: ANN401  (a function)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, (run.folder / "log").read_text()
        assert time.monotonic() < deadline, (run.folder / "log").read_text()
        time.sleep(0.5)


def _count(run: Local) -> int:
    described = run.client("dynamodb").describe_table(TableName="stock-market-data")
    return int(described["Table"]["ItemCount"])


def _scan(run: Local, table: str) -> list[dict[str, Any]]:
    from boto3.dynamodb.types import TypeDeserializer

    read = TypeDeserializer().deserialize
    items = run.client("dynamodb").scan(TableName=table)["Items"]
    return [{name: read(value) for name, value in item.items()} for item in items]


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line, parse_float=Decimal) for line in text.splitlines()]


def _like(row: dict[str, Any]) -> dict[str, Any]:
    """A table's row as JSON has it."""
    return {name: sorted(value) if isinstance(value, set) else value for name, value in row.items()}


def _of(local: Local, symbol: str) -> list[dict[str, Any]]:
    return [_like(row) for (name, _), row in sorted(local.rows.items()) if name == symbol]


def test_latest_in_every_format(local: Local) -> None:
    """The newest row of each symbol, whole in JSON and CSV; a pipe gets the table's columns between tabs."""
    expected = [_of(local, symbol)[-1] for symbol in SYMBOLS]
    assert json.loads(local.ask("latest", "--format", "json"), parse_float=Decimal) == expected
    assert _lines(local.ask("latest", "--format", "jsonl")) == expected
    rows = list(csv.DictReader(io.StringIO(local.ask("latest", "--format", "csv"))))
    assert [row["symbol"] for row in rows] == [*SYMBOLS]
    for row, whole in zip(rows, expected, strict=True):
        assert {name for name, value in row.items() if value} == {name for name, value in whole.items() if value != []}
        assert (Decimal(row["price"]), Decimal(row["sma_20"])) == (whole["price"], whole["sma_20"])
    tabs = [line.split("\t") for line in local.ask("latest").splitlines()]
    assert [(line[0], Decimal(line[2])) for line in tabs] == [(row["symbol"], row["price"]) for row in expected]
    table = local.ask("latest", "brk-b", "--format", "table").splitlines()
    assert table[0].split() == [
        "symbol",
        "timestamp",
        "price",
        "change",
        "volume",
        "sma_5",
        "sma_20",
        "trend",
        "anomalies",
    ]
    assert len(table) == 2
    assert f"{expected[1]['volume']:,}" in table[1]


def test_history_is_oldest_first(local: Local) -> None:
    """All rows of the time that is asked for; without one, the newest fifty."""
    expected = _of(local, "M&M.NS")
    assert _lines(local.ask("history", "m&m.ns", "--since", "1h", "--format", "jsonl")) == expected
    assert _lines(local.ask("history", "M&M.NS", "--format", "jsonl")) == expected[-50:]
    assert _lines(local.ask("history", "M&M.NS", "--limit", "3", "--format", "jsonl")) == expected[-3:]
    bounds = ["--since", expected[5]["timestamp"], "--until", expected[9]["timestamp"]]
    assert (
        json.loads(local.ask("history", "M&M.NS", *bounds, "--format", "json"), parse_float=Decimal) == expected[5:10]
    )
    table = local.ask("history", "M&M.NS", *bounds, "--format", "table").splitlines()
    assert len(table) == 6
    assert "symbol" not in table[0]
    assert len(local.ask("history", "M&M.NS", *bounds, "--format", "csv").splitlines()) == 6


def test_alerts_are_filtered_in_every_format(local: Local) -> None:
    """The newest at the bottom; severity is the least, and an alert without a kind is a signal."""
    expected = sorted(map(_like, local.alerts), key=lambda alert: (alert["alert_id"], alert["symbol"]))
    assert {alert["severity"] for alert in expected} >= {"info", "critical"}
    assert _lines(local.ask("alerts", "--since", "1d", "--format", "jsonl")) == expected
    critical = [alert for alert in expected if alert["severity"] == "critical"]
    asked = local.ask("alerts", "--since", "1d", "--severity", "critical", "--format", "json")
    assert json.loads(asked, parse_float=Decimal) == critical
    assert _lines(local.ask("alerts", "--limit", "2", "--format", "jsonl")) == expected[-2:]
    moves = [alert for alert in expected if alert["rule"] == "price_move" and alert["symbol"] == "AAPL"]
    asked = local.ask("alerts", "AAPL", "--since", "1d", "--rule", "price_move", "--format", "csv")
    assert [row["message"] for row in csv.DictReader(io.StringIO(asked))] == [alert["message"] for alert in moves]
    assert local.ask("alerts", "--since", "1d", "--kind", "nobody's") == ""
    tabs = local.ask("alerts", "--limit", "1").rstrip("\n").split("\t")
    assert tabs == [expected[-1][name] for name in ("timestamp", "severity", "symbol", "rule", "direction", "message")]
    assert expected[-1]["message"] in local.ask("alerts", "--limit", "1", "--format", "table")


def test_sql_in_every_format(local: Local) -> None:
    """The archive answers with the digits of the table's rows, and with an empty result, too."""
    query = "SELECT symbol, max(price) AS highest, count(*) AS n FROM ticks WHERE symbol <> 'X' GROUP BY 1 ORDER BY 1"
    highest = [(symbol, max(row["price"] for row in _of(local, symbol))) for symbol in SYMBOLS]
    expected = [{"symbol": symbol, "highest": price, "n": TICKS} for symbol, price in highest]
    assert json.loads(local.ask("sql", query, "--format", "json"), parse_float=Decimal) == expected
    assert _lines(local.ask("sql", query, "--format", "jsonl")) == expected
    csv_text = local.ask("sql", query, "--format", "csv")
    assert csv_text.splitlines() == ["symbol,highest,n", *(f"{symbol},{price},{TICKS}" for symbol, price in highest)]
    assert local.ask("sql", query) == "".join(f"{symbol}\t{price}\t{TICKS}\n" for symbol, price in highest)
    assert local.ask("sql", query, "--format", "table").split()[:3] == ["symbol", "highest", "n"]
    nothing = "SELECT price, symbol FROM ticks WHERE symbol = 'X'"
    assert local.ask("sql", nothing, "--format", "csv") == "price,symbol\n"
    assert local.ask("sql", nothing, "--format", "json") == "[]\n"


def test_quarantine_lists_and_shows(local: Local) -> None:
    """Each record with its reason and its bytes; one of them whole, by the id that the list has."""
    listed = _lines(local.ask("quarantine", "--format", "jsonl"))
    assert sorted(row["payload"] for row in listed) == sorted(data.decode() for data in POISON)
    assert all(row["reason"] for row in listed)
    negative = next(row for row in listed if "price" in row["reason"])
    assert _lines(local.ask("quarantine", "show", negative["id"], "--format", "jsonl")) == [negative]
    assert negative["sequence_number"] in local.ask("quarantine", "show", negative["id"], "--format", "table")
    assert _lines(local.ask("quarantine", "--reason", "price", "--since", "1h", "--format", "jsonl")) == [negative]
    assert local.ask("quarantine", "--until", "1h") == ""
    assert len(local.ask("quarantine", "--format", "csv").splitlines()) == 3


def test_quarantine_replays_what_was_mended(local: Local, tmp_path: Path) -> None:
    """A mended payload becomes a tick with its own time; what is no tick still is refused, and told."""
    (negative,) = _lines(local.ask("quarantine", "--reason", "price", "--format", "jsonl"))
    refused = local.ask("quarantine", "replay", negative["id"], code=1)
    assert "0 published to stock-market-stream, 1 are no ticks still" in refused
    (tmp_path / "mended.jsonl").write_text(json.dumps(negative).replace("-3", "103"))
    published = local.ask("quarantine", "replay", "--file", str(tmp_path / "mended.jsonl"), "--format", "jsonl")
    assert [row["outcome"] for row in _lines(published)] == ["published"]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    window = ["--since", "2026-01-02", "--until", "2026-01-03"]
    while time.monotonic() < deadline:
        run = subprocess.run(
            [sys.executable, "-m", "tickertape", "history", "AAPL", *window, "--format", "jsonl"],
            env=local.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if run.stdout:
            break
    (row,) = _lines(run.stdout)
    assert (row["timestamp"], row["price"], row["late"]) == ("2026-01-02T03:04:05.000000Z", 103, True)


def test_following_shows_what_is_new(local: Local) -> None:
    """A tick and its alert are told by commands that go on, once; Ctrl-C ends them without a word."""
    latest = local.start("latest", "BRK-B", "--follow", "--format", "jsonl")
    alerts = local.start("alerts", "BRK-B", "--limit", "1", "--follow", "--format", "jsonl")
    assert latest.stdout
    assert alerts.stdout
    assert json.loads(latest.stdout.readline())["symbol"] == "BRK-B"
    assert json.loads(alerts.stdout.readline())["symbol"] == "BRK-B"
    moment = datetime.now(UTC).isoformat()
    price = {"symbol": "BRK-B", "price": 290.5, "previous_close": 200, "timestamp": moment}
    local.publish(json.dumps(price).encode(), "BRK-B")
    assert json.loads(latest.stdout.readline())["price"] == 290.5
    rules = {json.loads(alerts.stdout.readline())["rule"] for _ in range(2)}
    assert len(rules) == 2
    for process in (latest, alerts):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, "")
        assert not {json.loads(line).get("rule") for line in out.splitlines()} & rules


def _on_a_terminal(local: Local, *words: str) -> tuple[int, str]:
    """Run a command on a terminal; gives its exit code and what it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tickertape", *words],
        env=local.environment | {"TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    written = bytearray()

    def read() -> None:
        while data := _read(ours):
            written.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(90)
    reader.join()
    os.close(ours)
    return code, written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's way to say that nobody is there any more
        return b""


def test_a_terminal_gets_a_table(local: Local) -> None:
    """On a terminal there is a table with colours, and nothing in it that a payload would have the terminal do."""
    code, screen = _on_a_terminal(local, "latest")
    assert code == 0
    assert "\x1b[1m" in screen
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen)
    assert [line.split()[0] for line in plain.splitlines()] == ["symbol", *SYMBOLS]
    _, screen = _on_a_terminal(local, "sql", "SELECT chr(27) || '[2J' AS x FROM ticks LIMIT 1")
    assert "\x1b[2J" not in screen


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["latest", "APPL"], "did you mean AAPL?"),
        (["history", "BRKB"], "did you mean BRK-B?"),
        (["alerts", "ZZZZ"], "there are no ticks of ZZZZ"),
        (["history", "AAPL", "--until", "2001-01-01"], "its newest is of 20"),
        (["sql", "DROP TABLE ticks"], "only one SELECT"),
        (["sql", "SELECT x FROM ticks"], '"x" not found'),
        (["sql", "SELECT 1 FROM ticks", "--athena"], "a local run has no Athena"),
        (["quarantine", "show", "nothing"], "the quarantine has no nothing"),
        (["quarantine", "replay", "--reason", "nobody's"], "nothing in the quarantine"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(local: Local, words: list[str], reason: str) -> None:
    """What cannot be answered is told in one line, with what to do; nothing is on stdout."""
    assert reason in local.ask(*words, code=1)


def test_an_account_is_asked_when_it_is_meant(local: Local, tmp_path: Path) -> None:
    """Without a local run, or with --no-local, the names and the endpoint are those of the environment."""
    system = {name: value for name, value in _announced(local.folder).items() if name != "ARCHIVE_BUCKET"}
    elsewhere = {**system, "TMPDIR": str(tmp_path)}
    assert local.ask("latest", "AAPL", environment=elsewhere).startswith("AAPL\t")
    assert "ARCHIVE_BUCKET" in local.ask("latest", code=2, environment=elsewhere)
    assert "no local run of yours" in local.ask("latest", "--local", code=1, environment=elsewhere)
    nowhere = {**system, "TICKS_TABLE": "nowhere"}
    assert local.ask("latest", "AAPL", environment=nowhere).startswith("AAPL\t")
    refused = local.ask("latest", "AAPL", "--no-local", code=1, environment=nowhere)
    assert "table nowhere: AWS refused Query" in refused
    bucket = ["--no-local", "--archive-bucket", "nowhere"]
    assert "bucket nowhere" in local.ask("sql", "SELECT 1 FROM ticks", *bucket, code=1, environment=system)
