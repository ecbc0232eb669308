"""The feed `kafka`: what a topic holds is on the stream before its offset is committed, whatever happens in between."""

import base64
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from common.errors import SettingsError, UserError
from producer.clock import Clock
from producer.feeds import kafka
from producer.feeds.kafka import Kafka, properties_of
from producer.messages import MessageReader
from producer.publisher import RECORD_BYTES
from tests.feeding import feeding
from tests.functional.kinesis_stub import KinesisStub
from tests.kafka.broker import PASSWORD, USER, Broker, running
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
NAMES = count()
SESSION_MS = 3000
QUICK = {"KAFKA_SESSION_TIMEOUT_MS": str(SESSION_MS), "KAFKA_HEARTBEAT_INTERVAL_MS": "300"}
QUICK |= {"KAFKA_RECONNECT_BACKOFF_MAX_MS": "500", "KAFKA_MAX_POLL_INTERVAL_MS": str(SESSION_MS)}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Run a broker that the module's tests share."""
    try:
        with running(tmp_path_factory.mktemp("kafka")) as broker:
            yield broker
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def topic(broker: Broker) -> str:
    """Make a topic of one partition."""
    name = f"quotes-{next(NAMES)}"
    broker.create_topic(name, max_message_bytes="4000000")
    return name


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[KinesisStub]:
    """Run a stream to which this process's publishers and those that it starts publish."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "KAFKA_"))]:
        monkeypatch.delenv(name)
    with KinesisStub().running() as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", stub.url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield stub


def opened(broker: Broker, topic: str, **reading: Any) -> Callable[[Clock], Kafka]:  # noqa: ANN401  (what the reader takes)
    """Have the feed of a topic opened, for a group of the topic's name."""
    reader = MessageReader(reading.get("field_map", {}), reading.get("only", ()))
    properties = properties_of(broker.address, topic, QUICK)
    return lambda clock: Kafka(properties, topic, reader=reader, clock=clock)


def tick(symbol: str, number: int) -> dict[str, Any]:
    """Make a message of a tick that has a number."""
    timestamp = f"2026-03-04T10:00:00.{number:06}Z"
    value = f'{{"symbol": "{symbol}", "volume": {number}, "price": 7, "timestamp": "{timestamp}", "more": [1]}}'
    return {"value": value, "key": symbol}


def numbers(stub: KinesisStub) -> dict[str, list[int]]:
    """Give the ticks' numbers on the stream, by partition key."""
    return {key: [found["volume"] for found in ticks] for key, ticks in list(stub.accepted.items())}


def is_whole(stub: KinesisStub, symbols: int, ticks: int) -> bool:
    """Tell whether each of so many symbols has all of its ticks."""
    found = numbers(stub)
    return len(found) == symbols and all(set(of_symbol) == set(range(ticks)) for of_symbol in found.values())


def assert_in_order(stub: KinesisStub) -> None:
    """Each symbol's ticks came in order; some of them may have come again."""
    for found in numbers(stub).values():
        first = list(dict.fromkeys(found))
        assert first == sorted(first)


def test_messages_of_all_shapes_become_records(stub: KinesisStub, broker: Broker, topic: str) -> None:
    """One tick, several lines, an array: each tick is a record, byte by byte, under its symbol, in order."""
    one, two, three, four = (tick(symbol, number) for number, symbol in enumerate("ABAB"))
    array = f"[{tick('b', 4)['value']}, {tick('A', 5)['value']}]"
    messages: list[Any] = [one, {"value": f"{two['value']}\n{three['value']}\n"}, {"value": None, "key": "A"}, four]
    broker.send(topic, [*messages, {"value": array}])
    with feeding(opened(broker, topic)):
        wait_for(lambda: broker.committed(topic, topic) == [5], 30, pause_seconds=0.3)
    assert numbers(stub) == {"A": [0, 2, 5], "B": [1, 3, 4]}
    assert set(stub.payloads) >= {one["value"].encode(), three["value"].encode(), tick("b", 4)["value"].encode()}


def test_a_tick_has_its_records_key_and_time_where_it_has_none(stub: KinesisStub, broker: Broker, topic: str) -> None:
    """The key is the symbol of a tick that names none, the record's time that of a tick without: alike every time."""
    sent_ms = 1_772_000_000_123
    more = {"key": "ko", "timestamp": sent_ms}
    broker.send(topic, [{"value": value} | more for value in ('{"price": 1}', ' {"price":2,"symbol":"PEP"}\n')])
    names = {"last": "price", "at": "timestamp"}
    moment = f"{datetime.fromtimestamp(sent_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    with feeding(opened(broker, topic)):
        wait_for(lambda: stub.count == 2, 30)
    assert stub.accepted == {
        "KO": [{"symbol": "ko", "price": 1, "timestamp": moment}],
        "PEP": [{"price": 2, "symbol": "PEP", "timestamp": moment}],
    }
    broker.send(topic, [{"value": '{"last": 3, "at": null}'} | more])
    with feeding(opened(broker, topic, field_map=names)):
        wait_for(lambda: stub.count == 3, 30)
    assert stub.accepted["KO"][1] == {"symbol": "ko", "last": 3, "at": moment}


def test_what_is_no_tick_is_passed_on_as_it_is(stub: KinesisStub, broker: Broker, topic: str) -> None:
    """It is the consumer's to judge, under its place in the topic; what no record can hold is cut."""
    stub.reads_ticks = False
    values = ["hello", '{"symbol": "A"}', '{"symbol": 7, "price": 1}', "[" * 100_000, '{"a":' * 50_000]
    values += ["x" * 2_000_000, b"\xff\xfe"]  # type: ignore[list-item]  # bytes are taken, too
    broker.send(topic, [{"value": value, "key": "not one!"} for value in values] + [tick("A", 1)])
    with feeding(opened(broker, topic)):
        wait_for(lambda: broker.committed(topic, topic) == [8], 30, pause_seconds=0.3)
    published = dict(stub.records)
    assert published.pop("A") == str(tick("A", 1)["value"]).encode()
    large = published.pop(f"{topic}-0-5")
    assert len(large) + len(f"{topic}-0-5") == RECORD_BYTES
    rest = {f"{topic}-0-{place}": value for place, value in enumerate(values) if place != 5}
    assert published == {key: value if isinstance(value, bytes) else value.encode() for key, value in rest.items()}


def test_only_what_is_on_the_stream_without_a_gap_is_committed(stub: KinesisStub, broker: Broker, topic: str) -> None:
    """While the stream refuses one tick, later ones are published, and the offset stays before it."""
    stub.refused_keys.add("B")
    broker.send(topic, [tick("A", 0), tick("A", 1), tick("B", 0), *(tick("A", number) for number in range(2, 10))])
    with feeding(opened(broker, topic)):
        wait_for(lambda: stub.count == 10 and broker.committed(topic, topic) == [2], 30, pause_seconds=0.3)
        time.sleep(kafka._COMMIT_SECONDS + 0.5)
        assert broker.committed(topic, topic) == [2]
        stub.refused_keys.clear()
        wait_for(lambda: broker.committed(topic, topic) == [11], 30, pause_seconds=0.3)
    assert numbers(stub) == {"A": list(range(10)), "B": [0]}


def test_a_stop_commits_what_was_published(stub: KinesisStub, broker: Broker, topic: str) -> None:
    """What waits for the stream at a stop is published and committed before the feed leaves: the next begins there."""
    broker.send(topic, (tick(f"S{number % 7}", number // 7) for number in range(700)))
    stub.latency = 0.05
    with feeding(opened(broker, topic)):
        wait_for(lambda: stub.count > 50, 30)
    assert broker.committed(topic, topic) == [stub.count]
    with feeding(opened(broker, topic)):
        wait_for(lambda: stub.count == 700, 30)
    assert numbers(stub) == {f"S{symbol}": list(range(100)) for symbol in range(7)}


def test_polling_goes_on_while_the_stream_takes_nothing(
    stub: KinesisStub, broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic is paused, not left: nothing is read again, however long it takes, and little is held meanwhile."""
    monkeypatch.setattr("producer.lanes.QUEUE_TICKS", 200)
    monkeypatch.setattr(kafka, "_BATCH", 50)
    stub.open.clear()
    broker.send(topic, (tick(f"S{number % 50}", number // 50) for number in range(2000)))
    with feeding(opened(broker, topic)) as running:
        wait_for(lambda: running.publisher.waiting == 200, 30)
        time.sleep(2 * SESSION_MS / 1000)
        assert running.publisher.waiting == 200
        stub.open.set()
        wait_for(lambda: broker.committed(topic, topic) == [2000], 60, pause_seconds=0.3)
    assert numbers(stub) == {f"S{symbol}": list(range(40)) for symbol in range(50)}


def test_members_of_a_group_share_the_partitions_and_hand_them_over(stub: KinesisStub, broker: Broker) -> None:
    """A second joins in mid-flight, then the first leaves: every tick is there, each symbol's in order."""
    topic = f"quotes-{next(NAMES)}"
    broker.create_topic(topic, partitions=4)
    stub.latency, stub.entry_failures = 0.05, 0.3

    def send(start: int, stop: int) -> None:
        ticks = ((symbol, number) for number in range(start, stop) for symbol in range(20))
        broker.send(topic, (tick(f"S{symbol}", number) | {"partition": symbol % 4} for symbol, number in ticks))

    with feeding(opened(broker, topic)) as first:
        send(0, 30)
        wait_for(lambda: stub.count > 100, 30)
        with feeding(opened(broker, topic)) as second:
            wait_for(lambda: second.publisher.published > 0 or is_whole(stub, 20, 30), 30)
            send(30, 60)
            wait_for(lambda: second.publisher.published > 50, 30)
            first.stop()
            send(60, 70)
            wait_for(lambda: is_whole(stub, 20, 70), 60)
            wait_for(lambda: broker.committed(topic, topic, 4) == [350] * 4, 30, pause_seconds=0.3)
    assert first.failure is second.failure is None
    assert_in_order(stub)


def produce(topic: str, brokers: str, **settings: str) -> subprocess.Popen[str]:
    """Start the command."""
    names = {"FEED": "kafka", "KAFKA_BROKERS": brokers, "KAFKA_TOPIC": topic, "KAFKA_GROUP": topic}
    return subprocess.Popen(
        [sys.executable, "-m", "producer"],
        env=os.environ | QUICK | names | settings,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_producer_loses_nothing(stub: KinesisStub, broker: Broker, topic: str) -> None:
    """Kill -9 in the middle, then another: every tick is on the stream at least once, its symbol's in order."""
    stub.latency = 0.05
    broker.send(topic, (tick(f"S{number % 20}", number // 20) for number in range(2000)))
    first = produce(topic, broker.address)
    wait_for(lambda: stub.count > 200, 30)
    first.kill()
    first.communicate()
    assert not is_whole(stub, 20, 100)
    second = produce(topic, broker.address)
    wait_for(lambda: is_whole(stub, 20, 100), 60, pause_seconds=0.1)
    second.terminate()
    _, stderr = second.communicate(timeout=30)
    assert second.returncode == 0, stderr
    assert_in_order(stub)
    assert broker.committed(topic, topic) == [2000]


def test_a_producer_that_slept_has_lost_its_partitions(stub: KinesisStub, broker: Broker, topic: str) -> None:
    """Another has them when it wakes up: what it still had is doubled at most, and it commits nothing of theirs."""
    stub.latency = 0.05
    broker.send(topic, (tick(f"S{number % 20}", number // 20) for number in range(1000)))
    sleeper = produce(topic, broker.address)
    wait_for(lambda: stub.count > 100, 30)
    sleeper.send_signal(signal.SIGSTOP)
    with feeding(opened(broker, topic)) as other:
        wait_for(lambda: other.publisher.published > 50, 60)
        sleeper.send_signal(signal.SIGCONT)
        broker.send(topic, (tick(f"S{number % 20}", number // 20) for number in range(1000, 1400)))
        wait_for(lambda: is_whole(stub, 20, 70), 60)
        sleeper.terminate()
        _, stderr = sleeper.communicate(timeout=30)
        assert sleeper.returncode == 0, stderr
        wait_for(lambda: broker.committed(topic, topic) == [1400], 30, pause_seconds=0.3)
    assert_in_order(stub)


def test_a_broker_that_dies_is_waited_for(
    stub: KinesisStub, broker: Broker, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and once that it is back; nothing is lost in between."""
    caplog.set_level(logging.INFO)
    broker.send(topic, (tick("A", number) for number in range(50)))
    with feeding(opened(broker, topic)):
        wait_for(lambda: stub.count == 50, 30)
        broker.kill()
        time.sleep(3)
        broker.start()
        broker.send(topic, (tick("A", number) for number in range(50, 100)))
        wait_for(lambda: is_whole(stub, 1, 100), 60)
        wait_for(lambda: broker.committed(topic, topic) == [100], 30, pause_seconds=0.3)
    assert_in_order(stub)
    events = [record.message for record in caplog.records if record.message.startswith("kafka_")]
    assert events == ["kafka_does_not_answer", "kafka_answers_again"]


SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": USER}


def test_credentials_are_used_and_never_told(stub: KinesisStub, broker: Broker, topic: str) -> None:
    """Whatever librdkafka is asked to log, each line is an event as JSON, and none has the password."""
    broker.send(topic, [tick("A", 1)])
    debug = {"KAFKA_DEBUG": "security,broker,protocol,conf", "KAFKA_LOG_LEVEL": "7"}
    process = produce(topic, broker.sasl_address, **SASL, **debug, KAFKA_SASL_PASSWORD=PASSWORD)
    wait_for(lambda: stub.count == 1, 30)
    process.terminate()
    _, stderr = process.communicate(timeout=30)
    events = [json.loads(line) for line in stderr.splitlines()]
    assert len([event for event in events if event["logger"] == "librdkafka"]) > 20
    assert PASSWORD not in stderr
    assert base64.b64encode(PASSWORD.encode()).decode() not in stderr


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"KAFKA_TOPIC": ""}, 2, "FEED=kafka needs brokers and a topic: set KAFKA_BROKERS and KAFKA_TOPIC"),
        ({"KAFKA_HOME": "/opt"}, 2, 'KAFKA_HOME: No such configuration property: "home"'),
        ({"KAFKA_ENABLE_AUTO_COMMIT": "true"}, 2, "KAFKA_ENABLE_AUTO_COMMIT: enable.auto.commit is set by tickertape"),
        ({"KAFKA_SESSION_TIMEOUT_MS": "soon"}, 2, "KAFKA_SESSION_TIMEOUT_MS: "),
        ({"KAFKA_TOPIC": "unknown"}, 1, "topic unknown at {broker} (KAFKA_TOPIC, KAFKA_BROKERS): "),
        ({"KAFKA_BROKERS": "127.0.0.1:9"}, 1, "topic {topic} at 127.0.0.1:9 (KAFKA_TOPIC, KAFKA_BROKERS): "),
        ({**SASL, "KAFKA_BROKERS": "{sasl}", "KAFKA_SASL_PASSWORD": "secret7"}, 1, "topic {topic} at {sasl} (KAFKA_"),
    ],
)
def test_what_cannot_be_is_one_line(
    stub: KinesisStub, broker: Broker, topic: str, settings: dict[str, str], code: int, message: str
) -> None:
    """Wrong settings, no topic, no broker, no rights: the command leaves, and says why without a secret."""
    known = {"broker": broker.address, "sasl": broker.sasl_address, "topic": topic}
    told = {name: value.format(**known) for name, value in settings.items()}
    script = "import sys, producer.feeds.kafka as feed; feed._START_SECONDS = 3; "
    script += "from producer.__main__ import main; sys.exit(main(['--feed', 'kafka']))"
    names = {"KAFKA_BROKERS": broker.address, "KAFKA_TOPIC": topic, "KAFKA_GROUP": topic}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | names | told,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (line,) = [line for line in run.stderr.splitlines() if not line.startswith("{")]
    assert (run.returncode, line[:12]) == (code, "tickertape: ")
    assert line.startswith(f"tickertape: {message.format(**known)}")
    assert "secret7" not in run.stderr
    assert stub.count == 0


def test_variables_are_properties() -> None:
    """Each KAFKA_... variable but our own three is a property of librdkafka, and wins over our default."""
    environment = {"KAFKA_TOPIC": "quotes", "KAFKA_FETCH_MIN_BYTES": "7", "KAFKA_LOG_LEVEL": "6", "KAFKAESQUE": "1"}
    properties = properties_of("a:9092", "group", environment | {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"})
    assert properties["fetch.min.bytes"] == "7"
    assert properties["log_level"] == "6"
    assert properties["sasl.mechanisms"] == "SCRAM-SHA-512"
    assert (properties["bootstrap.servers"], properties["group.id"]) == ("a:9092", "group")
    assert not {"topic", "esque", "sasl.mechanism"} & properties.keys()
    with pytest.raises(SettingsError, match=r"KAFKA_GROUP_ID: group\.id is set by tickertape"):
        properties_of("a:9092", "group", {"KAFKA_GROUP_ID": "other"})


def test_msk_is_logged_in_to_with_the_role_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is a signed request for the brokers' region, of the credentials that are found; it ends in time."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    brokers = "b-1.quotes.abc123.c2.kafka.eu-central-1.amazonaws.com:9098"
    properties = properties_of(brokers, "group", {"KAFKA_SASL_MECHANISM": "AWS_MSK_IAM"})
    assert (properties["sasl.mechanisms"], properties["security.protocol"]) == ("OAUTHBEARER", "SASL_SSL")
    token, expires = properties["oauth_cb"]("")
    url = base64.urlsafe_b64decode(token + "==").decode()
    assert url.startswith("https://kafka.eu-central-1.amazonaws.com/?Action=kafka-cluster%3AConnect")
    assert "AKIDEXAMPLE" in url
    assert 60 < expires - time.time() <= 900
