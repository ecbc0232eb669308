"""A queue and a topic that are being filled, the producers that read them, and whether the stream has all of it."""

import json
import logging
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Protocol, Self

from confluent_kafka import KafkaException

from common.errors import UserError
from tests.integration.pipeline import Pipeline
from tests.kafka.broker import Broker, running
from tests.oracle import Record
from tests.waiting import wait_for

log = logging.getLogger(__name__)

_TOPIC = _GROUP = "chaos"
_PARTITIONS = 2
_SYMBOLS = 6
_PAUSE_SECONDS = 0.5
_STOP_SECONDS = 60
_TOLD_SECONDS = 240
_QUICKLY = {"KAFKA_SESSION_TIMEOUT_MS": "3000", "KAFKA_HEARTBEAT_INTERVAL_MS": "500"}

Tick = dict[str, Any]


class Source(Protocol):
    """Where ticks are before a producer takes them."""

    name: str
    keeps_order: bool
    settings: Mapping[str, str]
    """What a producer has to be told."""

    def send(self, ticks: Iterable[Tick]) -> None:
        """Put ticks into it."""

    def is_done(self) -> bool:
        """Tell whether all that it had is said to be on the stream."""


class Topic:
    """A Kafka topic."""

    name, keeps_order = "kafka", True

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        broker.create_topic(_TOPIC, _PARTITIONS)
        names = {"KAFKA_BROKERS": broker.address, "KAFKA_TOPIC": _TOPIC, "KAFKA_GROUP": _GROUP}
        self.settings: Mapping[str, str] = {"FEED": "kafka", **names, **_QUICKLY}
        self._sent = [0] * _PARTITIONS

    def send(self, ticks: Iterable[Tick]) -> None:
        """Put each symbol's into one partition."""
        placed = [(tick, int(tick["symbol"][-1]) % _PARTITIONS) for tick in ticks]
        self.broker.send(_TOPIC, ({"value": json.dumps(tick), "partition": number} for tick, number in placed))
        for _, number in placed:
            self._sent[number] += 1

    def is_done(self) -> bool:
        """Compare the group's offsets with what was sent, of which some may be there twice."""
        return all(
            done >= sent
            for done, sent in zip(self.broker.committed(_TOPIC, _GROUP, _PARTITIONS), self._sent, strict=True)
        )


class Queue:
    """An SQS queue of the usual kind, which promises no order."""

    name, keeps_order = "sqs", False

    def __init__(self, pipeline: Pipeline) -> None:
        self._sqs = pipeline.client("sqs")
        self._url = self._sqs.create_queue(QueueName="chaos")["QueueUrl"]
        names = {"QUEUE_URL": self._url, "AWS_ENDPOINT_URL_SQS": pipeline.endpoint}
        self.settings: Mapping[str, str] = {"FEED": "sqs", **names}

    def send(self, ticks: Iterable[Tick]) -> None:
        """Put several into a message."""
        self._sqs.send_message(QueueUrl=self._url, MessageBody="\n".join(map(json.dumps, ticks)))

    def is_done(self) -> bool:
        """Ask how many messages are left."""
        asked = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(asked["Attributes"]["ApproximateNumberOfMessages"]) == 0


class Supply:
    """One source: ticks go in at a slow pace, and producers take them, from entering the context until leaving it."""

    def __init__(self, source: Source, folder: Path, environment: Mapping[str, str]) -> None:
        self.source = source
        self._folder = folder
        self._environment = dict(environment) | dict(source.settings)
        self._producers: list[subprocess.Popen[bytes]] = []
        self._quiet = threading.Event()
        self._filling = threading.Thread(target=self._fill, name=f"fill-{source.name}", daemon=True)
        self._sent: defaultdict[str, list[int]] = defaultdict(list)

    def __enter__(self) -> Self:
        """Begin."""
        self._filling.start()
        self.start_producer()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._quiet.set()
        for producer in self.producers():
            producer.kill()
            producer.wait()

    def start_producer(self) -> None:
        """Start one more."""
        with (self._folder / f"producer-{self.source.name}-{len(self._producers)}.log").open("wb") as log:
            command = [sys.executable, "-m", "tickertape", "produce"]
            producer = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        self._producers.append(producer)

    def producers(self) -> list[subprocess.Popen[bytes]]:
        """Those that run."""
        return [producer for producer in self._producers if producer.poll() is None]

    def settle(self) -> None:
        """Send no more, wait until the source is told of everything, and end the producers."""
        self._quiet.set()
        self._filling.join()
        wait_for(self.source.is_done, _TOLD_SECONDS, pause_seconds=1)
        for producer in self.producers():
            producer.terminate()
            assert producer.wait(_STOP_SECONDS) == 0

    def differences(self, stream: Iterable[Record]) -> list[str]:
        """Say what was sent and is not on the stream, or in another order than it was sent."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for record in stream:
            with suppress(ValueError, RecursionError):  # there is poison in it, too
                tick = json.loads(record.payload)
                if isinstance(tick, dict) and tick.get("source") == self.source.name:
                    found[tick["symbol"]].append(tick["volume"])
        told = []
        for symbol, sent in self._sent.items():
            first = list(dict.fromkeys(found[symbol]))
            if set(first) != set(sent):
                told.append(f"{self.source.name}: {symbol} lacks {sorted(set(sent) - set(first))[:5]} on the stream")
            elif self.source.keeps_order and first != sorted(first):
                told.append(f"{self.source.name}: {symbol} is not in order on the stream")
        return told

    def _fill(self) -> None:
        for number in count(1):
            if self._quiet.wait(_PAUSE_SECONDS):
                return
            now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
            ticks: list[Tick] = [
                {"symbol": f"{self.source.name.upper()}{symbol}", "timestamp": now, "price": 100 + number % 7}
                | {"volume": number, "source": self.source.name}
                for symbol in range(_SYMBOLS)
            ]
            if self._send(ticks):
                for tick in ticks:
                    self._sent[tick["symbol"]].append(number)

    def _send(self, ticks: list[Tick]) -> bool:
        """Try again while the source is away: what it has twice then is twice on the stream."""
        while not self._quiet.is_set():
            try:
                self.source.send(ticks)
            except (AssertionError, KafkaException):
                self._quiet.wait(1)
            else:
                return True
        return False


class Supplies(ExitStack):
    """A queue and, where a broker's jars can be had, a topic, each with its producer."""

    def __init__(self, folder: Path, pipeline: Pipeline) -> None:
        super().__init__()
        self._folder, self._pipeline = folder, pipeline
        self.broker: Broker | None = None
        self.all: list[Supply] = []

    def __enter__(self) -> Self:
        """Start them."""
        super().__enter__()
        (self._folder / "kafka").mkdir()
        sources: list[Source] = [Queue(self._pipeline)]
        try:
            self.broker = self.enter_context(running(self._folder / "kafka"))
            sources.append(Topic(self.broker))
        except UserError as error:
            log.warning("without Kafka: %s", error)
        environment = self._pipeline.environment()
        self.all = [self.enter_context(Supply(source, self._folder, environment)) for source in sources]
        return self
