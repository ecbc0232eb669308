"""A Kinesis with true resharding: the npm package kinesis-local as a process on loopback.

It has what moto's Kinesis has not: closed parents, and children that begin where their parents end. It is the Kinesis
API and nothing else, so it stands beside an embedded AWS. Everything is kept in memory.
"""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import UserError
from infra.local.processes import Child, await_line
from tests import npm
from tests.installing import installed

_PACKAGE = Path(__file__).parent / "node"
_CACHE = Path(__file__).parents[2] / ".venv" / "kinesis-local"
_START_SECONDS = 30


class KinesisLocal:
    """A Kinesis of its own, from entering the context until leaving it.

    It dies with the thread that entered the context, if that ends first.

    Parameters
    ----------
    folder
        Where its log goes.
    environment
        Settings of kinesis-local, for instance ``{"SPLIT_SHARD_DURATION": "2s"}``.

    Raises
    ------
    UserError
        It cannot be installed or started; the message says why.

    """

    def __init__(self, folder: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = environment or {}

    def __enter__(self) -> Self:
        """Start it and wait until it answers; the first time, install it."""
        node, _ = npm.find_node()
        package = _install()
        settings = {
            "KINESIS_MOCK_PLAIN_PORT": "1",  # any: see on_loopback.js
            "KINESIS_MOCK_TLS_PORT": "0",
            "KINESIS_MOCK_CERT_PATH": str(package / "server.json"),
            **self._environment,
        }
        self._process = Child(
            "kinesis-local",
            [
                "env",
                *(f"{name}={value}" for name, value in settings.items()),
                node,
                f"--require={_PACKAGE / 'on_loopback.js'}",
                str(package / "main.js"),
            ],
            self._folder,
        )
        try:
            self.url = await_line(self._process, _START_SECONDS)
            self._await_answer()
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it: it has nothing to save."""
        self._process.kill()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def client(self) -> Any:  # noqa: ANN401  (boto3 makes clients' types at run time)
        """Make a boto3 client that talks to it."""
        return boto3.Session("embedded", "embedded", region_name="us-east-1").client(
            "kinesis", endpoint_url=self.url, config=Config(retries={"total_max_attempts": 1})
        )

    def _await_answer(self) -> None:
        kinesis = self.client()
        deadline = time.monotonic() + _START_SECONDS
        while self._process.exit_code is None and time.monotonic() < deadline:
            try:
                kinesis.list_streams()
            except (BotoCoreError, ClientError):
                time.sleep(0.05)
            else:
                return
        raise UserError(f"kinesis-local did not start: see {self._process.log}")


def _install() -> Path:
    """Have npm install what the lock file says, unless it was done before; gives kinesis-local's folder."""
    folder = installed(_PACKAGE / "package-lock.json", _CACHE, partial(npm.install, _PACKAGE))
    return folder / "node_modules" / "kinesis-local"
