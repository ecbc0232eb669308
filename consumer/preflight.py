"""What the consumer needs, and calls that show it is there and may be used, without any effect.

`consume` looks for the stores before it starts; `check` also tries what is done with them later.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from common import aws
from consumer.settings import ConsumerSettings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient  # development dependencies: types only
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

_NOBODY = {"S": "nobody's"}
"""A key that no row has: it is no symbol."""

_WRONG_CRC32 = "/////w=="

Call = Callable[[], object]


class UntriedError(Exception):
    """Only the real thing would tell; the message says what."""


class Need(NamedTuple):
    """Something that must be there.

    ``calls`` are what is done with it, by the names of the actions; the first one tells whether it is there at all.
    """

    about: str
    calls: dict[str, Call]


def check(settings: ConsumerSettings) -> None:
    """Ask for the stream, the tables, the bucket and the topic.

    Raises
    ------
    UserError
        One of them is missing or may not be seen; the message names it and what to do.

    """
    for about, calls in stores(settings, polls=True):
        aws.ask(about, next(iter(calls.values())))


def stores(settings: ConsumerSettings, *, polls: bool) -> list[Need]:
    """What must be there before the first start; one who does not poll has enhanced fan-out."""
    return [
        _stream(settings.stream_name, polls=polls),
        _table(settings.ticks_table, "TICKS_TABLE", "timestamp"),
        _table(settings.alerts_table, "ALERTS_TABLE", "alert_id"),
        _bucket(settings.archive_bucket),
        _topic(settings.alert_topic_arn),
    ]


def kcl(settings: ConsumerSettings) -> list[Need]:
    """What the KCL keeps: its tables come into being at the first start."""
    name = settings.application_name
    return [
        _kcl_table(name, "leaseKey", {"DescribeTable", "Scan", "GetItem", "PutItem", "UpdateItem", "DeleteItem"}),
        _kcl_table(f"{name}-CoordinatorState", "key", {"DescribeTable", "GetItem", "PutItem"}),
        Need(f"metrics of {name}", {"PutMetricData": _untried("takes a metric: without it the KCL only warns")}),
    ]


def _stream(name: str, *, polls: bool) -> Need:
    kinesis: KinesisClient = aws.client("kinesis")

    def first_shard() -> str:
        return kinesis.list_shards(StreamName=name, MaxResults=1)["Shards"][0]["ShardId"]

    def iterator() -> str:
        answer = kinesis.get_shard_iterator(StreamName=name, ShardId=first_shard(), ShardIteratorType="LATEST")
        return answer["ShardIterator"]

    found: dict[str, Call] = {
        "DescribeStreamSummary": lambda: kinesis.describe_stream_summary(StreamName=name),
        "ListShards": first_shard,
    }
    polled: dict[str, Call] = {
        "GetShardIterator": iterator,
        "GetRecords": lambda: kinesis.get_records(ShardIterator=iterator(), Limit=1),
    }
    subscribed: dict[str, Call] = {
        "RegisterStreamConsumer": _untried("would make a consumer that is paid for by the hour"),
        "SubscribeToShard": _untried("needs that consumer: the first start makes it"),
    }
    published = {"PutRecords": _untried("takes a record: `produce` says in its first seconds whether it is denied")}
    return Need(f"stream {name} (STREAM_NAME)", {**found, **(polled if polls else subscribed), **published})


def _table(name: str, setting: str, range_key: str) -> Need:
    dynamodb: DynamoDBClient = aws.client("dynamodb")
    key = {"symbol": _NOBODY, range_key: _NOBODY}
    return Need(
        f"table {name} ({setting})",
        {
            "DescribeTable": lambda: dynamodb.describe_table(TableName=name),
            "PutItem": _unmet(dynamodb.put_item, "symbol", TableName=name, Item=key),
            "BatchWriteItem": lambda: dynamodb.batch_write_item(RequestItems={name: [{"DeleteRequest": {"Key": key}}]}),
        },
    )


def _bucket(name: str) -> Need:
    s3: S3Client = aws.client("s3")

    def put(folder: str) -> None:
        try:
            # S3 refuses what does not match its checksum, but only after it has looked whether it may be put at all.
            # An If-Match that never holds would need GetObject too, which the consumer has not got. (An emulator that
            # looks at no checksums is left with an empty object.)
            s3.put_object(Bucket=name, Key=f"{folder}/check", Body=b"", ChecksumCRC32=_WRONG_CRC32)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"BadDigest", "XAmzContentChecksumMismatch"}:
                raise

    def get() -> None:
        with suppress(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket=name, Key="snapshots/check")

    folders = ("raw-data", "ticks", "quarantine", "snapshots")
    return Need(
        f"bucket {name} (ARCHIVE_BUCKET)",
        {
            "ListBucket": lambda: s3.head_bucket(Bucket=name),
            **{f"PutObject {folder}/": partial(put, folder) for folder in folders},
            "GetObject snapshots/": get,
            "DeleteObject snapshots/": _untried("would leave a mark in a bucket with versions"),
        },
    )


def _topic(arn: str) -> Need:
    sns: SNSClient = aws.client("sns")
    return Need(
        f"topic {arn.rpartition(':')[2]} (ALERT_TOPIC_ARN)",
        {
            "GetTopicAttributes": lambda: sns.get_topic_attributes(TopicArn=arn),
            "Publish": _untried("takes a message: the consumer stops at its first alert if it is denied"),
        },
    )


def _kcl_table(name: str, key_name: str, used: Collection[str]) -> Need:
    dynamodb: DynamoDBClient = aws.client("dynamodb")
    key = {key_name: _NOBODY}

    def describe() -> None:
        try:
            dynamodb.describe_table(TableName=name)
        except dynamodb.exceptions.ResourceNotFoundException:
            raise UntriedError("is not there yet: the first start makes it, which takes CreateTable") from None

    calls: dict[str, Call] = {
        "DescribeTable": describe,
        "Scan": lambda: dynamodb.scan(TableName=name, Limit=1),
        "GetItem": lambda: dynamodb.get_item(TableName=name, Key=key),
        "PutItem": _unmet(dynamodb.put_item, key_name, TableName=name, Item=key),
        "UpdateItem": _unmet(dynamodb.update_item, key_name, TableName=name, Key=key),
        "DeleteItem": _unmet(dynamodb.delete_item, key_name, TableName=name, Key=key),
    }
    return Need(f"table {name} (APPLICATION_NAME)", {action: call for action, call in calls.items() if action in used})


def _unmet(write: Callable[..., object], key_name: str, **request: Any) -> Call:  # noqa: ANN401  (a request's parameters)
    """Write to a row only if it is there, which it is not."""

    def call() -> None:
        try:
            write(**request, ConditionExpression="attribute_exists(#key)", ExpressionAttributeNames={"#key": key_name})
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    return call


def _untried(why: str) -> Call:
    def call() -> None:
        raise UntriedError(why)

    return call
