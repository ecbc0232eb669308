"""Refuses leases that were taken on another stream.

A stream that is deleted and made anew names its shards as the old one did, and the KCL knows shards by their names
alone: with the old leases it takes the new shards as read, or read in part, and seems well. So the application
remembers which stream its leases are of, in the table of the KCL's coordinator, which reads only its own items.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from common import aws
from common.errors import UserError
from consumer.backpressure import persist
from consumer.shards import read_shards

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient  # development dependencies: types only
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import ShardTypeDef

_KEY = {"key": {"S": "Tickertape.stream"}}

_Lease = Mapping[str, Any]


class _Stream(NamedTuple):
    """What tells a stream from another of its name; times are ISO 8601 in UTC."""

    arn: str
    created: str


def require_same_stream(application_name: str, stream_name: str) -> None:
    """Remember the stream whose shards the application is to lease, unless it has leases of another one.

    Raises
    ------
    UserError
        It has; or the stream or a table of the KCL may not be read, or the latter not be written.

    """
    stream = _describe(stream_name)
    remembered = _remembered(application_name)
    if remembered == stream:
        return
    leases = _leases(application_name)
    if leases and (remembered or not _can_belong(leases, read_shards(stream_name))):
        raise UserError(
            f"application {application_name} has leases of another stream than {stream_name}, created at "
            f"{stream.created}: it would skip records. Stop its consumers and delete the table {application_name} (aws "
            f"dynamodb delete-table --table-name {application_name}), or set another APPLICATION_NAME"
        )
    _remember(application_name, stream)


def _can_belong(leases: Iterable[_Lease], shards: Mapping[str, "ShardTypeDef"]) -> bool:
    """Tell whether leases of an application that remembers no stream may be of these shards, which were read later."""
    newest = max(shards, default="")
    return all(
        _can_be_at(shards[lease["leaseKey"]["S"]], lease["checkpoint"]["S"])
        if lease["leaseKey"]["S"] in shards
        else lease["leaseKey"]["S"] < newest  # it has expired; the newest shards never have
        for lease in leases
    )


def _can_be_at(shard: "ShardTypeDef", checkpoint: str) -> bool:
    numbers = shard["SequenceNumberRange"]
    if checkpoint == "SHARD_END":
        return "EndingSequenceNumber" in numbers
    return not checkpoint.isdecimal() or int(checkpoint) >= int(numbers["StartingSequenceNumber"])


def _describe(stream_name: str) -> _Stream:
    kinesis: KinesisClient = aws.client("kinesis")
    answer = persist(lambda: kinesis.describe_stream_summary(StreamName=stream_name), about=f"stream {stream_name}")
    summary = answer["StreamDescriptionSummary"]
    created = datetime.fromtimestamp(summary["StreamCreationTimestamp"].timestamp(), UTC)
    return _Stream(summary["StreamARN"], created.isoformat(timespec="milliseconds"))


def _leases(table: str) -> list[_Lease]:
    """Read all leases; none if there is no table of them yet."""
    dynamodb: DynamoDBClient = aws.client("dynamodb")
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    try:
        return persist(lambda: [item for page in pages for item in page["Items"]], about=f"table {table}")
    except UserError as error:
        if isinstance(error.__cause__, dynamodb.exceptions.ResourceNotFoundException):
            return []
        raise


def _remembered(application_name: str) -> _Stream | None:
    dynamodb: DynamoDBClient = aws.client("dynamodb")
    table = _table(application_name)
    answer = persist(lambda: dynamodb.get_item(TableName=table, Key=_KEY, ConsistentRead=True), about=f"table {table}")
    return _Stream(*(answer["Item"][name]["S"] for name in _Stream._fields)) if "Item" in answer else None


def _remember(application_name: str, stream: _Stream) -> None:
    dynamodb: DynamoDBClient = aws.client("dynamodb")
    table = _table(application_name)
    item = _KEY | {name: {"S": value} for name, value in stream._asdict().items()}
    persist(lambda: dynamodb.put_item(TableName=table, Item=item), about=f"table {table}")


def _table(application_name: str) -> str:
    return f"{application_name}-CoordinatorState"
