"""Alerts: claimed, published, marked as sent; so a crash repeats at most what was between the last two.

A claim keeps two processes from publishing the same alert where one has lost its shard and does not know it yet: who
finds it claimed by another waits until it is marked as sent, or the claim is so old that its owner must be dead.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from common.aws import UnfinishedError
from common.errors import UserError
from common.tick import decimal_text
from consumer.backpressure import persist
from consumer.detection import Alert
from consumer.sinks.dynamodb import BatchPutter, put_unless_taken

log = logging.getLogger(__name__)

_BATCH = 10  # PublishBatch's limit
_PENDING, _SENT = "pending", "sent"
_CLAIM_MS = 10_000
"""So long a claim holds."""


class _Message(NamedTuple):
    alert: Alert
    expires_at: int


class _Claim(NamedTuple):
    """Whether an alert is sent, and until when (on the monotonic clock) it is for us to publish it."""

    is_sent: bool
    until: float


class AlertSink:
    """The alerts table and the topic, used by the process of one shard."""

    def __init__(
        self,
        dynamodb: Any,  # noqa: ANN401  (a boto3 client)
        sns: Any,  # noqa: ANN401  (a boto3 client)
        putter: BatchPutter,
        *,
        table: str,
        topic_arn: str,
        retention_days: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._dynamodb = dynamodb
        self._sns = sns
        self._table = table
        self._topic_arn = topic_arn
        self._retention_seconds = retention_days * 24 * 3600
        self._pool = pool
        self._putter = putter
        self._claimant = uuid4().hex

    def deliver(self, alerts: Sequence[tuple[Alert, int]]) -> None:
        """Send every alert once; returns when all are published and marked.

        Parameters
        ----------
        alerts
            Each with its record's arrival in epoch milliseconds.

        """
        messages = [_Message(alert, arrived_ms // 1000 + self._retention_seconds) for alert, arrived_ms in alerts]
        for start in range(0, len(messages), _BATCH):
            batch = messages[start : start + _BATCH]
            persist(partial(self._send, batch), about=f"topic {self._topic_arn}")

    def _send(self, batch: list[_Message]) -> None:
        """Publish what nobody else does, and mark it; each try claims anew, as others may have sent some meanwhile."""
        claims = list(self._pool.map(self._claim, batch))
        now = time.monotonic()
        ours = [message for message, claim in zip(batch, claims, strict=True) if claim.until > now]
        published = self._publish(ours) if ours else []
        self._mark_sent(published)
        if len(published) < sum(not claim.is_sent for claim in claims):
            raise UnfinishedError("some alerts are not published yet, or another process is at them")

    def _claim(self, message: _Message) -> _Claim:
        """Record an alert as pending and ours, unless it is sent, or another process has claimed it just now."""
        until = time.monotonic() + _CLAIM_MS / 2000  # half of it: publishing takes its time, too
        now_ms = time.time_ns() // 1_000_000
        claim = {"claimed_by": {"S": self._claimant}, "claimed_at": {"N": str(now_ms)}}
        taken = put_unless_taken(
            self._dynamodb,
            self._table,
            {**_item(message, _PENDING), **claim},
            but="#status = :pending AND (claimed_by = :me OR claimed_at <= :old OR attribute_not_exists(claimed_at))",
            names={"#status": "status"},
            values={
                ":pending": {"S": _PENDING},
                ":me": {"S": self._claimant},
                ":old": {"N": str(now_ms - _CLAIM_MS)},
            },
        )
        if taken is None:
            return _Claim(is_sent=False, until=until)
        return _Claim(is_sent=taken.get("status") == {"S": _SENT}, until=0)

    def _publish(self, messages: list[_Message]) -> list[_Message]:
        """Publish once; returns what the topic took."""
        entries = [_entry(str(index), message) for index, message in enumerate(messages)]
        answer = self._sns.publish_batch(TopicArn=self._topic_arn, PublishBatchRequestEntries=entries)
        for failure in answer.get("Failed", []):
            if failure.get("SenderFault"):
                raise UserError(f"SNS refused an alert ({failure.get('Code')}): {failure.get('Message')}")
        return [messages[int(success["Id"])] for success in answer.get("Successful", [])]

    def _mark_sent(self, messages: list[_Message]) -> None:
        published_at = datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z"
        items = ({**_item(message, _SENT), "published_at": {"S": published_at}} for message in messages)
        self._putter.put_all(self._table, [msgspec.json.encode(item).decode() for item in items])


def _fields(message: _Message) -> Iterator[tuple[str, str, str]]:
    """Name, DynamoDB kind and text of what table and message have in common."""
    alert = message.alert
    yield "symbol", "S", alert.symbol
    yield "alert_id", "S", alert.alert_id
    yield "timestamp", "S", alert.timestamp
    yield "rule", "S", alert.rule
    yield "direction", "S", alert.direction
    yield "severity", "S", alert.severity
    yield "kind", "S", alert.kind
    yield "price", "N", decimal_text(alert.price)
    yield "value", "N", decimal_text(alert.value)
    yield "threshold", "N", decimal_text(alert.threshold)
    yield "message", "S", alert.sentence


def _item(message: _Message, status: str) -> dict[str, dict[str, str]]:
    item = {name: {kind: text} for name, kind, text in _fields(message)}
    return {**item, "status": {"S": status}, "expires_at": {"N": str(message.expires_at)}}


def _entry(key: str, message: _Message) -> dict[str, Any]:
    alert = message.alert
    body = msgspec.json.encode(
        {name: msgspec.Raw(text.encode()) if kind == "N" else text for name, kind, text in _fields(message)}
    ).decode()
    return {
        "Id": key,
        "Subject": f"[{alert.severity}] {alert.symbol}: {alert.rule} {alert.direction}",
        "Message": msgspec.json.encode(
            {"default": body, "email": f"{message.alert.sentence}\n\n{alert.alert_id}\n", "sms": message.alert.sentence}
        ).decode(),
        "MessageStructure": "json",
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": getattr(alert, name)}
            for name in ("symbol", "rule", "direction", "severity", "kind")
        },
    }
