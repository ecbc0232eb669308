"""The system that is asked: its names and its clients, of a local run or of an account."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from common import aws
from common.aws import read_body_with
from common.errors import SettingsError, UserError
from common.settings import CommandSettings
from desk import running
from desk.download import Download
from desk.rows import read_answer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient  # development dependencies: types only
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

SIDE_BY_SIDE = 32
"""Requests under way at a time: an answer of S3 takes tens of milliseconds, and most of that is waiting."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class SystemSettings(CommandSettings):
    """The base of the settings of all commands that ask.

    The names of stores are the same settings as those of consume: flags, and variables of the environment. All else is
    flags only, in effect: SINCE or FORMAT in somebody's environment are hardly meant for us.
    """

    model_config = SettingsConfigDict(env_prefix="TICKERTAPE_DESK_", populate_by_name=True)

    local: bool | None = Field(
        None,
        description="Ask the local run of this user, or (--no-local) the AWS of the environment; without either, a "
        "local run if there is one.",
    )
    stream_name: str = Field("stock-market-stream", validation_alias="stream_name", description="Kinesis stream.")
    ticks_table: str = Field(
        "stock-market-data", validation_alias="ticks_table", description="DynamoDB table of processed ticks."
    )
    alerts_table: str = Field("stock-alerts", validation_alias="alerts_table", description="DynamoDB table of alerts.")
    archive_bucket: str | None = Field(
        None, validation_alias="archive_bucket", description="S3 bucket of archive, quarantine and snapshots."
    )
    application_name: str = Field(
        "tickertape-consumer",
        validation_alias="application_name",
        description="Name of the KCL application, whose snapshots name the symbols.",
    )


@dataclass(frozen=True)
class System:
    """Names of the stores, and clients that many threads may use at a time."""

    is_local: bool
    stream: str
    ticks_table: str
    alerts_table: str
    application: str
    bucket: str | None
    at_a_time: int = SIDE_BY_SIDE
    """Requests under way at a time: each has a thread and a connection."""

    @property
    def archive_bucket(self) -> str:
        """The bucket's name.

        Raises
        ------
        SettingsError
            Nobody has told it.

        """
        if self.bucket is None:
            raise SettingsError("ARCHIVE_BUCKET: name the S3 bucket of the archive, or start a local run: make run")
        return self.bucket

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """Its answers to Query are as the API has them, except that ``Items`` are rows."""
        client: DynamoDBClient = aws.client("dynamodb", connections=self.at_a_time)
        read_body_with(client, "Query", read_answer)
        return client

    @cached_property
    def s3(self) -> "S3Client":
        """The archive's client."""
        client: S3Client = aws.client("s3", connections=self.at_a_time)
        return client

    @cached_property
    def download(self) -> "Callable[[str], bytes | None]":
        """The shorter way to an object of the archive; None where only the client can tell what is wrong."""
        return Download(self.s3, self.archive_bucket)

    @cached_property
    def kinesis(self) -> "KinesisClient":
        """The stream's client."""
        client: KinesisClient = aws.client("kinesis")
        return client

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.at_a_time, thread_name_prefix="ask")

    def side_by_side(self, call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Give ``call``'s results in the order of ``items``; only so many are begun before they are wanted."""
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(call, item))
                if len(waiting) > self.at_a_time:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            wait([future for future in waiting if not future.cancel()])  # so that nothing of it goes on


def find_system(settings: SystemSettings) -> System:
    """Find the system that somebody means; the environment of this process becomes that of a local run's.

    Raises
    ------
    UserError
        A local run is asked for, and there is none.

    """
    announced = None if settings.local is False else running.find()
    if announced is not None:
        return _local(announced)
    if settings.local:
        raise UserError("no local run of yours is there: start one with make run, or leave out --local")
    return System(
        is_local=False,
        stream=settings.stream_name,
        ticks_table=settings.ticks_table,
        alerts_table=settings.alerts_table,
        application=settings.application_name,
        bucket=settings.archive_bucket,
    )


def _local(announced: dict[str, str]) -> System:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(announced)
    return System(
        is_local=True,
        stream=announced["STREAM_NAME"],
        ticks_table=announced["TICKS_TABLE"],
        alerts_table=announced["ALERTS_TABLE"],
        application=announced["APPLICATION_NAME"],
        bucket=announced["ARCHIVE_BUCKET"],
    )
