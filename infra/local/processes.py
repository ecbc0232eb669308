"""The processes of a run: started in groups of their own, and never left behind."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from common.errors import UserError

_POLL_SECONDS = 0.05
_LAST_LINES_BYTES = 65_536
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """A process, its group, and the files that its stdout and stderr go to."""

    def __init__(
        self, name: str, command: list[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.output = folder / f"{name}.out"
        self.log = folder / f"{name}.log"
        self._gone = False
        with self.output.open("wb") as output, self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=environment,
                start_new_session=True,  # a terminal's Ctrl-C is for us: we stop our children in order
                preexec_fn=_die_with_parent,  # noqa: PLW1509  (no thread runs yet that could hold a lock)
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.exit_code is None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill it and whatever it has started."""
        if self._gone:
            return
        with suppress(ProcessLookupError):  # the group is empty when all have ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._gone = True

    def last_error(self) -> str:
        """Give the last line in the log that tells of an error, else the last that is no event."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LAST_LINES_BYTES))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [text for line in lines if (text := _error_in(line))]
        plain = [line for line in lines if not line.startswith("{")]
        return (errors or plain or [f"exit code {self.exit_code}, without a word about why"])[-1]


class Processes:
    """All children of a run. Leaving the context stops them, in the order in which `stop` would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[Child] = []

    def start(self, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> Child:
        """Start a process that stays until `stop`; its environment is ours, if no other is given."""
        child = Child(name, command, self.folder, environment)
        self._children.append(child)
        return child

    def stop(self, children: list[Child], seconds: float, *, hurry: Callable[[], bool]) -> None:
        """Ask ``children`` to stop, wait at most ``seconds`` and no longer when ``hurry`` says so, then kill."""
        for child in children:
            child.ask_to_stop()
        deadline = time.monotonic() + seconds
        while any(child.exit_code is None for child in children) and time.monotonic() < deadline and not hurry():
            time.sleep(_POLL_SECONDS)
        for child in children:
            child.kill()

    def kill(self) -> None:
        """Leave nothing behind."""
        for child in reversed(self._children):
            child.kill()


def await_line(child: Child, seconds: float) -> str:
    """Wait for the first line of a child's stdout.

    Raises
    ------
    UserError
        It ended instead, or said nothing in time.

    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        exit_code = child.exit_code
        line, newline, _ = child.output.read_text().partition("\n")
        if newline:
            return line
        if exit_code is not None:
            raise UserError(f"the {child.name} did not start: {child.last_error()}")
        time.sleep(_POLL_SECONDS)
    raise UserError(f"the {child.name} did not start within {seconds:.0f} s")


def _error_in(line: str) -> str | None:
    if not line.startswith("{"):
        return line.removeprefix("tickertape: ") if line.startswith("tickertape: ") else None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if entry.get("level") not in {"ERROR", "CRITICAL"}:
        return None
    return " ".join(str(entry[key]) for key in ("event", "error", "reason") if key in entry)


def _die_with_parent() -> None:
    """Run in the child: have Linux kill it if we are killed ourselves and cannot stop it."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
