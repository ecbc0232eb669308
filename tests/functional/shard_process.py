"""The process of a shard between the daemon's protocol and moto's AWS: what tests drive it with and look at."""

import base64
import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import md5
from typing import Any

import boto3
import pytest
from moto import mock_aws
from msgspec.structs import replace

from consumer.config import ShardConfig
from consumer.detection import Rules
from consumer.leasing import take_leases_without_leader
from consumer.processor import ShardProcessor
from consumer.protocol import ShardProcess
from desk.system import System
from infra.local import faster_moto

SHARD = "shardId-000000000000"
START = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
ARCHIVE_SECONDS = 60

Message = dict[str, Any]


class Daemon:
    """Stands for the MultiLangDaemon's end of the pipe: sends messages, and acknowledges every checkpoint.

    Like the real one it begins where its predecessor's last checkpoint is, with the records that came after it.
    """

    def __init__(self, messages: list[Message], shard: str = SHARD, after: "Daemon | None" = None) -> None:
        self.checkpoint: tuple[str | None, int | None] = after.checkpoint if after else ("TRIM_HORIZON", 0)
        again = after.uncovered() if after else []
        self.delivered: list[Message] = []
        self._messages = iter([initialize(shard, *self.checkpoint), *([batch(again)] if again else []), *messages])
        self._answer: Message | None = None
        self.refusal: str | None = None  # the error that checkpoints are answered with
        self.checkpoints: list[tuple[str | None, int | None]] = []
        self.done: list[str] = []

    def readline(self) -> bytes:
        """The next message, or the answer to a checkpoint."""
        message, self._answer = self._answer or next(self._messages, None), None
        if message and message["action"] == "processRecords":
            self.delivered += message["records"]
        return json.dumps(message).encode() + b"\n" if message else b""

    def write(self, text: str) -> None:
        """Take what the process says."""
        message = json.loads(text)
        if message["action"] == "checkpoint":
            self.checkpoints.append((message["sequenceNumber"], message["subSequenceNumber"]))
            self._answer = {**message, "error": self.refusal}
            if self.refusal is None:
                self.checkpoint = message["sequenceNumber"], message["subSequenceNumber"]
        else:
            self.done.append(message["responseFor"])

    def uncovered(self) -> list[Message]:
        """The records that came after the last checkpoint."""
        return [record for record in self.delivered if _position(record) > self._covered()]

    def _covered(self) -> tuple[int, int]:
        number, sub = self.checkpoint
        return (int(number), sub or 0) if number and number.isdecimal() else (-1, 0)

    def flush(self) -> None:
        """Needed by kclpy."""


class Stores:
    """What a run left behind."""

    def __init__(self, config: ShardConfig, queue_url: str) -> None:
        self._config = config
        self._queue_url = queue_url
        tables = resource("dynamodb")
        self._ticks, self._alerts = tables.Table(config.ticks_table), tables.Table(config.alerts_table)
        self._bucket = resource("s3").Bucket(config.archive_bucket)
        self._sqs = client("sqs")

    def everything(self) -> tuple[dict[Any, Any], ...]:
        """Rows, alerts, archive and snapshots."""
        return self.rows(), self.alerts(), self.objects(), self.snapshots()

    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The items of the ticks table by key."""
        return {(str(item["symbol"]), str(item["timestamp"])): item for item in self._ticks.scan()["Items"]}

    def alerts(self) -> dict[str, dict[str, Any]]:
        """The items of the alerts table by id, without the time of publishing."""
        items = self._alerts.scan()["Items"]
        return {str(item["alert_id"]): {k: v for k, v in item.items() if k != "published_at"} for item in items}

    def objects(self) -> dict[str, bytes]:
        """The objects of the archive by key."""
        return {key: body for key, body in self._contents().items() if not key.startswith("snapshots/")}

    def snapshots(self) -> dict[str, bytes]:
        """The snapshots by shard and checkpoint."""
        folder = f"snapshots/{self._config.application_name}/"
        return {
            key.removeprefix(folder): body for key, body in self._contents().items() if key.startswith("snapshots/")
        }

    def _contents(self) -> dict[str, bytes]:
        return {item.key: item.get()["Body"].read() for item in self._bucket.objects.all()}

    def lines(self, prefix: str) -> list[bytes]:
        """The lines of all gzipped objects below a prefix."""
        bodies = [body for key, body in self.objects().items() if key.startswith(prefix)]
        return [line for body in bodies for line in gzip.decompress(body).splitlines()]

    def new_messages(self) -> list[dict[str, Any]]:
        """The messages that came since the last call."""
        found = []
        while messages := self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found


@cache
def _session() -> boto3.Session:
    """One for all tests: each that is made anew reads the descriptions of all services again."""
    return boto3.Session(region_name="eu-central-1")


@cache
def client(service: str) -> Any:  # noqa: ANN401  (boto3 makes clients' types at run time)
    """A client that all tests share, each on the AWS of its own."""
    return _session().client(service)  # type: ignore[call-overload]  # as above


@cache
def resource(service: str) -> Any:  # noqa: ANN401  (likewise)
    """A resource, likewise."""
    return _session().resource(service)  # type: ignore[call-overload]  # as above


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardConfig]:
    """Stores on an AWS of this test's own, and the configuration that names them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # clients alone then make all calls, and moto takes theirs
    faster_moto.apply_to_threads()
    with mock_aws():
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", _session())
        dynamodb = client("dynamodb")
        for table, key in (("ticks", "timestamp"), ("alerts", "alert_id")):
            dynamodb.create_table(
                TableName=table,
                KeySchema=[
                    {"AttributeName": "symbol", "KeyType": "HASH"},
                    {"AttributeName": key, "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": "symbol", "AttributeType": "S"},
                    {"AttributeName": key, "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        client("kinesis").create_stream(StreamName="stream", ShardCount=1)
        take_leases_without_leader("application")
        client("s3").create_bucket(Bucket="archive", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield ShardConfig(
            stream_name="stream",
            application_name="application",
            ticks_table="ticks",
            alerts_table="alerts",
            archive_bucket="archive",
            alert_topic_arn=client("sns").create_topic(Name="alerts")["TopicArn"],
            archive_seconds=ARCHIVE_SECONDS,
            max_clock_skew_seconds=300,
            retention_days=30,
            rules=Rules.of(alert_cooldown_seconds=30),
        )


@pytest.fixture
def stores(config: ShardConfig) -> Stores:
    """A look at the stores, with a queue subscribed to the topic."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns").subscribe(
        TopicArn=config.alert_topic_arn, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )
    return Stores(config, url)


@pytest.fixture
def system(config: ShardConfig) -> System:
    """The system whose shard is processed."""
    return System(
        is_local=False,
        stream=config.stream_name,
        ticks_table=config.ticks_table,
        alerts_table=config.alerts_table,
        application=config.application_name,
        bucket=config.archive_bucket,
    )


def run(config: ShardConfig, *messages: Message, shard: str = SHARD, after: Daemon | None = None) -> Daemon:
    """Start a new process of the shard and let it have ``messages``; returning is its death.

    ``after`` is the daemon of the process that had the shard before.
    """
    daemon = Daemon(list(messages), shard, after)
    ShardProcess(ShardProcessor(config), daemon, daemon, io.StringIO()).run()
    return daemon


def initialize(shard: str = SHARD, number: str | None = "TRIM_HORIZON", sub: int | None = 0) -> Message:
    """The daemon's first message."""
    return {"action": "initialize", "shardId": shard, "sequenceNumber": number, "subSequenceNumber": sub}


def _position(record: Message) -> tuple[int, int]:
    return int(record["sequenceNumber"]), record["subSequenceNumber"]


def batch(records: list[Message], millis_behind_latest: int = 0) -> Message:
    """The daemon's message with records."""
    return {"action": "processRecords", "records": records, "millisBehindLatest": millis_behind_latest}


def record(data: bytes, number: int, arrived: datetime, sub: int = 0, key: str = "key") -> Message:
    """A record as the daemon writes it."""
    return {
        "action": "record",
        "data": base64.b64encode(data).decode(),
        "partitionKey": key,
        "sequenceNumber": str(49_500_000_000 + number),
        "subSequenceNumber": sub,
        "approximateArrivalTimestamp": int(arrived.timestamp() * 1000),
    }


def quote(price: float, moment: datetime, symbol: str = "AAPL", **fields: object) -> bytes:
    """A payload."""
    return json.dumps({"symbol": symbol, "timestamp": moment.isoformat(), "price": price, **fields}).encode()


def ticks(count: int, first: int = 0) -> list[Message]:
    """A tick a second of two symbols in turn, prices in waves high enough to fire some rules."""
    records = []
    for number in range(first, first + count):
        moment = START + timedelta(seconds=number)
        price = 100 + (number % 37) * 0.25 + (25 if number % 50 == 49 else 0)
        symbol = "AAPL" if number % 2 else "MSFT"
        data = quote(price, moment, symbol, previous_close=100, volume=number * number * 10)
        records.append(record(data, number, moment))
    return records


def quotes(symbol: str, prices: list[float], first: int, key: str | None = None) -> list[Message]:
    """A tick a second, under the symbol as partition key if none is given."""
    moments = [START + timedelta(seconds=first + number) for number in range(len(prices))]
    return [
        record(quote(price, moment, symbol), first + number, moment, key=key or symbol)
        for number, (price, moment) in enumerate(zip(prices, moments, strict=True))
    ]


def in_batches(records: list[Message], size: int) -> list[Message]:
    """The daemon's messages with ``size`` records each."""
    return [batch(records[start : start + size]) for start in range(0, len(records), size)]


def elsewhere(config: ShardConfig, name: str) -> ShardConfig:
    """The same with stores of its own, for a run to compare with."""
    dynamodb = client("dynamodb")
    tables = {field: f"{getattr(config, field)}-{name}" for field in ("ticks_table", "alerts_table")}
    for field, table in tables.items():
        schema = dynamodb.describe_table(TableName=getattr(config, field))["Table"]
        dynamodb.create_table(
            TableName=table,
            KeySchema=schema["KeySchema"],
            AttributeDefinitions=schema["AttributeDefinitions"],
            BillingMode="PAY_PER_REQUEST",
        )
    client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return replace(config, archive_bucket=name, **tables)


def ids(messages: list[dict[str, Any]]) -> list[str]:
    """What the messages of alerts are about, sorted."""
    return sorted(f"{message['symbol']} {message['alert_id']}" for message in messages)


def split(config: ShardConfig, shard: str, key: str) -> tuple[str, str]:
    """Split a shard of the stream right above a partition key; returns the key's shard and the other one."""
    kinesis = client("kinesis")
    kinesis.split_shard(StreamName=config.stream_name, ShardToSplit=shard, NewStartingHashKey=str(_hash(key) + 1))
    below, above = sorted(_children(config, shard))
    return below, above


def merge(config: ShardConfig, shard: str, other: str) -> str:
    """Merge two shards; returns the shard that they become."""
    client("kinesis").merge_shards(StreamName=config.stream_name, ShardToMerge=shard, AdjacentShardToMerge=other)
    (child,) = _children(config, shard)
    return child


def _children(config: ShardConfig, shard: str) -> list[str]:
    shards = client("kinesis").list_shards(StreamName=config.stream_name)["Shards"]
    return [
        each["ShardId"] for each in shards if shard in (each.get("ParentShardId"), each.get("AdjacentParentShardId"))
    ]


def _hash(key: str) -> int:
    return int.from_bytes(md5(key.encode(), usedforsecurity=False).digest())
