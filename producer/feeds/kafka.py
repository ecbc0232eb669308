"""Ticks from a Kafka topic, whose offsets are committed once the stream has them."""

import logging
import os
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from common.aws import region
from common.errors import SettingsError, UserError
from producer.clock import Clock
from producer.messages import Delivery, MessageReader
from producer.settings import ProducerSettings
from producer.source import Source
from producer.wire import Received

log = logging.getLogger(__name__)
_library_log = logging.getLogger("librdkafka")
_library_log.setLevel(logging.DEBUG)  # KAFKA_LOG_LEVEL says how much it tells

_VARIABLE = re.compile(r"KAFKA_([A-Z0-9_]+)")
_NOT_PROPERTIES = frozenset({"BROKERS", "TOPIC", "GROUP"})
_MSK_IAM = "AWS_MSK_IAM"
_FIXED = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": False,
}
_DEFAULTS: dict[str, Any] = {
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "queued.max.messages.kbytes": 16_384,  # its own is 64 MB
    "fetch.wait.max.ms": 100,
    "log_level": 2,  # we say once what it says at every try
    "client.id": "tickertape",
}
_BATCH = 500
_POLL_SECONDS = 0.1
_HANDED_OVER = 4  # batches that wait for the stream; more are not asked for
_COMMIT_SECONDS = 1.0
_START_SECONDS = 20  # until brokers that never answered are given up
_REFUSED_SECONDS = 5  # the same of brokers that refuse: one that has just started may not know all topics
_HAND_OVER_SECONDS = 5  # until partitions that are taken from us go, whatever the stream does
_LEAVE_SECONDS = 10

_HOPELESS = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: "there is no such topic: create it, or correct KAFKA_TOPIC",
    KafkaError._UNKNOWN_TOPIC: "there is no such topic: create it, or correct KAFKA_TOPIC",
    KafkaError.TOPIC_EXCEPTION: "that is no topic's name: correct KAFKA_TOPIC",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant the user or role in use to read and describe the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant the user or role in use the group, or correct KAFKA_GROUP",
    KafkaError.INVALID_GROUP_ID: "correct KAFKA_GROUP",
}
"""What waiting does not mend, and what does."""


def open_feed(settings: ProducerSettings, clock: Clock) -> "Kafka":
    """Open it as the settings and the ``KAFKA_...`` variables say."""
    assert settings.kafka_brokers is not None  # noqa: S101  (the settings want it for this feed)
    assert settings.kafka_topic is not None  # noqa: S101  (likewise)
    return Kafka(
        properties_of(settings.kafka_brokers, settings.kafka_group, os.environ),
        settings.kafka_topic,
        reader=MessageReader(settings.field_map, settings.symbols),
        clock=clock,
    )


def properties_of(brokers: str, group: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Give librdkafka's properties: ours, then what ``KAFKA_...`` variables say.

    ``KAFKA_SASL_PASSWORD`` sets ``sasl.password``. ``KAFKA_SASL_MECHANISM=AWS_MSK_IAM`` is understood, too: the role or
    profile in use logs in, as MSK has it.

    Raises
    ------
    SettingsError
        A variable is of a property that is not to be set.

    """
    properties = {**_DEFAULTS, **_FIXED, "bootstrap.servers": brokers, "group.id": group}
    for variable, value in environment.items():
        match = _VARIABLE.fullmatch(variable)
        if match and match[1] not in _NOT_PROPERTIES and value:
            name = _property(match[1])
            if name in {"bootstrap.servers", "group.id", *_FIXED}:
                raise SettingsError(f"{variable}: {name} is set by tickertape; unset it (KAFKA_BROKERS, KAFKA_GROUP)")
            properties[name] = value
    mechanism = properties.pop("sasl.mechanism", properties.pop("sasl.mechanisms", None))
    if mechanism == _MSK_IAM:
        properties |= {"sasl.mechanisms": "OAUTHBEARER", "oauth_cb": partial(_msk_token, brokers)}
        properties.setdefault("security.protocol", "SASL_SSL")
    elif mechanism:
        properties["sasl.mechanisms"] = mechanism
    return properties


def _property(variable: str) -> str:
    return "log_level" if variable == "LOG_LEVEL" else variable.lower().replace("_", ".")


def _msk_token(brokers: str, _: object) -> tuple[str, float]:
    """Give a token for the region that the brokers' names tell, and until when it is valid, in epoch seconds."""
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415  (other clusters do without)

    found = re.search(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.", brokers)
    token, expires_ms = MSKAuthTokenProvider.generate_auth_token(found[1] if found else region())
    return token, expires_ms / 1000


class _Partition:
    """What is on its way from one partition while it is ours."""

    def __init__(self) -> None:
        self.is_ours = True
        self.under_way: deque[tuple[int, Delivery]] = deque()  # in the order of offsets
        self.next_offset: int | None = None
        """What comes after all that the stream has, if it is not committed yet."""

    @property
    def has_unsettled(self) -> bool:
        """The stream has not taken all that was given to it."""
        return any(delivery.owed for _, delivery in self.under_way)

    def settle(self) -> None:
        """Pass over what the stream has, up to the first message that it does not have."""
        while self.under_way and self.under_way[0][1].owed == 0:
            self.next_offset = self.under_way.popleft()[0] + 1


class _Message(NamedTuple):
    received: Any  # confluent_kafka.Message
    partition: _Partition
    delivery: Delivery


class Kafka(Source[_Message]):
    """The messages of a topic, as a member of a group.

    One thread polls, however long the stream takes nothing: partitions are paused then. It commits of each partition
    what the stream has without a gap, and before a partition goes to another member it waits for what is under way.

    Parameters
    ----------
    properties
        librdkafka's.
    topic
        Its name.
    reader
        What makes records of messages.
    clock
        What ends it.

    Raises
    ------
    SettingsError
        There is no such property, or it cannot have this value.
    UserError
        From the iterator: no broker answers at first, or refuses for a reason that waiting does not mend.

    """

    def __init__(self, properties: Mapping[str, Any], topic: str, *, reader: MessageReader, clock: Clock) -> None:
        super().__init__(clock)
        self._topic = topic
        self._reader = reader
        self._about = f"topic {topic} at {properties['bootstrap.servers']} (KAFKA_TOPIC, KAFKA_BROKERS)"
        try:
            self._consumer = Consumer(
                {**properties, "error_cb": self._note_error, "on_commit": self._on_commit},
                logger=_library_log,
            )
        except KafkaException as error:
            raise SettingsError(_refused_property(error)) from None
        self._partitions: dict[int, _Partition] = {}
        self._is_paused = False
        self._commit_at = 0.0
        self._closing = Event()
        self._poller: Thread | None = None
        self._has_joined = self._had_partitions = False
        self._trouble: str | None = None  # while no broker answers: what is wrong
        self._refusal: str | None = None  # what waiting does not mend

    def close(self) -> None:
        """Commit what the stream has, and leave the group."""
        self._closing.set()
        if self._poller is not None:
            self._poller.join(_LEAVE_SECONDS)

    def _start(self) -> None:
        self._poller = self._run(self._poll_until_closed, "poll")

    def _read(self, messages: Sequence[_Message]) -> Iterator[Received]:
        for message, partition, delivery in messages:
            if not partition.is_ours:  # another member begins with it
                continue
            records = self._reader.read(
                message.value() or b"",
                delivery.taken,
                sent_ms=_sent_ms(message),
                place=f"{self._topic}-{message.partition()}-{message.offset()}",
                symbol=(message.key() or b"").decode(errors="replace"),
            )
            delivery.owe(len(records))
            yield from records

    # ------------------------------------------------------------ the thread that polls

    def _poll_until_closed(self) -> None:
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        started = time.monotonic()
        try:
            while not self._closing.is_set():
                self._poll()
                self._commit()
                self._pause_or_resume()
                self._complain_at_start(time.monotonic() - started)
        finally:
            self._leave()

    def _complain_at_start(self, seconds: float) -> None:
        """Give up what has not worked yet, and seems never to; later, whatever fails is waited for."""
        if self._refusal and not self._had_partitions and seconds > _REFUSED_SECONDS:
            raise UserError(f"{self._about}: {self._refusal}")
        if self._trouble and not self._has_joined and seconds > _START_SECONDS:
            raise UserError(f"{self._about}: {self._trouble} - check KAFKA_BROKERS and the network")

    def _poll(self) -> None:
        arrived = []
        first = self._consumer.poll(_POLL_SECONDS)
        if first is None:
            return
        received: Any
        for received in (first, *self._consumer.consume(_BATCH - 1, 0)):
            if (error := received.error()) is not None:
                self._judge(error)
            elif partition := self._partitions.get(received.partition()):
                message = _Message(received, partition, Delivery())
                partition.under_way.append((received.offset(), message.delivery))
                arrived.append(message)
        if arrived:
            self._arrivals.put(arrived)
            self._recover()

    def _pause_or_resume(self) -> None:
        is_full = self._arrivals.qsize() >= _HANDED_OVER
        if is_full:
            self._consumer.pause(self._consumer.assignment())  # each time: some may be new
        elif self._is_paused:
            self._consumer.resume(self._consumer.assignment())
        self._is_paused = is_full

    def _commit(self) -> None:
        if time.monotonic() < self._commit_at:
            return
        self._commit_at = time.monotonic() + _COMMIT_SECONDS
        with suppress(KafkaException):  # the next one says the same, and more
            self._commit_of(self._partitions, wait=False)

    def _commit_of(self, partitions: Mapping[int, _Partition], *, wait: bool) -> None:
        for partition in partitions.values():
            partition.settle()
        offsets = [
            TopicPartition(self._topic, number, partition.next_offset)
            for number, partition in partitions.items()
            if partition.next_offset is not None
        ]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=not wait)  # type: ignore[call-overload]  # True or False
        for partition in partitions.values():
            partition.next_offset = None

    def _leave(self) -> None:
        with suppress(KafkaException, RuntimeError):  # others begin a little earlier
            self._consumer.close()  # which revokes what is ours

    # ------------------------------------------------------------ what the group and the brokers say

    def _on_assign(self, _: Consumer, assigned: list[TopicPartition]) -> None:
        self._has_joined = True
        self._recover()
        for partition in assigned:
            self._had_partitions = True
            self._partitions[partition.partition] = _Partition()

    def _on_revoke(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        """Give partitions up: what the stream has not been given yet it does not get from us."""
        given_up = self._give_up(revoked)
        deadline = time.monotonic() + _HAND_OVER_SECONDS
        while any(partition.has_unsettled for partition in given_up.values()) and time.monotonic() < deadline:
            time.sleep(0.01)
        with suppress(KafkaException):  # whoever has them now begins a little earlier
            self._commit_of(given_up, wait=True)

    def _on_lost(self, _: Consumer, lost: list[TopicPartition]) -> None:
        """Forget partitions that another member has already."""
        self._give_up(lost)

    def _give_up(self, gone: list[TopicPartition]) -> dict[int, _Partition]:
        numbers = [partition.partition for partition in gone]
        given_up = {number: self._partitions.pop(number) for number in numbers if number in self._partitions}
        for partition in given_up.values():
            partition.is_ours = False
        return given_up

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """Try again what could not be committed, unless more is committed meanwhile."""
        for committed in offsets if error is not None else ():
            partition = self._partitions.get(committed.partition)
            if partition is not None and partition.next_offset is None:
                partition.next_offset = committed.offset

    def _judge(self, error: KafkaError) -> None:
        remedy = _HOPELESS.get(error.code())
        if remedy is not None and not self._had_partitions:
            self._refusal = f"{_one_line(error)} - {remedy}"
        else:
            self._note_error(error)

    def _note_error(self, error: KafkaError) -> None:
        """Say once what librdkafka has trouble with; it tries again by itself."""
        if error.code() == KafkaError._AUTHENTICATION and not self._has_joined:
            self._refusal = f"the brokers refuse the credentials: {_one_line(error)} - check KAFKA_SASL_..."
        elif self._trouble is None:
            self._trouble = _one_line(error)
            log.warning("kafka_does_not_answer", extra={"error": self._trouble})

    def _recover(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            log.info("kafka_answers_again")


def _refused_property(error: KafkaException) -> str:
    text = _one_line(error.args[0].str())
    found = re.search(r'property:? "([^"]+)"', text)
    return f"KAFKA_{found[1].upper().replace('.', '_')}: {text}" if found else f"KAFKA_...: {text}"


def _sent_ms(message: Any) -> int:  # noqa: ANN401  (confluent_kafka.Message)
    _, milliseconds = message.timestamp()
    return int(milliseconds) if milliseconds > 0 else time.time_ns() // 1_000_000


def _one_line(error: KafkaError | str) -> str:
    return " ".join((error if isinstance(error, str) else error.str()).split())
