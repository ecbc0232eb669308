"""Writes everything that a run left in the stores to a directory."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import msgspec

from common.errors import UserError
from desk.rows import Row
from infra.local.stores import Stores

_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
_FILES = ("ticks.jsonl", "alerts.jsonl", "messages.jsonl", "quarantine.jsonl")


class Export:
    """A directory of ``ticks.jsonl``, ``alerts.jsonl``, ``messages.jsonl``, ``quarantine.jsonl`` and ``s3/``.

    Messages are written while they come, everything else at the end. An earlier export is replaced.

    Raises
    ------
    UserError
        The directory cannot be written, or holds something else already.

    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if any(entry.name not in {*_FILES, "s3"} for entry in directory.iterdir()):
                raise UserError(
                    f"--export {directory}: there are other things than an earlier export: choose another directory"
                )
            if (directory / "s3").exists():
                shutil.rmtree(directory / "s3")
            self._messages: IO[bytes] = (directory / "messages.jsonl").open("wb")
        except OSError as error:
            raise UserError(
                f"--export {directory} cannot be written: {error.strerror}: choose another directory"
            ) from None

    def add_messages(self, messages: Iterable[Row]) -> None:
        """Append alerts as the queue delivered them."""
        self._messages.writelines(_encode(message) + b"\n" for message in messages)

    def finish(self, stores: Stores) -> None:
        """Write the tables and the archive."""
        self._messages.close()
        self._write("ticks.jsonl", (_encode(row) for row in stores.ticks()))
        self._write("alerts.jsonl", (_encode(row) for row in stores.alerts()))
        self._write("quarantine.jsonl", stores.object_lines("quarantine/"))
        for key in stores.object_keys():
            file = self._directory / "s3" / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(stores.object_bytes(key))

    def _write(self, name: str, lines: Iterable[bytes]) -> None:
        with (self._directory / name).open("wb") as file:
            file.writelines(line + b"\n" for line in lines)
