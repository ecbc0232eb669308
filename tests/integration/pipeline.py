"""A stack in the embedded AWS and real consumers on it, driven and read back through boto3 alone."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3

from infra.local.leases import create_leases
from infra.templates import STACK
from tests.integration.aggregation import aggregate, split_up
from tests.integration.processes import marked
from tests.oracle import Record, Row, payload_of

EMBEDDED_AWS = (sys.executable, "-m", "infra.local.embedded_aws")
STACK_NAME = "tickertape"
APPLICATION = "pipeline-test"
_QUICKLY = {
    "KCL_SHARD_SYNC_INTERVAL_MILLIS": "1000",
    "KCL_METRICS_LEVEL": "NONE",
}


@dataclass(frozen=True)
class Put:
    """A record as a producer puts it."""

    key: str
    data: bytes

    @classmethod
    def aggregated(cls, key: str, contents: Sequence[bytes]) -> Self:
        """Pack records of one partition key into one."""
        return cls(key, aggregate([(key, data) for data in contents]))


Position = tuple[int, int]
"""Sequence number and sub-sequence number."""


@dataclass(frozen=True)
class Lease:
    """How far a shard is, whose child it is, and which worker has it."""

    checkpoint: str
    sub_sequence_number: int
    parents: tuple[str, ...]
    owner: str | None

    def covers(self, position: Position) -> bool:
        """Tell whether the record at this position is processed and archived."""
        return self.checkpoint.isdecimal() and (int(self.checkpoint), self.sub_sequence_number) >= position


class Pipeline:
    """The embedded AWS with the deployed stack, from entering the context until leaving it.

    Parameters
    ----------
    folder
        Where the logs of what is started go.
    shards
        Shards of the stream.
    kinesis_url
        Where the stream is, if not in the embedded AWS.
    aws
        The command that starts the AWS, and prints its URL.
    template
        The stack's template.
    parameters
        Further parameters of the stack.

    """

    def __init__(
        self,
        folder: Path,
        shards: int = 2,
        kinesis_url: str | None = None,
        *,
        aws: Sequence[str] = EMBEDDED_AWS,
        template: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._kinesis_url = kinesis_url
        self._command = aws
        self._template = template or STACK.read_text()
        self._parameters = {"ShardCount": str(shards), "ApplicationName": APPLICATION, **(parameters or {})}
        self.mark = f"TICKERTAPE_TEST={folder}"
        self._consumers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start it and deploy the stack."""
        self._aws = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | dict([self.mark.split("=", 1)]),
        )
        assert self._aws.stdout is not None
        self.url = self.endpoint = self._aws.stdout.readline().decode().strip()
        self._session = boto3.Session("embedded", "embedded", region_name="us-east-1")
        self.kinesis = self.client("kinesis", self._kinesis_url)
        self._dynamodb, self._s3, self._sqs = map(self.client, ("dynamodb", "s3", "sqs"))
        try:
            self.outputs = self.deploy(STACK_NAME, self._template, self._parameters)
            if self._kinesis_url:
                self._create_stream()
            self._queue = self._subscribe()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End everything that was started."""
        for consumer in self._consumers:
            if consumer.poll() is None:
                consumer.kill()
            consumer.wait()
        self._aws.kill()  # it has nothing to save
        self._aws.wait()
        if self._aws.stdout:
            self._aws.stdout.close()
        for pid in marked(self.mark):
            os.kill(pid, signal.SIGKILL)  # a shard's process whose daemon we killed: it carries our mark

    def client(self, service: str, url: str | None = None) -> Any:  # noqa: ANN401  (boto3 makes clients' types at run time)
        """Make a client of somebody who may do all."""
        return self._session.client(service, endpoint_url=url or self.url)  # type: ignore[call-overload]  # as above

    def deploy(self, name: str, template: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Create a stack; gives its outputs."""
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=template,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def environment(self) -> dict[str, str]:
        """Give what `tickertape consume` needs to know."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KCL_"))}
        return (
            ours
            | dict([self.mark.split("=", 1)])
            | _QUICKLY
            | {
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "embedded",
                "AWS_SECRET_ACCESS_KEY": "embedded",
                "AWS_EC2_METADATA_DISABLED": "true",
                "CBOR_ENABLED": "false",
                "STREAM_NAME": self.outputs["StreamName"],
                "TICKS_TABLE": self.outputs["TicksTableName"],
                "ALERTS_TABLE": self.outputs["AlertsTableName"],
                "ARCHIVE_BUCKET": self.outputs["ArchiveBucketName"],
                "ALERT_TOPIC_ARN": self.outputs["AlertTopicArn"],
                "APPLICATION_NAME": APPLICATION,
                "ARCHIVE_SECONDS": "3",
            }
        )

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.outputs["StreamName"]

    def produce(self, settings: Mapping[str, str]) -> None:
        """Run `tickertape produce` to the end of its feed."""
        with (self._folder / "producer.log").open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", "tickertape", "produce"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.environment(), **settings},
                timeout=60,
                check=True,
            )

    def start_consumer(self, settings: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start `tickertape consume`."""
        with self.log(len(self._consumers)).open("wb") as log:
            consumer = subprocess.Popen(
                [sys.executable, "-m", "tickertape", "consume"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment() | settings,
                start_new_session=True,
            )
        self._consumers.append(consumer)
        return consumer

    def log(self, number: int) -> Path:
        """Where the output of a consumer goes."""
        return self._folder / f"consumer-{number}.log"

    def events(self, number: int) -> list[dict[str, Any]]:
        """Give what a consumer has said, every line of which must be an event."""
        return [json.loads(line) for line in self.log(number).read_text().splitlines()]

    def put(self, puts: Iterable[Put], batch: int = 50) -> None:
        """Publish records in their order."""
        waiting = list(puts)
        for start in range(0, len(waiting), batch):
            entries = [{"Data": put.data, "PartitionKey": put.key} for put in waiting[start : start + batch]]
            answer = self.kinesis.put_records(StreamName=self.stream, Records=entries)
            assert answer["FailedRecordCount"] == 0

    def records(self) -> list[Record]:
        """Read back what the stream holds, aggregated records unpacked, each shard in its order."""
        return [
            Record(payload, int(record["ApproximateArrivalTimestamp"].timestamp() * 1000))
            for shard_records in self._stream().values()
            for record in shard_records
            for payload in _payloads(record)
        ]

    def drain(self, consumer: subprocess.Popen[bytes], seconds: float = 150) -> None:
        """Wait until everything that was put so far is processed and archived."""
        deadline = time.monotonic() + seconds
        ends = self.last_positions()
        while left := self.unfinished(ends):
            assert consumer.poll() is None, f"the consumer ended:\n{self._last_log()}"
            assert time.monotonic() < deadline, f"{left}:\n{self._last_log()}"
            time.sleep(0.5)

    def unfinished(self, ends: Mapping[str, Position]) -> list[str]:
        """Describe each shard that is not processed and archived up to its position."""
        leases, ended = self.leases(), self.ended()
        return [
            f"{shard} is at {leases.get(shard)}, its last record is {last}"
            for shard, last in ends.items()
            if shard not in ended and not (shard in leases and leases[shard].covers(last))
        ]

    def last_positions(self) -> dict[str, Position]:
        """Give the last record of each shard that has any; this reads the whole stream."""
        return {
            shard: (
                int(records[-1]["SequenceNumber"]),
                len(_payloads(records[-1])) - 1,
            )
            for shard, records in self._stream().items()
            if records
        }

    def open_shards(self) -> list[dict[str, Any]]:
        """Describe the shards that take records, in the order of their keys."""
        shards = self.kinesis.list_shards(StreamName=self.stream)["Shards"]
        found = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
        return sorted(found, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))

    def split(self, shard: Mapping[str, Any]) -> None:
        """Split an open shard in the middle of its keys."""
        keys = shard["HashKeyRange"]
        middle = (int(keys["StartingHashKey"]) + int(keys["EndingHashKey"])) // 2 + 1
        self.kinesis.split_shard(StreamName=self.stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))
        self._await_stream()

    def merge(self, shard: Mapping[str, Any], adjacent: Mapping[str, Any]) -> None:
        """Merge two open shards."""
        self.kinesis.merge_shards(
            StreamName=self.stream, ShardToMerge=shard["ShardId"], AdjacentShardToMerge=adjacent["ShardId"]
        )
        self._await_stream()

    def create_leases(self) -> None:
        """Save the first consumer its random wait on an empty lease table."""
        create_leases(self.kinesis, self._dynamodb, stream_name=self.stream, application_name=APPLICATION)

    def ended(self) -> set[str]:
        """Ids of closed shards that are processed to their end; once their children go on, their leases are removed."""
        leases = self.leases()
        parents = {parent for lease in leases.values() for parent in lease.parents}
        return {shard for shard, lease in leases.items() if lease.checkpoint == "SHARD_END"} | parents - leases.keys()

    def leases(self) -> dict[str, Lease]:
        """Read the lease table."""
        try:
            items = self._dynamodb.scan(TableName=APPLICATION, ConsistentRead=True)["Items"]
        except self._dynamodb.exceptions.ResourceNotFoundException:
            return {}
        return {
            item["leaseKey"]["S"]: Lease(
                item["checkpoint"]["S"],
                int(item.get("checkpointSubSequenceNumber", {"N": "0"})["N"]),
                tuple(item.get("parentShardId", {"SS": ()})["SS"]),
                item.get("leaseOwner", {"S": None})["S"],
            )
            for item in items
        }

    def count_rows(self) -> int:
        """Count the rows of the ticks table."""
        described = self._dynamodb.describe_table(TableName=self.outputs["TicksTableName"])
        return int(described["Table"]["ItemCount"])

    def export(self, directory: Path) -> Path:
        """Write everything that is in the stores, as `tests.compare` reads it."""
        directory.mkdir()
        _write_lines(directory / "ticks.jsonl", self._rows(self.outputs["TicksTableName"]))
        _write_lines(directory / "alerts.jsonl", self._rows(self.outputs["AlertsTableName"]))
        _write_lines(directory / "messages.jsonl", self._messages())
        self._download(directory / "s3")
        return directory

    def _create_stream(self) -> None:
        self.kinesis.create_stream(StreamName=self.stream, ShardCount=int(self._parameters["ShardCount"]))
        self._await_stream()

    def _await_stream(self) -> None:
        self.kinesis.get_waiter("stream_exists").wait(StreamName=self.stream, WaiterConfig={"Delay": 1})

    def _subscribe(self) -> str:
        url: str = self._sqs.create_queue(QueueName="alerts")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        may_send = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [may_send]})
        self._sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self.client("sns").subscribe(TopicArn=self.outputs["AlertTopicArn"], Protocol="sqs", Endpoint=arn)
        return url

    def _stream(self) -> dict[str, list[dict[str, Any]]]:
        """Read all shards, parents before their children."""
        shards = self.kinesis.list_shards(StreamName=self.stream)["Shards"]
        return {shard_id: self._shard(shard_id) for shard_id in sorted(shard["ShardId"] for shard in shards)}

    def _shard(self, shard_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        iterator = self.kinesis.get_shard_iterator(
            StreamName=self.stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = self.kinesis.get_records(ShardIterator=iterator)
            found += answer["Records"]
            if not answer["Records"]:
                break
            iterator = answer.get("NextShardIterator")
        return found

    def _rows(self, table: str) -> list[Row]:
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [
            {name: _value(*next(iter(attribute.items()))) for name, attribute in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    def _messages(self) -> list[Row]:
        """Take every message from the queue; what SNS wraps around them must agree with what they say."""
        found: list[Row] = []
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                envelope = json.loads(message["Body"])
                alert = json.loads(envelope["Message"], parse_float=Decimal, parse_int=Decimal)
                attributes = {name: value["Value"] for name, value in envelope["MessageAttributes"].items()}
                assert attributes == {name: alert[name] for name in ("symbol", "rule", "direction", "severity", "kind")}
                assert alert["symbol"] in envelope["Subject"]
                found.append(alert)
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def _download(self, root: Path) -> None:
        bucket, lines = self.outputs["ArchiveBucketName"], b""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                content = self._s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
                path = root / entry["Key"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                if entry["Key"].startswith("quarantine/"):
                    lines += gzip.decompress(content)
        (root.parent / "quarantine.jsonl").write_bytes(lines)

    def _last_log(self) -> str:
        return self.log(len(self._consumers) - 1).read_text()[-3000:]


def _payloads(record: dict[str, Any]) -> list[bytes]:
    """Give what the KCL makes of a record: those within, or itself if it is none that holds others, or is damaged."""
    try:
        return [payload for _, payload in split_up(record["PartitionKey"], record["Data"])]
    except ValueError:
        return [record["Data"]]


def _value(kind: str, value: Any) -> Any:  # noqa: ANN401  (whatever DynamoDB holds)
    return Decimal(value) if kind == "N" else sorted(value) if kind == "SS" else value


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    path.write_bytes(b"".join(payload_of(row) + b"\n" for row in rows))
