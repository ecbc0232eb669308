"""The processes of a local run: started, stopped, and nothing left."""

import os
import sys
import time
from pathlib import Path

import pytest

from common.errors import UserError
from infra.local.processes import Child, Processes, await_line

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);print('ready', flush=True); time.sleep(60)"
)
WITH_GRANDCHILD = (
    "import subprocess, sys, time;"
    f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], stdout=subprocess.PIPE);"
    "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
)


def _run(folder: Path, code: str) -> Child:
    return Child("child", [sys.executable, "-c", code], folder)


def _ended(child: Child) -> Child:
    deadline = time.monotonic() + 20
    while child.exit_code is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return child


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
def test_stop_leaves_no_grandchild(tmp_path: Path) -> None:
    """Stopping a process also ends one that it started and that ignores SIGTERM."""
    processes = Processes(tmp_path)
    child = processes.start("child", [sys.executable, "-c", WITH_GRANDCHILD])
    grandchild = int(await_line(child, 20))
    assert _lives(grandchild)
    processes.stop([child], 5, hurry=lambda: False)
    deadline = time.monotonic() + 5
    while _lives(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(grandchild)


def test_stubborn_process_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed after the time it was given."""
    processes = Processes(tmp_path)
    child = processes.start("child", [sys.executable, "-c", STUBBORN])
    await_line(child, 20)
    started = time.monotonic()
    processes.stop([child], 0.5, hurry=lambda: False)
    assert child.exit_code == -9
    assert time.monotonic() - started < 5


def test_impatience_kills_at_once(tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for the rest of the time."""
    processes = Processes(tmp_path)
    child = processes.start("child", [sys.executable, "-c", STUBBORN])
    await_line(child, 20)
    started = time.monotonic()
    processes.stop([child], 60, hurry=lambda: True)
    assert child.exit_code == -9
    assert time.monotonic() - started < 5


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells children of their parent's death")
def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    """When the run itself is killed, its children end too."""
    code = (
        "import os, pathlib, signal, sys; from infra.local.processes import Child, await_line;"
        f"child = Child('child', [sys.executable, '-c', {STUBBORN!r}], pathlib.Path({str(tmp_path)!r}));"
        "await_line(child, 20); print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = Child("parent", [sys.executable, "-c", code], tmp_path)
    pid = int(await_line(parent, 30))
    deadline = time.monotonic() + 5
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(pid)
    parent.kill()


def test_terminals_signals_do_not_reach_children(tmp_path: Path) -> None:
    """A child is in a group of its own, so that Ctrl-C leaves the order of stopping to us."""
    child = _run(tmp_path, "import os; print(os.getpgid(0), flush=True)")
    group = int(await_line(child, 20))
    assert group != os.getpgid(0)
    _ended(child).kill()


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("tickertape: the file is gone\n", "the file is gone"),
        ('{"level":"ERROR","event":"shard_failed","error":"no such table"}\n', "shard_failed no such table"),
        (
            '{"level":"ERROR","event":"shard_failed","error":"no such table"}\n{"level":"INFO","event":"bye"}\n',
            "shard_failed no such table",
        ),
        ("Traceback\nValueError: x\n", "ValueError: x"),
        ("", "exit code 3, without a word about why"),
        ('{"level":"INFO","event":"archived"}\n', "exit code 3, without a word about why"),
    ],
)
def test_last_error_is_what_a_person_looks_for(tmp_path: Path, log: str, shown: str) -> None:
    """The line that is shown of a log is its last error, else its last line of text."""
    child = _ended(_run(tmp_path, f"import sys; sys.stderr.write({log!r}); sys.exit(3)"))
    assert child.last_error() == shown
    child.kill()


def test_child_that_ends_instead_of_starting_is_reported(tmp_path: Path) -> None:
    """Waiting for a child's first line ends with its error when it ends first."""
    child = _run(tmp_path, "import sys; sys.exit('tickertape: port 1 is in use')")
    with pytest.raises(UserError, match="the child did not start: port 1 is in use"):
        await_line(child, 20)
    child.kill()
