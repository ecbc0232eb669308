"""`tickertape health`: tells a consumer, producer or notifier that makes progress from one that is stuck.

The process of each shard leaves a file in its daemon's folder, and touches it whenever it is done with what the daemon
asked; a producer's publisher does the same while the stream takes what is put, and a notifier while it reads its queue.
A container's health check runs this module every few seconds: it imports little.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROLES = ("consumer", "producer", "notifier")
_PUBLISHER, _NOTIFIER = "publisher", "notifier"
_SUFFIX = ".shard"
_STUCK_AFTER_SECONDS = 300


def run_folder(role: str = "consumer") -> Path:
    """Make a folder for this process, which is a producer or is to become a daemon; those of the dead are removed."""
    for folder, pid in _folders():
        if pid == os.getpid() or not _is_alive(pid):  # in a restarted container, ids come again
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"tickertape-{role}-{os.getpid()}-"))


class Pulse:
    """The sign of life of one shard, of a producer's publisher, or of a notifier."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def begin(self, shard_id: str) -> None:
        """The shard is ours now."""
        folder = next((folder for folder, pid in _folders() if pid == os.getppid()), None)
        if folder is not None:  # there is none where no daemon of ours runs this process
            self._begin(folder, shard_id)

    def begin_publishing(self) -> None:
        """We are a producer."""
        self._begin(run_folder("producer"), _PUBLISHER)

    def begin_notifying(self) -> None:
        """We are a notifier."""
        self._begin(run_folder("notifier"), _NOTIFIER)

    def _begin(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}{_SUFFIX}"
        self._path.touch()
        self.beat()

    def beat(self) -> None:
        """Some progress was made, be it to find that there is nothing to do."""
        if self._path is not None:
            now = time.monotonic_ns()  # all processes share this clock, and nobody sets it
            os.utime(self._path, ns=(now, now))

    def end(self) -> None:
        """The shard is not ours any more, or the daemon is about to stop."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def silences() -> dict[str, float]:
    """For each shard that a living consumer of this user on this machine processes: seconds since its last progress.

    The same for the publisher of a living producer, and for a living notifier.

    Raises
    ------
    LookupError
        There is no such process.

    """
    folders = [folder for folder, pid in _folders() if _is_alive(pid)]
    if not folders:
        raise LookupError("no consumer, producer or notifier runs here")
    now = time.monotonic_ns()
    found = {}
    for path in (path for folder in folders for path in folder.glob(f"*{_SUFFIX}")):
        with suppress(FileNotFoundError):  # it has ended just now
            found[path.stem] = (now - path.stat().st_mtime_ns) / 1e9
    return found


def main(arguments: list[str]) -> int:
    """Say in one line how the process is; the exit code is 0 if it is well, 1 if not, 2 for a wrong setting."""
    parser = argparse.ArgumentParser(prog="tickertape health", description=main.__doc__)
    parser.add_argument(
        "--stuck-after-seconds",
        type=_positive,
        default=os.environ.get("STUCK_AFTER_SECONDS") or _STUCK_AFTER_SECONDS,
        help="what makes no progress for so long is stuck (STUCK_AFTER_SECONDS; default: %(default)s)",
    )
    limit = parser.parse_args(arguments).stuck_after_seconds
    try:
        ages = silences()
    except LookupError as error:
        print(f"unhealthy: {error}")  # noqa: T201  (the result)
        return 1
    stuck = [f"{shard} has made no progress for {age:.0f} s" for shard, age in sorted(ages.items()) if age > limit]
    alone = ages.keys() & {_PUBLISHER, _NOTIFIER}
    well = f"healthy: {alone.pop()}" if alone else f"healthy: {len(ages)} shards"
    print("unhealthy: " + ", ".join(stuck) if stuck else well)  # noqa: T201  (the result)
    return 1 if stuck else 0


def _positive(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise ValueError
    return seconds


def _folders() -> Iterator[tuple[Path, int]]:
    """Find the folders of what runs here, with process ids; another user's are not to be trusted."""
    for role in _ROLES:
        prefix = f"tickertape-{role}-"
        for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*-*"):
            pid = folder.name.removeprefix(prefix).partition("-")[0]
            with suppress(OSError):
                if pid.isdecimal() and folder.stat().st_uid == os.getuid():
                    yield folder, int(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
