"""The feed `sqs`: what a queue holds is on the stream before it is deleted, whatever happens in between."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest

from common.errors import UserError
from infra.templates import SERVICES, deployable
from producer.clock import Clock
from producer.feeds import sqs
from producer.feeds.sqs import Sqs
from producer.messages import MessageReader
from tests.chaos.faulty_proxy import Fault, FaultyProxy
from tests.feeding import feeding
from tests.functional.kinesis_stub import KinesisStub, RefusedError
from tests.integration import ministack
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
NAMES = count()


class Queue:
    """A queue in an AWS on loopback."""

    def __init__(self, url: str, *, fifo: bool = False) -> None:
        session = boto3.Session("embedded", "embedded", region_name="us-east-1")
        self.client = session.client("sqs", endpoint_url=url)
        name = f"quotes-{next(NAMES)}"
        fifo_attributes: Any = {"FifoQueue": "true", "ContentBasedDeduplication": "false"}
        self.url = self.client.create_queue(
            QueueName=f"{name}.fifo" if fifo else name, Attributes=fifo_attributes if fifo else {}
        )["QueueUrl"]
        self._fifo = fifo
        self._sent = 0

    def send(self, *bodies: str, group: str = "all") -> None:
        """Send messages, in order."""
        for body in bodies:
            self._sent += 1
            more: Any = {"MessageGroupId": group, "MessageDeduplicationId": str(self._sent)} if self._fifo else {}
            self.client.send_message(QueueUrl=self.url, MessageBody=body, **more)

    def receive(self) -> list[Any]:
        """Ask for what others may see."""
        return self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=0, AttributeNames=["All"]
        ).get("Messages", [])

    @property
    def count(self) -> int:
        """How many messages there are, visible or not."""
        attributes = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        hidden = int(attributes["ApproximateNumberOfMessagesNotVisible"])
        return int(attributes["ApproximateNumberOfMessages"]) + hidden


@pytest.fixture(scope="module")
def embedded_aws() -> Iterator[str]:
    """Give the URL of an embedded AWS that the module's tests share."""
    yield from _url_of([sys.executable, "-m", "infra.local.embedded_aws"])


@pytest.fixture(scope="module")
def other_aws() -> Iterator[str]:
    """Give the URL of an AWS whose FIFO queues keep their order when messages come again; moto's do not."""
    yield from _url_of(ministack.command())


def _url_of(command: list[str]) -> Iterator[str]:
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()  # it has nothing to save


@pytest.fixture
def queue(embedded_aws: str) -> Queue:
    """Make a queue of the usual kind."""
    return Queue(embedded_aws)


@pytest.fixture
def fifo(other_aws: str) -> Queue:
    """Make a FIFO queue."""
    return Queue(other_aws, fifo=True)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[KinesisStub]:
    """Run a stream to which this process's publishers and those that it starts publish."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with KinesisStub().running() as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", stub.url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "embedded")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "embedded")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield stub


def opened(queue: Queue, **reading: Any) -> Callable[[Clock], Sqs]:  # noqa: ANN401  (what the reader takes)
    """Have the feed of a queue opened."""
    reader = MessageReader(reading.get("field_map", {}), reading.get("only", ()))
    return lambda clock: Sqs(queue.url, reader=reader, clock=clock)


def tick(symbol: str, number: int) -> str:
    """Write a tick that has a number."""
    timestamp = f"2026-03-04T10:00:00.{number:06}Z"
    return f'{{"symbol": "{symbol}", "volume": {number}, "price": 7, "timestamp": "{timestamp}", "more": [1]}}'


def numbers(stub: KinesisStub) -> dict[str, list[int]]:
    """Give the ticks' numbers on the stream, by partition key."""
    return {key: [found["volume"] for found in ticks] for key, ticks in stub.accepted.items()}


def test_messages_of_all_shapes_become_records(stub: KinesisStub, queue: Queue) -> None:
    """One tick, several lines, an array, and what SNS sends: each tick is a record, byte by byte, under its symbol."""
    envelope = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:eu-central-1:1:ticks"}
    envelope |= {"Timestamp": "2026-03-04T10:00:00.123Z", "Message": f"[{tick('C', 6)}, {tick('a', 7)}]"}
    queue.send(
        tick("A", 1), f"{tick('A', 2)}\n{tick('B', 3)}\n", f"[{tick('B', 4)},\n {tick('A', 5)}]", json.dumps(envelope)
    )
    with feeding(opened(queue)):
        wait_for(lambda: stub.count == 7 and queue.count == 0, 30)
    assert numbers(stub).keys() == {"A", "B", "C"}
    assert {key: sorted(found) for key, found in numbers(stub).items()} == {"A": [1, 2, 5, 7], "B": [3, 4], "C": [6]}
    assert set(stub.payloads) >= {tick("A", 1).encode(), tick("B", 3).encode(), tick("a", 7).encode()}


def test_a_tick_without_timestamp_has_its_messages_time(stub: KinesisStub, queue: Queue) -> None:
    """It gets the time at which the message was sent, to the topic if it comes from one: the same at each delivery."""
    envelope = {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-central-1:1:ticks"}
    envelope |= {"Timestamp": "2026-03-04T10:00:00.123Z", "Message": '{"symbol": "SNS", "price": 2}'}
    queue.send('{"symbol": "A", "price": 1, "timestamp": null} ', json.dumps(envelope))
    sent = {message["Body"]: int(message["Attributes"]["SentTimestamp"]) for message in queue.receive()}
    moment = datetime.fromtimestamp(next(iter(sent.values())) / 1000, UTC)
    with feeding(opened(queue)):
        wait_for(lambda: stub.count == 2, 30)
    assert stub.accepted["A"][0]["timestamp"] == f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert stub.accepted["SNS"][0]["timestamp"] == "2026-03-04T10:00:00.123000Z"


def test_names_of_other_producers_are_understood(stub: KinesisStub, queue: Queue) -> None:
    """FIELD_MAP finds the symbol; the record stays as it is, but for a timestamp, which gets the name that is read."""
    queue.send('{"TICKER": "ko", "LAST": 62.5, "AT": "2026-03-04"}', '{"TICKER": "PEP", "LAST": 1, "AT": null}')
    names = {"TICKER": "symbol", "LAST": "price", "AT": "timestamp"}
    with feeding(opened(queue, field_map=names)):
        wait_for(lambda: stub.count == 2, 30)
    assert stub.accepted["KO"] == [{"TICKER": "ko", "LAST": 62.5, "AT": "2026-03-04"}]
    assert stub.accepted["PEP"][0]["AT"].startswith(f"{datetime.now(UTC):%Y-}")


def test_only_the_wanted_symbols_are_published(stub: KinesisStub, queue: Queue) -> None:
    """SYMBOLS says which; the others leave the queue, and are nowhere."""
    queue.send(tick("A", 1), tick("B", 2), f"[{tick('B', 3)}, {tick('A', 4)}]", f"[{tick('C', 5)}]")
    with feeding(opened(queue, only=("A",))):
        wait_for(lambda: queue.count == 0, 30)
    assert {key: sorted(found) for key, found in numbers(stub).items()} == {"A": [1, 4]}


@pytest.mark.parametrize(
    "body",
    [
        "hello",
        '{"symbol": "A"}',
        '{"symbol": "not one!", "price": 1}',
        '{"symbol": "A", "price": NaN}',
        "[" * 100_000,
        '{"a":' * 50_000,
        "x" * 1_000_000,
        '{"TopicArn": 7}',
    ],
    ids=lambda body: body[:20],
)
def test_what_is_no_tick_is_passed_on_as_it_is(stub: KinesisStub, queue: Queue, body: str) -> None:
    """It is the consumer's to judge: the record is the message's, under the message's id, and the queue goes on."""
    stub.reads_ticks = False
    queue.send(body, tick("A", 1))
    (message_id,) = [message["MessageId"] for message in queue.receive() if message["Body"] == body]
    with feeding(opened(queue)):
        wait_for(lambda: queue.count == 0, 30)
    assert sorted(stub.payloads) == sorted([body.encode(), tick("A", 1).encode()])
    assert {key for key, _ in stub.records} == {message_id, "A"}


def test_a_bad_line_costs_itself_only(stub: KinesisStub, queue: Queue) -> None:
    """Of a message of several ticks, those that are ticks are published under their symbols."""
    stub.reads_ticks = False
    queue.send(f"{tick('A', 1)}\nnonsense\n{tick('B', 2)}")
    with feeding(opened(queue)):
        wait_for(lambda: queue.count == 0, 30)
    by_key = dict(stub.records)
    assert {by_key.pop("A"), by_key.pop("B")} == {tick("A", 1).encode(), tick("B", 2).encode()}
    ((key, payload),) = by_key.items()
    assert (payload, key.endswith("/1")) == (b"nonsense", True)


def test_a_message_is_deleted_once_all_of_it_is_on_the_stream(stub: KinesisStub, queue: Queue) -> None:
    """While the stream refuses one of a message's ticks the message stays; others are deleted meanwhile."""
    stub.refused_keys.add("B")
    queue.send(f"{tick('A', 1)}\n{tick('B', 2)}", tick("C", 3))
    with feeding(opened(queue)):
        wait_for(lambda: queue.count == 1 and stub.count == 2, 30)
        time.sleep(0.5)
        assert queue.count == 1
        stub.refused_keys.clear()
        wait_for(lambda: queue.count == 0, 30)
    assert numbers(stub) == {"A": [1], "B": [2], "C": [3]}


def test_messages_stay_invisible_while_the_stream_takes_nothing(
    stub: KinesisStub, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that is, nobody else gets them, and they are published once."""
    monkeypatch.setattr(sqs, "VISIBILITY_SECONDS", 3)
    monkeypatch.setattr(sqs, "_EXTEND_SECONDS", 0.5)
    stub.open.clear()
    queue.send(*(tick("A", number) for number in range(25)))
    with feeding(opened(queue)) as running:
        wait_for(lambda: running.publisher.waiting == 25, 30)
        for _ in range(10):
            assert queue.receive() == []
            time.sleep(0.6)
        stub.open.set()
        wait_for(lambda: queue.count == 0, 30)
    assert sorted(numbers(stub)["A"]) == list(range(25))


def test_a_message_that_comes_again_while_it_is_held_is_not_doubled(
    stub: KinesisStub, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its time of invisibility has run out, its newest receipt deletes it, and its tick is published once."""
    monkeypatch.setattr(sqs, "VISIBILITY_SECONDS", 1)
    monkeypatch.setattr(sqs, "_EXTEND_SECONDS", 1000)
    stub.open.clear()
    queue.send(*(tick(f"S{number}", number) for number in range(20)))
    with feeding(opened(queue)) as running:
        wait_for(lambda: running.publisher.waiting == 20, 30)
        time.sleep(2.5)
        assert running.publisher.waiting == 20
        stub.open.set()
        wait_for(lambda: queue.count == 0, 30)
    assert stub.count == 20


def test_a_stop_leaves_to_others_what_is_not_published(stub: KinesisStub, queue: Queue) -> None:
    """After a failure others see the messages at once; none is lost, and none is deleted."""
    stub.refusals["PutRecords"] = RefusedError(400, "AccessDeniedException")
    queue.send(*(tick("A", number) for number in range(30)))
    with feeding(opened(queue)) as running:
        assert running.ended.wait(30)
        assert isinstance(running.failure, UserError)
    assert queue.count == 30
    assert len({message["MessageId"] for message in queue.receive()}) == 10


def test_a_stop_publishes_and_deletes_what_was_taken(stub: KinesisStub, queue: Queue) -> None:
    """What waits for the stream at a stop is published and deleted before the feed leaves; the rest stays visible."""
    stub.open.clear()
    queue.send(*(tick(f"S{number % 7}", number) for number in range(100)))
    with feeding(opened(queue)) as running:
        wait_for(lambda: running.publisher.waiting > 20, 30)
        stub.open.set()
        running.stop()
    assert running.failure is None
    assert stub.count + queue.count == 100
    published = {number for found in numbers(stub).values() for number in found}
    assert len(published) == stub.count


def test_refused_records_and_deletes_are_tried_again(
    stub: KinesisStub, fifo: Queue, other_aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of the records, and parts of the deletes, fail: all are there in order, the queue empty."""
    stub.entry_failures = 0.3
    with FaultyProxy(other_aws, timeout_seconds=1) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", proxy.url)
        proxy.inject(
            Fault("partial", 0.5, frozenset({"sqs"})),
            Fault("error", 0.1, frozenset({"sqs"})),
            Fault("reset_after", 0.1, frozenset({"sqs"}), frozenset({"DeleteMessageBatch"})),
        )
        for number in range(30):
            fifo.send(*(tick(f"S{group}", number) for group in range(3)), group=f"{number % 3}")
        with feeding(opened(fifo)):
            wait_for(lambda: fifo.count == 0, 200)
        assert proxy.counts()["sqs", "partial"] > 0
    assert numbers(stub).keys() == {"S0", "S1", "S2"}
    for found in numbers(stub).values():
        assert set(found) == set(range(30))
        for residue in range(3):  # a group's; groups have no order among each other
            of_group = [number for number in dict.fromkeys(found) if number % 3 == residue]
            assert of_group == sorted(of_group)


def _produce(queue_url: str, *, visibility_seconds: int = 30) -> subprocess.Popen[str]:
    script = f"import sys, producer.feeds.sqs as feed; feed.VISIBILITY_SECONDS = {visibility_seconds}; "
    script += "feed._EXTEND_SECONDS = feed.VISIBILITY_SECONDS / 3; "
    script += "from producer.__main__ import main; sys.exit(main(['--feed', 'sqs']))"
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"QUEUE_URL": queue_url},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_producer_loses_nothing(stub: KinesisStub, fifo: Queue) -> None:
    """Kill -9 in the middle, then another: every tick is on the stream at least once, its symbol's in order."""
    stub.latency = 0.05
    for number in range(40):
        fifo.send(*(tick(f"S{group}", number) for group in range(4)), group=f"{number % 4}")
    first = _produce(fifo.url, visibility_seconds=2)
    wait_for(lambda: stub.count > 30, 30)
    first.kill()
    first.communicate()
    assert fifo.count > 0
    second = _produce(fifo.url, visibility_seconds=2)
    wait_for(lambda: fifo.count == 0, 60, pause_seconds=0.1)
    second.terminate()
    stdout, stderr = second.communicate(timeout=30)
    assert second.returncode == 0, stderr
    assert json.loads(stdout)["published"] > 0
    for found in numbers(stub).values():
        assert set(found) == set(range(40))
        for residue in range(4):
            of_group = [number for number in dict.fromkeys(found) if number % 4 == residue]
            assert of_group == sorted(of_group)


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("", 2, "tickertape: FEED=sqs needs a queue: set QUEUE_URL"),
        ("quotes", 2, "tickertape: QUEUE_URL: 'quotes' is no queue's URL: https://sqs."),
        ("https://sqs.eu-central-1.amazonaws.com", 2, "tickertape: QUEUE_URL: "),
        ("{aws}/123456789012/unknown", 1, "tickertape: queue {aws}/123456789012/unknown (QUEUE_URL): AWS refused"),
    ],
)
def test_a_wrong_queue_is_one_line(stub: KinesisStub, embedded_aws: str, url: str, code: int, message: str) -> None:
    """It says what is wrong, and the command leaves."""
    process = _produce(url.format(aws=embedded_aws))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    (line,) = [line for line in stderr.splitlines() if not line.startswith("{")]
    assert line.startswith(message.format(aws=embedded_aws))
    assert stub.count == 0


@pytest.mark.parametrize("operation", ["GetQueueAttributes", "ReceiveMessage", "DeleteMessageBatch"])
def test_a_missing_right_is_one_line(
    stub: KinesisStub, queue: Queue, embedded_aws: str, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Whatever is denied, at the start or later, ends the feed with its name."""
    queue.send(tick("A", 1))
    with FaultyProxy(embedded_aws) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", proxy.url)
        proxy.inject(Fault("deny", services=frozenset({"sqs"}), operations=frozenset({operation})))
        with feeding(opened(queue)) as running:
            assert running.ended.wait(30)
    assert f"AWS refused {operation} (AccessDenied" in str(running.failure)
    assert "grant this action" in str(running.failure)


def test_the_role_has_just_the_calls_that_are_made(
    stub: KinesisStub, queue: Queue, embedded_aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes over the wire, from the first look to the last delete, is just what the template grants."""
    monkeypatch.setattr(sqs, "_EXTEND_SECONDS", 0.5)
    arn = f"arn:aws:sqs:us-east-1:123456789012:{queue.url.rpartition('/')[2]}"
    (policy,) = deployable(SERVICES, {"Feed": "sqs", "QueueArn": arn}).of_type("IAM::Policy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    stub.open.clear()
    queue.send(tick("A", 1))
    with FaultyProxy(embedded_aws, record=True) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", proxy.url)

        def called() -> set[tuple[str, str]]:
            return {(call.action, call.resource) for call in proxy.calls()}

        with feeding(opened(queue)):
            wait_for(lambda: ("sqs:ChangeMessageVisibility", arn) in called(), 30, pause_seconds=0.3)
            stub.open.set()
            wait_for(lambda: queue.count == 0, 30)
        assert called() == {(action, statement["Resource"]) for action in statement["Action"]}


def test_the_queue_says_its_region() -> None:
    """Requests are signed for the region in the URL, wherever the stream is."""
    for url, region in {
        "https://sqs.eu-central-1.amazonaws.com/123456789012/quotes": "eu-central-1",
        "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/quotes": "cn-north-1",
        "https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/quotes": "us-gov-west-1",
        "https://vpce-1-2.sqs.ap-southeast-2.vpce.amazonaws.com/123456789012/quotes": "ap-southeast-2",
        "https://eu-west-1.queue.amazonaws.com/123456789012/quotes": "eu-west-1",
    }.items():
        made = sqs.client_for(url)
        assert made.meta.region_name == region
        assert url.startswith(made.meta.endpoint_url)
