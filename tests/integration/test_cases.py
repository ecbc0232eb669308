"""Files as people have them, through the whole pipeline: the real daemon, stores, topic and summary."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cases import CASES, FOLDER, Case, run

_WHOLE_RUNS = (
    "01-yfinance-multiheader/two.csv",
    "02-null-row/eurgbp_null.csv",
    "13-asx-session/slow_rise.csv",
)
"""All cases are in tests/unit/test_cases.py, up to the rows; `python -m tests.cases` runs all as these are run."""


@pytest.mark.parametrize("case", [case for case in CASES if case.file in _WHOLE_RUNS], ids=lambda case: str(case.file))
def test_case(case: Case, tmp_path: Path) -> None:
    """What the stores, the topic and the summary have is what must come of the file."""
    run(case, tmp_path / "out")


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """Listen on a port, and gather what is asked of it."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed
                    return
                with connection:
                    connection.settimeout(1)
                    asked.append(connection.recv(200))

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)


def test_loopback_is_never_asked_for_through_a_proxy(tmp_path: Path) -> None:
    """With every variable that names a proxy, and none that spares a host, the proxy is asked for nothing."""
    (case,) = (case for case in CASES if case.file.startswith("21-"))
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    with listening() as (port, asked):
        proxies = {spelt: f"http://127.0.0.1:{port}" for name in names for spelt in (name, name.lower())}
        others = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        run(case, tmp_path / "out", environment=others | proxies)
        assert asked == []


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("09-binance-klines/BTCUSDT-1m-spot.csv", "line 1: holds numbers: the file has no header"),
    ],
)
def test_a_file_that_is_refused_is_one_line(file: str, words: str) -> None:
    """Before anything starts, one line says what is wrong and what to do; the exit code is 1."""
    flags = ["--feed", "replay", "--file", str(FOLDER / file), "--symbol", "T", "--speed", "max", "--once"]
    done = subprocess.run(
        [sys.executable, "-m", "tickertape", "local", *flags], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
