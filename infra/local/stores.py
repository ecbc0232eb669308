"""Reads what the pipeline wrote: tables, queue, bucket and lease table."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from common import aws
from desk.rows import Row, row_of
from infra.local.stack import Stack

Answer = TypeVar("Answer")

_PAGE = 1000
_AFTER_ALL_TIMESTAMPS = "~"


@dataclass(frozen=True)
class Lease:
    """Who processes a shard, and up to which record it is processed and archived."""

    shard_id: str
    owner: str
    checkpoint: str

    def covers(self, sequence_number: str) -> bool:
        """Tell whether the record with this number is done."""
        if self.checkpoint == "SHARD_END":
            return True
        return self.checkpoint.isdecimal() and int(self.checkpoint) >= int(sequence_number)


class Stores:
    """The stores of one stack and of one consumer application.

    Calls that fail are tried again until ``give_up`` says that it is no use.
    """

    def __init__(self, stack: Stack, application: str, give_up: Callable[[], bool] = lambda: False) -> None:
        self._give_up = give_up
        self._stack = stack
        self._application = application
        self._dynamodb = aws.client("dynamodb")
        self._s3 = aws.client("s3")
        self._sqs = aws.client("sqs")

    def _persist(self, call: Callable[[], Answer]) -> Answer:
        return aws.persist(call, about="the embedded AWS", stop=lambda _: self._give_up())

    def count_ticks(self) -> int:
        """Count the rows of the ticks table; exact in the embedded AWS, hours old in the real one."""
        return self._count(self._stack.ticks_table)

    def count_alerts(self) -> int:
        """Count the rows of the alerts table, likewise."""
        return self._count(self._stack.alerts_table)

    def _count(self, table: str) -> int:
        described = self._persist(lambda: self._dynamodb.describe_table(TableName=table))
        return int(described["Table"]["ItemCount"])

    def ticks(self) -> Iterator[Row]:
        """Read the whole ticks table, by symbol and timestamp."""
        return self._rows(self._stack.ticks_table)

    def alerts(self) -> Iterator[Row]:
        """Read the whole alerts table."""
        return self._rows(self._stack.alerts_table)

    def _rows(self, table: str) -> Iterator[Row]:
        request: dict[str, Any] = {"TableName": table, "Limit": _PAGE, "ConsistentRead": True}
        while True:
            page = self._persist(lambda: self._dynamodb.scan(**request))
            yield from (row_of(item) for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def symbols(self, limit: int) -> list[str]:
        """Find up to ``limit`` symbols that have ticks, jumping from each to the next."""
        request: dict[str, Any] = {
            "TableName": self._stack.ticks_table,
            "Limit": 1,
            "ProjectionExpression": "symbol",
        }
        found: list[str] = []
        while len(found) < limit:
            page = self._persist(lambda: self._dynamodb.scan(**request))
            if not page["Items"]:
                break
            found.append(page["Items"][0]["symbol"]["S"])
            request["ExclusiveStartKey"] = {
                "symbol": {"S": found[-1]},
                "timestamp": {"S": _AFTER_ALL_TIMESTAMPS},
            }
        return sorted(found)

    def ticks_since(self, symbol: str, timestamp: str, limit: int) -> list[Row]:
        """Read the newest ticks of a symbol that are later than ``timestamp``, oldest first, at most ``limit``."""
        page = self._persist(
            lambda: self._dynamodb.query(
                TableName=self._stack.ticks_table,
                KeyConditionExpression="symbol = :symbol AND #timestamp > :timestamp",
                ExpressionAttributeNames={"#timestamp": "timestamp"},
                ExpressionAttributeValues={":symbol": {"S": symbol}, ":timestamp": {"S": timestamp}},
                ScanIndexForward=False,
                Limit=limit,
            )
        )
        return [row_of(item) for item in reversed(page["Items"])]

    def leases(self) -> list[Lease]:
        """Read the lease table, by shard."""
        page = self._persist(lambda: self._dynamodb.scan(TableName=self._application, ConsistentRead=True))
        rows = [row_of(item) for item in page["Items"]]
        leases = [Lease(row["leaseKey"], row.get("leaseOwner", ""), row.get("checkpoint", "")) for row in rows]
        return sorted(leases, key=lambda lease: lease.shard_id)

    def take_messages(self) -> list[Row]:
        """Take all messages out of the queue; each is an alert."""
        taken: list[Row] = []
        while True:
            answer = self._persist(
                lambda: self._sqs.receive_message(
                    QueueUrl=self._stack.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
                )
            )
            messages = answer.get("Messages", [])
            if not messages:
                return taken
            taken.extend(json.loads(message["Body"], parse_float=Decimal) for message in messages)
            self._delete_messages([message["ReceiptHandle"] for message in messages])

    def _delete_messages(self, receipts: list[str]) -> None:
        entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
        self._persist(lambda: self._sqs.delete_message_batch(QueueUrl=self._stack.queue_url, Entries=entries))

    def object_keys(self, prefix: str = "") -> list[str]:
        """List the archive; snapshots are the consumer's own, and come and go."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._stack.archive_bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [key for key in keys if not key.startswith("snapshots/")]

    def object_bytes(self, key: str) -> bytes:
        """Read an object."""

        def read() -> bytes:
            body: bytes = self._s3.get_object(Bucket=self._stack.archive_bucket, Key=key)["Body"].read()
            return body

        return self._persist(read)

    def object_lines(self, prefix: str) -> Iterator[bytes]:
        """Read the lines of all .json.gz objects under ``prefix``."""
        for key in self.object_keys(prefix):
            yield from gzip.decompress(self.object_bytes(key)).splitlines()
