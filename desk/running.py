"""How a local run is found: a file in the folder of its logs, which it holds a lock on for as long as it lives."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

FOLDER_PREFIX = "tickertape-local-"
"""How the folders of local runs begin, in the directory for temporary files."""

_FILE = "system.json"


def announce(folder: Path, names: Mapping[str, str]) -> None:
    """Tell others of this user, until this process ends, what the environment of a command is that asks this run.

    Parameters
    ----------
    folder
        The run's folder, made by `tempfile.mkdtemp` with `FOLDER_PREFIX`.
    names
        The variables that name the stores; those of AWS are taken from the environment of this process.

    """
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")} | dict(names)
    new = folder / f"{_FILE}.new"
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)  # never closed: however this process ends, the lock goes with it
    os.write(file, msgspec.json.encode(environment))
    new.rename(folder / _FILE)


def find() -> dict[str, str] | None:
    """Give the environment that the youngest local run of this user has announced; None if none runs."""
    files = sorted(Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*/{_FILE}"), key=_modified, reverse=True)
    return next((environment for file in files if (environment := _read(file)) is not None), None)


def _read(file: Path) -> dict[str, str] | None:
    """Read a file that belongs to a run that lives; None if it does not, or is somebody else's."""
    try:
        with _opened(file) as descriptor:
            if not _is_ours(file) or not _is_locked(descriptor):
                return None
            return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):  # it is gone by now, or may not be read
        return None


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_ours(file: Path) -> bool:
    """Tell whether nobody else can have written it: whoever names the endpoint gets what is asked and answers it."""
    folder = file.parent.lstat()
    return stat.S_ISDIR(folder.st_mode) and folder.st_uid == os.getuid() and not folder.st_mode & 0o022


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0
