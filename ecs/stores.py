"""What outlives the stacks, and what the stacks do not know of: bucket, tables, leases, consumers of the stream."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from common.errors import SettingsError
from ecs.account import Account, code_of, say
from ecs.request import DEFAULT_STACK
from ecs.stack import Stack, owner
from ecs.template import TemplateFile

NAMES = (
    "StreamName",
    "TicksTableName",
    "AlertsTableName",
    "ArchiveBucketName",
    "AlertTopicName",
    "ApplicationName",
    "CatalogName",
)
"""Parameters that name something which can be there only once in an account and region."""

_LEASE_TABLES = ("", "-CoordinatorState", "-WorkerMetricStats")
"""What the KCL appends to the application's name."""

_PAUSE = {"Delay": 1, "MaxAttempts": 600}


def names(stack: Stack, template: TemplateFile, account: Account, given: Mapping[str, str]) -> dict[str, str]:
    """Give the names of what a stack has, had, or will have.

    What is given counts first, then what the stack has, or had until it was deleted, then the defaults. A stack of
    another name than the usual one has names of its own, so that several of them are no matter.
    """
    known = {**_defaults(stack.name, template, account), **_not_empty(stack.last_parameters()), **_not_empty(given)}
    return {name: known[name] for name in NAMES}


def _not_empty(parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def _defaults(stack: str, template: TemplateFile, account: Account) -> dict[str, str]:
    bucket = {"ArchiveBucketName": f"{stack}-{account.number}-{account.region}".lower()}
    if stack == DEFAULT_STACK:
        return {name: template.default(name) for name in NAMES} | bucket
    return {
        "StreamName": f"{stack}-stream",
        "TicksTableName": f"{stack}-ticks",
        "AlertsTableName": f"{stack}-alerts",
        "AlertTopicName": f"{stack}-alerts",
        "ApplicationName": f"{stack}-consumer",
        "CatalogName": stack.lower().replace("-", "_"),
        **bucket,
    }


class Stores:
    """The stores of one stack, by their names.

    Parameters
    ----------
    account
        Where they are.
    names
        The value of each of `NAMES`.

    """

    def __init__(self, account: Account, names: Mapping[str, str]) -> None:
        self._account = account
        self._names = names
        self._dynamodb, self._kinesis, self._s3 = map(account.client, ("dynamodb", "kinesis", "s3"))

    @property
    def bucket(self) -> str:
        """Name of the archive."""
        return self._names["ArchiveBucketName"]

    @property
    def tables(self) -> tuple[str, str]:
        """Names of the tables of ticks and alerts."""
        return self._names["TicksTableName"], self._names["AlertsTableName"]

    @property
    def lease_tables(self) -> list[str]:
        """Names of the tables that the KCL may have made."""
        return [self._names["ApplicationName"] + suffix for suffix in _LEASE_TABLES]

    def kept(self) -> dict[str, dict[str, str]]:
        """Find the bucket and the tables that are there: what identifies each, by its logical name in the stack.

        Raises
        ------
        SettingsError
            The bucket's name is somebody else's.

        """
        found = {}
        if self.has_bucket():
            found["ArchiveBucket"] = {"BucketName": self.bucket}
        for logical, table in zip(("TicksTable", "AlertsTable"), self.tables, strict=True):
            if self.has_table(table):
                found[logical] = {"TableName": table}
        return found

    def check_free(self) -> None:
        """See that a new stack can have these names.

        Raises
        ------
        SettingsError
            Something of these names is another stack's, or nobody's and cannot be taken over.

        """
        parameters = {name: self._names[name] for name in ("ArchiveBucketName", "TicksTableName", "AlertsTableName")}
        if self.has_stream():
            parameters["StreamName"] = self._names["StreamName"]
        for parameter, name in parameters.items():
            another = owner(self._account, name)
            if another or parameter == "StreamName":
                whose = f"stack {another}" if another else "no stack"
                raise SettingsError(
                    f"{name} is there already and belongs to {whose}: choose another name, STORES={parameter}=..."
                )

    def has_bucket(self) -> bool:
        """Tell whether the bucket is there.

        Raises
        ------
        SettingsError
            It is another account's.

        """
        try:
            self._s3.head_bucket(Bucket=self.bucket, ExpectedBucketOwner=self._account.number)
        except ClientError as error:
            if code_of(error) in {"403", "AccessDenied"}:
                raise SettingsError(
                    f"bucket {self.bucket} belongs to somebody else, or you may not see it: choose another name, "
                    "STORES=ArchiveBucketName=..."
                ) from None
            return False
        return True

    def has_table(self, table: str) -> bool:
        """Tell whether a table is there."""
        try:
            self._dynamodb.describe_table(TableName=table)
        except self._dynamodb.exceptions.ResourceNotFoundException:
            return False
        return True

    def has_stream(self) -> bool:
        """Tell whether the stream is there."""
        return self._stream_arn() is not None

    def deregister_consumers(self, *names: str) -> None:
        """End consumers' enhanced fan-out, all of them or those named: each is paid for, and keeps the stream."""
        stream = self._stream_arn()
        for consumer in self._consumers(stream) if stream else ():
            if not names or consumer["ConsumerName"] in names:
                self._kinesis.deregister_stream_consumer(ConsumerARN=consumer["ConsumerARN"])
                say(f"Deregistered {consumer['ConsumerName']} from enhanced fan-out of {self._names['StreamName']}")
                self._await_end(consumer["ConsumerARN"])

    def delete_table(self, table: str) -> None:
        """Delete a table and say so."""
        self._dynamodb.delete_table(TableName=table)
        self._dynamodb.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig=_PAUSE)
        say(f"Deleted table {table}")

    def delete_bucket(self) -> None:
        """Delete the bucket with every version of all that is in it, and say so."""
        count = 0
        for batch in self._versions():
            answer = self._s3.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
            for refused in answer.get("Errors", []):
                raise SettingsError(f"{refused['Key']} in bucket {self.bucket} cannot be deleted: {refused['Message']}")
            count += len(batch)
        self._s3.delete_bucket(Bucket=self.bucket)
        say(f"Deleted bucket {self.bucket} with {count:,} versions of objects")

    def _versions(self) -> Iterator[list[dict[str, str]]]:
        """Give versions and delete markers, a thousand at most at once."""
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if found:
                yield [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in found]

    def _stream_arn(self) -> str | None:
        try:
            described = self._kinesis.describe_stream_summary(StreamName=self._names["StreamName"])
        except self._kinesis.exceptions.ResourceNotFoundException:
            return None
        arn: str = described["StreamDescriptionSummary"]["StreamARN"]
        return arn

    def _consumers(self, stream: str) -> list[Mapping[str, Any]]:
        pages = self._kinesis.get_paginator("list_stream_consumers").paginate(StreamARN=stream)
        return [consumer for page in pages for consumer in page["Consumers"]]

    def _await_end(self, consumer: str) -> None:
        """Wait until it is gone: as long as it is being deleted, the stream cannot be."""
        for _ in range(_PAUSE["MaxAttempts"]):
            try:
                self._kinesis.describe_stream_consumer(ConsumerARN=consumer)
            except self._kinesis.exceptions.ResourceNotFoundException:
                return
            time.sleep(_PAUSE["Delay"])
