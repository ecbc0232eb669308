"""The queue of alerts: what is in hand stays invisible to others, and is in the queue until it is deleted."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import UnfinishedError, explain, has_not_answered_at_start, persist

log = logging.getLogger(__name__)

_BATCH = 10  # the most that SQS takes or gives at a time
_LONGEST_POLL_SECONDS = 10
_LONGEST_INVISIBLE_SECONDS = 43_200
_ADDRESS = "address"


class Message(NamedTuple):
    """A message that was received."""

    id: str
    body: str
    address: str | None
    """Of the one URL that it is for; None if it came from the topic."""


class _Hold(NamedTuple):
    receipt: str
    until: float
    """When others may see it again, on the monotonic clock."""


class AlertQueue:
    """One SQS queue.

    Parameters
    ----------
    sqs
        A boto3 client; it may be used by several threads.
    url
        The queue's.
    stop
        When it is set, nothing is tried again any more.

    """

    def __init__(self, sqs: Any, url: str, stop: threading.Event) -> None:  # noqa: ANN401  (a boto3 client)
        self._sqs = sqs
        self._url = url
        self._stop = stop
        self._invisible_seconds = 0
        self._held: dict[str, _Hold] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        """Look at the queue.

        Raises
        ------
        UserError
            It is not there, or may not be used.

        """
        try:
            answer = persist(
                partial(self._sqs.get_queue_attributes, QueueUrl=self._url, AttributeNames=["VisibilityTimeout"]),
                about=self._about,
                stop=lambda state: self._stop.is_set() or has_not_answered_at_start(state),
            )
        except (ClientError, BotoCoreError) as error:
            raise explain(error, self._about) from error
        self._invisible_seconds = max(1, int(answer["Attributes"]["VisibilityTimeout"]))

    @property
    def _about(self) -> str:
        return f"queue {self._url} (NOTIFY_QUEUE_URL)"

    def receive(self) -> list[Message]:
        """Wait some seconds for messages; they are in hand from then on. What is in hand already is not given again."""
        asked = time.monotonic()
        answer = self._persist(
            partial(
                self._sqs.receive_message,
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                MessageAttributeNames=[_ADDRESS],
                WaitTimeSeconds=min(_LONGEST_POLL_SECONDS, self._invisible_seconds // 3),
            )
        )
        received = [entry for entry in answer.get("Messages", ()) if self._take(entry, asked)]
        return [Message(entry["MessageId"], entry["Body"], _address(entry)) for entry in received]

    def _take(self, entry: dict[str, Any], asked: float) -> bool:
        """Take a message in hand; gives whether it was not before, be it that its time was over."""
        with self._lock:
            is_new = entry["MessageId"] not in self._held
            self._held[entry["MessageId"]] = _Hold(entry["ReceiptHandle"], asked + self._invisible_seconds)
        return is_new

    def keep(self) -> None:
        """Keep what is in hand from becoming visible again: to be called several times in its time."""
        soon = time.monotonic() + self._invisible_seconds / 2
        with self._lock:
            ending = [message for message, hold in self._held.items() if hold.until < soon]
        self._set_visibility(ending, self._invisible_seconds)

    def release(self, messages: Iterable[str], seconds: float) -> None:
        """Put messages back, to be received again after so many seconds."""
        released = list(messages)
        self._set_visibility(released, min(max(0, round(seconds)), _LONGEST_INVISIBLE_SECONDS))
        self._forget(released)

    def delete(self, messages: Iterable[str]) -> None:
        """Delete messages for good. One that SQS does not delete comes again, and is known then."""
        deleted = list(messages)
        for batch in self._batches(deleted):
            self._persist(partial(self._sqs.delete_message_batch, QueueUrl=self._url, Entries=batch))
        self._forget(deleted)

    def send(self, body: str, addresses: Sequence[str]) -> None:
        """Put in a copy of a message for each address; returns when all are there."""
        waiting = list(addresses)

        def send() -> None:
            entries = [_copy(str(number), body, address) for number, address in enumerate(waiting[:_BATCH])]
            answer = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
            for number in sorted((int(sent["Id"]) for sent in answer.get("Successful", ())), reverse=True):
                del waiting[number]
            if waiting:
                raise UnfinishedError("not all copies are in the queue yet")

        self._persist(send)

    def _set_visibility(self, messages: Iterable[str], seconds: int) -> None:
        for batch in self._batches(messages, VisibilityTimeout=seconds):
            until = time.monotonic() + seconds
            self._persist(partial(self._sqs.change_message_visibility_batch, QueueUrl=self._url, Entries=batch))
            with self._lock:
                for entry in batch:
                    if hold := self._held.get(entry["Id"]):
                        self._held[entry["Id"]] = _Hold(hold.receipt, until)

    def _batches(self, messages: Iterable[str], **more: int) -> Iterator[list[dict[str, Any]]]:
        """Give what SQS's batches want to know of messages in hand; a message's id is a valid id in a batch."""
        with self._lock:
            held = [(message, self._held[message].receipt) for message in messages if message in self._held]
        entries = [{"Id": message, "ReceiptHandle": receipt, **more} for message, receipt in held]
        return (entries[start : start + _BATCH] for start in range(0, len(entries), _BATCH))

    def _forget(self, messages: Iterable[str]) -> None:
        with self._lock:
            for message in messages:
                self._held.pop(message, None)

    def _persist(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401  (boto3's answers)
        return persist(call, about=self._about, stop=lambda _: self._stop.is_set())


def _copy(number: str, body: str, address: str) -> dict[str, Any]:
    attribute = {"DataType": "String", "StringValue": address}
    return {"Id": number, "MessageBody": body, "MessageAttributes": {_ADDRESS: attribute}}


def _address(entry: dict[str, Any]) -> str | None:
    address: str | None = entry.get("MessageAttributes", {}).get(_ADDRESS, {}).get("StringValue")
    return address
