"""What tests install for themselves, once for each state of its lock file."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path


def installed(lock: Path, cache: Path, install: Callable[[Path], None]) -> Path:
    """Give the folder of what a lock file says; it is installed unless that was done before.

    Parameters
    ----------
    lock
        The lock file.
    cache
        Where such folders are kept.
    install
        Makes the folder that it is given.

    """
    folder = cache / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            made = Path(scratch) / "made"
            install(made)
            try:
                made.rename(folder)  # whole or not at all: others may be installing it too
            except OSError:
                if not folder.exists():
                    raise
    return folder
