"""The publisher: everything arrives, in order, within the limits, whatever the stream refuses."""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from common.aws import client
from common.errors import UserError
from common.tick import PRICE_UNITS, Tick
from producer.publisher import LANE_TICKS, QUEUE_TICKS, Publisher
from tests.functional.kinesis_stub import KinesisStub, RefusedError


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in (("REGION", "eu-central-1"), ("DEFAULT_REGION", "eu-central-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")


@pytest.fixture
def stub_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., KinesisStub]]:
    """Start a stub with these failures, and steer new clients to it."""
    running = []

    def start(**failures: float) -> KinesisStub:
        context = KinesisStub(**failures).running()
        stub = context.__enter__()
        running.append(context)
        monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", stub.url)
        return stub

    yield start
    for context in running:
        context.__exit__(None, None, None)


def ticks_of(count: int, symbols: int, seed: int = 1) -> list[Tick]:
    """Make ticks of symbols in a random order, of very unequal shares, whose volume counts each symbol's ticks."""
    chance = random.Random(seed)
    numbers: defaultdict[str, int] = defaultdict(int)
    ticks = []
    for _ in range(count):
        symbol = f"S{int(symbols * chance.random() ** 2)}"
        numbers[symbol] += 1
        ticks.append(Tick(symbol, "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=numbers[symbol]))
    return ticks


def publish(ticks: list[Tick]) -> Publisher:
    """Publish the ticks and wait for the end."""
    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    publisher.start()
    for tick in ticks:
        publisher.put(tick)
    publisher.finish()
    return publisher


def volumes(ticks: list[Tick]) -> dict[str, list[int | None]]:
    """List each symbol's volumes in order."""
    by_symbol: defaultdict[str, list[int | None]] = defaultdict(list)
    for tick in ticks:
        by_symbol[tick.symbol].append(tick.volume)
    return by_symbol


def accepted_volumes(stub: KinesisStub) -> dict[str, list[int | None]]:
    """List each symbol's volumes as the stub took them."""
    return {key: [tick["volume"] for tick in ticks] for key, ticks in stub.accepted.items()}


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it is so, at most ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@mock_aws
def test_ticks_arrive_as_they_were_put() -> None:
    """Each tick becomes one record under its symbol, in order, and each shard's last sequence number is remembered."""
    kinesis = boto3.client("kinesis")
    kinesis.create_stream(StreamName="ticks", ShardCount=3)
    ticks = ticks_of(1200, symbols=40)

    publisher = publish(ticks)

    arrived: defaultdict[str, list[Any]] = defaultdict(list)
    last: dict[str, str] = {}
    for shard in kinesis.list_shards(StreamName="ticks")["Shards"]:
        start = kinesis.get_shard_iterator(
            StreamName="ticks", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        for record in kinesis.get_records(ShardIterator=start["ShardIterator"])["Records"]:
            tick = json.loads(record["Data"])
            assert tick["symbol"] == record["PartitionKey"]
            arrived[record["PartitionKey"]].append(tick["volume"])
            last[shard["ShardId"]] = record["SequenceNumber"]
    assert arrived == volumes(ticks)
    assert publisher.published == 1200
    assert publisher.waiting == 0
    assert publisher.last_sequence_numbers == last


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_reordered_when_a_third_fails(stub_with: Callable[..., KinesisStub], seed: int) -> None:
    """With 30 % of the records and 10 % of the requests refused, all arrive once, each symbol's in order."""
    stub = stub_with(entry_failures=0.3, request_failures=0.1)
    ticks = ticks_of(3000, symbols=700, seed=seed)

    publisher = publish(ticks)

    assert accepted_volumes(stub) == volumes(ticks)
    assert publisher.published == 3000
    assert publisher.last_sequence_numbers == stub.last_sequence_numbers
    assert max(records for records, _ in stub.requests) <= 500


def test_full_batches_go_out(stub_with: Callable[..., KinesisStub]) -> None:
    """With ticks of many symbols waiting, requests carry 500 records, and the largest sequence number counts."""
    stub = stub_with()
    stub.open.clear()
    threading.Timer(0.5, stub.open.set).start()
    publisher = publish([Tick(f"S{number}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS) for number in range(1700)])
    assert sorted(records for records, _ in stub.requests)[-2:] == [500, 500]
    assert len(stub.requests) <= 5
    assert publisher.last_sequence_numbers == stub.last_sequence_numbers


def test_requests_stay_below_ten_mebibytes(stub_with: Callable[..., KinesisStub]) -> None:
    """Large records are spread over as many requests as their bytes need."""
    stub = stub_with()
    publish(
        [Tick(f"S{number}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, source="x" * 900_000) for number in range(30)]
    )
    assert stub.count == 30
    assert max(size for _, size in stub.requests) <= 10 * 1024 * 1024
    assert len(stub.requests) >= 3


def test_a_record_above_one_mebibyte_is_refused(stub_with: Callable[..., KinesisStub]) -> None:
    """What Kinesis could never take is refused when it is put."""
    stub_with()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    with pytest.raises(UserError, match=r"the tick of KO at 2024.* more than Kinesis takes"):
        publisher.put(Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, source="x" * 1024 * 1024))


def test_ticks_wait_a_moment_for_others(stub_with: Callable[..., KinesisStub]) -> None:
    """A lone tick goes out by itself soon, together with those that came within the linger."""
    stub = stub_with()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    publisher.start()
    for symbol in ("A", "B", "C"):
        publisher.put(Tick(symbol, "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
    wait_for(lambda: stub.count == 3)
    publisher.finish()
    assert [records for records, _ in stub.requests] == [3]


def test_one_symbol_has_one_record_in_a_request(stub_with: Callable[..., KinesisStub]) -> None:
    """A symbol's ticks go out one after another, and do not linger once they have waited for a request."""
    stub = stub_with()
    started = time.monotonic()
    publish([Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=number) for number in range(100)])
    assert [records for records, _ in stub.requests] == [1] * 100
    assert accepted_volumes(stub) == {"KO": list(range(100))}
    assert time.monotonic() - started < 100 * 0.05


def test_a_busy_symbol_does_not_linger_with_newcomers(stub_with: Callable[..., KinesisStub]) -> None:
    """Ticks that have waited for a request go out at once, though others that came meanwhile might linger."""
    stub = stub_with()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    publisher.start()
    started = time.monotonic()
    for number in range(100):
        publisher.put(Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=number))
    newcomer = 0
    while len(stub.accepted["KO"]) < 100:
        newcomer += 1
        publisher.put(Tick(f"N{newcomer}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
        time.sleep(0.002)
    assert time.monotonic() - started < 100 * 0.05 * 0.8
    publisher.finish()


@pytest.mark.parametrize(("symbols", "limit"), [(1, LANE_TICKS), (5000, QUEUE_TICKS)])
def test_a_stalled_stream_holds_the_feed_back(stub_with: Callable[..., KinesisStub], symbols: int, limit: int) -> None:
    """While the stream takes nothing, `put` waits at the limit of the queue, and of one symbol's part of it."""
    stub = stub_with()
    stub.open.clear()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    publisher.start()
    count = limit + 300

    def feed() -> None:
        for number in range(count):
            publisher.put(Tick(f"S{number % symbols}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=number))

    feeding = threading.Thread(target=feed, daemon=True)
    feeding.start()
    wait_for(lambda: publisher.waiting == limit)
    time.sleep(0.3)
    assert publisher.waiting == limit
    stub.open.set()
    feeding.join(20)
    publisher.finish()
    assert stub.count == publisher.published == count


def test_a_stop_lets_a_waiting_feed_go_on(stub_with: Callable[..., KinesisStub]) -> None:
    """A feed that waits for room is let go when the process is to stop, and its tick is still published."""
    stub = stub_with()
    stub.open.clear()
    stop = threading.Event()
    publisher = Publisher(client("kinesis"), "ticks", stop)
    publisher.start()
    for number in range(LANE_TICKS):
        publisher.put(Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=number))
    threading.Timer(0.3, stop.set).start()
    publisher.put(Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=LANE_TICKS))
    stub.open.set()
    publisher.finish()
    assert accepted_volumes(stub) == {"KO": list(range(LANE_TICKS + 1))}


def test_a_denied_request_stops_the_feed_and_says_why(stub_with: Callable[..., KinesisStub]) -> None:
    """What waiting does not mend ends the publisher: it sets the stop, and `finish` raises one clear line."""
    stub = stub_with()
    stub.refusals["PutRecords"] = RefusedError(400, "AccessDeniedException")
    stop = threading.Event()
    publisher = Publisher(client("kinesis"), "ticks", stop)
    publisher.start()
    publisher.put(Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
    assert stop.wait(10)
    with pytest.raises(UserError, match=r"AWS refused PutRecords \(AccessDeniedException\)"):
        publisher.finish()


def test_a_stream_that_is_away_for_a_while_loses_nothing(stub_with: Callable[..., KinesisStub]) -> None:
    """While every request is throttled, ticks wait; when the stream is back, all arrive in order."""
    stub = stub_with()
    stub.refusals["PutRecords"] = RefusedError(400, "ProvisionedThroughputExceededException")
    threading.Timer(1, stub.refusals.clear).start()
    ticks = ticks_of(800, symbols=50)
    publish(ticks)
    assert accepted_volumes(stub) == volumes(ticks)
