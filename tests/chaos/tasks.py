"""Consumers as a container service runs them: so many tasks, each started again when it has ended."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.chaos.memory import megabytes

_TEND_SECONDS = 0.25
_START_SECONDS = 15  # so long a daemon may take to look for leases


class Task:
    """One `tickertape consume`: the daemon, and a child for each shard.

    Parameters
    ----------
    folder
        Its own: its log and its temporary files go there.
    environment
        The whole environment.

    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir()
        self._folder = folder
        self._started = time.monotonic()
        with (folder / "log").open("wb") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "tickertape", "consume"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment, "TMPDIR": str(folder)},
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._daemon.poll()

    @property
    def is_ready(self) -> bool:
        """It processes shards, or has none because others have them."""
        return bool(self.beats()) or time.monotonic() > self._started + _START_SECONDS

    def beats(self) -> dict[str, float]:
        """For each shard that it processes or died with: when it last made progress, on the monotonic clock."""
        found = {}
        for path in self._folder.glob("tickertape-consumer-*/*.shard"):
            with suppress(FileNotFoundError):  # it has ended just now
                found[path.stem] = path.stat().st_mtime_ns / 1e9
        return found

    def shard_processes(self) -> list[int]:
        """Process ids of the daemon's living children."""
        children = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
                if int(parent) == self._daemon.pid and state != "Z":
                    children.append(int(stat.parent.name))
        return children

    def signal_daemon(self, number: int) -> None:
        """Send a signal to the daemon alone."""
        self._daemon.send_signal(number)

    def signal_all(self, number: int) -> None:
        """Send a signal to the daemon and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._daemon.pid, number)

    def kill(self) -> None:
        """Leave nothing of it."""
        self.signal_all(signal.SIGKILL)
        self._daemon.wait()


class Service:
    """Keeps a number of tasks running, from entering the context until leaving it.

    Parameters
    ----------
    folder
        Where the tasks' folders go.
    environment
        Of each task.
    desired
        How many tasks there are to be.

    """

    def __init__(self, folder: Path, environment: Mapping[str, str], desired: int) -> None:
        self._folder = folder
        self._environment = environment
        self._started: list[Task] = []
        self._leaving: list[Task] = []
        self._changing = threading.RLock()
        self._stop = threading.Event()
        self._tending = threading.Thread(target=self._tend, name="service", daemon=True)
        self.desired = desired

    def __enter__(self) -> Self:
        """Start the tasks."""
        self._tending.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill them."""
        self._stop.set()
        self._tending.join()
        for task in self._started:
            task.kill()

    @property
    def tasks(self) -> list[Task]:
        """Those that run and are to go on running."""
        with self._changing:
            return [task for task in self._started if task.exit_code is None and task not in self._leaving]

    def working_tasks(self) -> list[Task]:
        """Those that process shards."""
        return [task for task in self.tasks if task.shard_processes() and task.beats()]

    def stop_task(self, task: Task) -> None:
        """Ask a task to stop; another takes its place at once, if it is needed."""
        with self._changing:
            self._leaving.append(task)
            task.signal_daemon(signal.SIGTERM)

    def scale(self, desired: int, dice: random.Random) -> None:
        """Change the number of tasks; what is too much is asked to stop."""
        with self._changing:
            self.desired = desired
            tasks = self.tasks
            for task in dice.sample(tasks, max(0, len(tasks) - desired)):
                self.stop_task(task)

    def beats(self, since: float, but: Task | None = None) -> dict[str, float]:
        """For each shard: the last progress after ``since`` that any task made, but for one."""
        latest: dict[str, float] = {}
        for task in self._started:
            if task is not but:
                for shard, beat in task.beats().items():
                    if beat > max(since, latest.get(shard, 0)):
                        latest[shard] = beat
        return latest

    def most_memory(self) -> float:
        """Resident megabytes of the largest process of a shard."""
        found = [0.0]
        for pid in (pid for task in self.tasks for pid in task.shard_processes()):
            with suppress(OSError, StopIteration):  # it has ended just now
                found.append(megabytes(pid, "VmRSS"))
        return max(found)

    def _tend(self) -> None:
        while not self._stop.is_set():
            with self._changing:
                for _ in range(self.desired - len(self.tasks)):
                    self._started.append(Task(self._folder / f"task-{len(self._started)}", self._environment))
            time.sleep(_TEND_SECONDS)
