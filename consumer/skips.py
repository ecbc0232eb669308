"""Notices that the KCL threw records away, so that nothing is processed or checkpointed as if they had never been.

When the KCL's own code raises between fetching a batch and handing it over, it logs that, drops the batch and goes on
with the next one (KCL issue 1822, mended in 3.5.4). consumer/logback.xml copies those lines into a file in the daemon's
run folder. It does so before the KCL asks for the next batch, so whoever looks at the file at the beginning of each
batch never sees one that comes after a hole.
"""

import os
from pathlib import Path

from common.errors import UserError

_VARIABLE = "TICKERTAPE_SKIPS"


class RecordsSkippedError(Exception):
    """The KCL dropped records that it had fetched."""

    def __init__(self, line: str) -> None:
        super().__init__(
            "the Kinesis Client Library dropped records; this process ends without a checkpoint, so that its successor "
            f"reads them again. It said: {line}"
        )


def begin(folder: Path) -> Path:
    """Choose the file for the daemon that this process is to become, and tell the shards' processes of it."""
    path = folder / "skips"
    os.environ[_VARIABLE] = str(path)
    return path


class Skips:
    """What the daemon of this process has dropped; nothing is known of it where no daemon of ours started us."""

    def __init__(self) -> None:
        path = os.environ.get(_VARIABLE)
        self._path = Path(path) if path else None

    def expect(self) -> None:
        """Make sure that the daemon writes the file.

        Raises
        ------
        UserError
            It does not.

        """
        if self._path and not self._path.exists():
            raise UserError(f"{self._path} is missing: the daemon's log configuration, consumer/logback.xml, makes it")

    def check(self) -> None:
        """Look whether records were dropped.

        Raises
        ------
        RecordsSkippedError
            They were.

        """
        if self._path and self._path.stat().st_size:
            raise RecordsSkippedError(self._path.read_text(errors="replace").splitlines()[0])
