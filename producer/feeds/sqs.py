"""Ticks from an SQS queue, whose messages are deleted once the stream has them."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from operator import attrgetter
from re import search
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from common.aws import UnfinishedError, client, explain, has_not_answered_at_start, persist
from common.errors import SettingsError
from common.tick import NotATickError, normalise_timestamp
from producer.clock import Clock
from producer.messages import Delivery, MessageReader
from producer.settings import ProducerSettings
from producer.source import Source
from producer.wire import Received

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient  # a development dependency: types only

Result = TypeVar("Result")

RECEIVERS = 8
"""Requests for messages under way at a time while there are many."""

HELD_MESSAGES = 2000
"""The most messages that are ours at a time: what one thread keeps invisible."""

VISIBILITY_SECONDS = 30
"""For so long others do not see a message that we hold; it is extended again and again."""

_DELETERS = 4
_BATCH = 10  # what a request of SQS takes or gives at most
_POLL_SECONDS = 10  # shorter than our client waits for an answer
_IDLE_SECONDS = 0.5  # from an empty answer to the next question, if the queue does not poll long
_GATHER_SECONDS = 0.02
_HANDED_OVER = 8  # receipts that wait for the stream; no more are asked for
_REST_SECONDS = 0.05
_LEAVE_SECONDS = 5
_EXTEND_SECONDS = VISIBILITY_SECONDS / 3


def open_feed(settings: ProducerSettings, clock: Clock) -> "Sqs":
    """Open it as the settings say."""
    assert settings.queue_url is not None  # noqa: S101  (the settings want it for this feed)
    return Sqs(settings.queue_url, reader=MessageReader(settings.field_map, settings.symbols), clock=clock)


class _Message:
    """A message that is ours until it is deleted; what it says is only kept until it is read."""

    __slots__ = ("body", "hidden_at", "message_id", "receipt", "sent_ms")

    def __init__(self, received: Any) -> None:  # noqa: ANN401  (as SQS has it)
        self.message_id: str = received["MessageId"]
        self.receipt: str = received["ReceiptHandle"]
        self.body: str = received["Body"]
        self.sent_ms = int(received["Attributes"]["SentTimestamp"])
        self.hidden_at = time.monotonic()


class Sqs(Source[_Message]):
    """The messages of a queue.

    Several threads receive while the queue is full, one while it is not. What has been received at the same time is
    given in the order in which it was sent; a queue that is no FIFO promises no more.

    Parameters
    ----------
    queue_url
        Where the queue is: it says the region, too.
    reader
        What makes records of messages.
    clock
        What ends it.

    Raises
    ------
    SettingsError
        The URL is none.
    UserError
        From the iterator: there is no such queue, or a permission is missing.

    """

    def __init__(self, queue_url: str, *, reader: MessageReader, clock: Clock) -> None:
        super().__init__(clock)
        self._url = queue_url
        self._is_fifo = queue_url.endswith(".fifo")
        self._about = f"queue {queue_url} (QUEUE_URL)"
        self._reader = reader
        self._sqs: SQSClient = client_for(queue_url)
        self._busy = threading.Event()
        self._held: dict[str, _Message] = {}  # by message id
        self._holding = threading.Lock()  # guards it
        self._done: queue.SimpleQueue[_Message | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._deleters: list[threading.Thread] = []

    def close(self) -> None:
        """Delete what the stream has, and leave the rest to others at once."""
        deadline = time.monotonic() + _LEAVE_SECONDS
        for _ in self._deleters:
            self._done.put(None)
        for deleter in self._deleters:
            deleter.join(max(0, deadline - time.monotonic()))
        self._closed.set()
        with self._holding:
            left = list(self._held.values())
        for batch in _batches(left):
            if time.monotonic() < deadline:
                with suppress(ClientError, BotoCoreError):  # others see them a little later
                    self._set_visibility(batch, 0)

    def _start(self) -> None:
        try:
            persist(
                lambda: self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"]),
                about=self._about,
                stop=lambda state: not self._goes_on or has_not_answered_at_start(state),
            )
        except (ClientError, BotoCoreError) as error:
            raise explain(error, self._about) from error
        self._run(self._keep_invisible, "extend")
        self._deleters = [self._run(self._delete_done, f"delete-{number}") for number in range(_DELETERS)]
        for number in range(RECEIVERS):
            self._run(partial(self._receive_all, is_first=number == 0), f"receive-{number}")

    def _read(self, messages: Sequence[_Message]) -> Iterator[Received]:
        if not self._is_fifo:  # which has one receipt of a group under way at a time, in order
            messages = sorted(messages, key=attrgetter("sent_ms"))
        for message in messages:
            delivery = Delivery(partial(self._done.put, message))
            content, sent_ms = _unwrapped(message.body, message.sent_ms)
            message.body = ""
            records = self._reader.read(content, delivery.taken, sent_ms=sent_ms, place=message.message_id)
            delivery.owe(len(records))
            yield from records

    # ------------------------------------------------------------ receiving

    def _receive_all(self, *, is_first: bool) -> None:
        while self._goes_on:
            if len(self._held) >= HELD_MESSAGES or self._arrivals.qsize() >= _HANDED_OVER:
                time.sleep(_REST_SECONDS)
            elif is_first or self._busy.wait(_IDLE_SECONDS):
                self._receive()

    def _receive(self) -> None:
        asked = self._clock.monotonic()
        answer = self._persist(
            lambda: self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=_POLL_SECONDS,
                VisibilityTimeout=VISIBILITY_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        )
        messages = answer.get("Messages", [])
        if messages:
            self._arrivals.put(self._hold(messages))
        if len(messages) == _BATCH:
            self._busy.set()
        elif not messages:
            self._busy.clear()
            self._clock.sleep_until(asked + _IDLE_SECONDS)

    def _hold(self, received: Sequence[Any]) -> list[_Message]:
        """Make messages ours; of one that is so already and has come again, only the receipt is new."""
        new = []
        with self._holding:
            for message in map(_Message, received):
                held = self._held.setdefault(message.message_id, message)
                if held is message:
                    new.append(message)
                else:
                    held.receipt, held.hidden_at = message.receipt, message.hidden_at
        return new

    # ------------------------------------------------------------ keeping and deleting

    def _keep_invisible(self) -> None:
        while not self._closed.wait(1):
            now = time.monotonic()
            with self._holding:
                due = [message for message in self._held.values() if now - message.hidden_at > _EXTEND_SECONDS]
            for batch in _batches(due):
                self._persist(partial(self._set_visibility, batch, VISIBILITY_SECONDS))

    def _set_visibility(self, batch: Sequence[_Message], seconds: int) -> None:
        """Ask for it; of what SQS refuses the message comes again."""
        now = time.monotonic()
        self._sqs.change_message_visibility_batch(
            QueueUrl=self._url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message.receipt, "VisibilityTimeout": seconds}
                for number, message in enumerate(batch)
            ],
        )
        for message in batch:
            message.hidden_at = now

    def _delete_done(self) -> None:
        goes_on = True
        while goes_on:
            batch, goes_on = self._gather()
            if batch:
                self._delete(batch)

    def _gather(self) -> tuple[list[_Message], bool]:
        """Wait for messages that may be deleted; False says that there will be no more."""
        batch: list[_Message] = []
        deadline = None
        with suppress(queue.Empty):
            while len(batch) < _BATCH:
                message = self._done.get(timeout=None if deadline is None else max(0, deadline - time.monotonic()))
                if message is None:
                    return batch, False
                batch.append(message)
                deadline = deadline or time.monotonic() + _GATHER_SECONDS
        return batch, True

    def _delete(self, batch: Sequence[_Message]) -> None:
        left = {str(number): message for number, message in enumerate(batch)}

        def delete() -> None:
            entries = [{"Id": number, "ReceiptHandle": message.receipt} for number, message in left.items()]
            answer = self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)  # type: ignore[arg-type]
            again = {failed["Id"] for failed in answer.get("Failed", []) if not failed["SenderFault"]}
            for number in left.keys() - again:  # those that are refused for good come again, with another receipt
                self._forget(left.pop(number))
            if left:
                raise UnfinishedError

        self._persist(delete)

    def _forget(self, message: _Message) -> None:
        with self._holding:
            self._held.pop(message.message_id, None)

    def _persist(self, call: Callable[[], Result]) -> Result:
        return persist(call, about=self._about, stop=lambda _: self._closed.is_set())


class _Notification(msgspec.Struct, rename="pascal"):
    """What SNS wraps around a message, unless it is told not to."""

    topic_arn: str
    message: str
    timestamp: str


_decode_notification = msgspec.json.Decoder(_Notification).decode


def _unwrapped(body: str, sent_ms: int) -> tuple[bytes, int]:
    """Give what a message says, and when it was sent: to the topic, if it comes from one."""
    content = body.encode()
    if b'"TopicArn"' in content:
        with suppress(msgspec.DecodeError, NotATickError, RecursionError):
            notification = _decode_notification(content)
            sent = datetime.fromisoformat(normalise_timestamp(notification.timestamp))
            return notification.message.encode(), round(sent.timestamp() * 1000)
    return content, sent_ms


def client_for(queue_url: str) -> Any:  # noqa: ANN401  (boto3's)
    """Make a client of the region that a queue's URL names, at the endpoint that it begins with."""
    parts = urlsplit(queue_url)
    if not (parts.scheme in {"http", "https"} and parts.hostname and parts.path.strip("/")):
        raise SettingsError(
            f"QUEUE_URL: {queue_url!r} is no queue's URL: https://sqs.eu-central-1.amazonaws.com/123456789012/quotes"
        )
    found = search(r"\bsqs(?:-fips)?\.([a-z]{2}[a-z-]*-\d)\.|^([a-z]{2}[a-z-]*-\d)\.queue\.", parts.hostname)
    return client(
        "sqs",
        connections=RECEIVERS + _DELETERS + 1,
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL_SQS") or f"{parts.scheme}://{parts.netloc}",
        region_name=(found[1] or found[2]) if found else None,
    )


def _batches(messages: Iterable[_Message]) -> Iterator[list[_Message]]:
    waiting = list(messages)
    for start in range(0, len(waiting), _BATCH):
        yield waiting[start : start + _BATCH]
