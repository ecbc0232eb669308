"""The publisher: everything arrives, in order, within the limits, whatever the stream refuses."""

import json
import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import boto3
import pytest
from moto import mock_aws

from common.aws import client
from common.errors import UserError
from common.tick import PRICE_UNITS, Tick, encode
from producer import lanes
from producer import publisher as publisher_module
from producer.lanes import AGGREGATE_BYTES, AGGREGATE_TICKS, LANE_TICKS, QUEUE_BYTES, QUEUE_TICKS
from producer.publisher import SENDERS, Publisher
from producer.wire import Received
from tests.functional.kinesis_stub import KinesisStub, RefusedError
from tests.waiting import wait_for


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

    def start(**failures: Any) -> KinesisStub:  # noqa: ANN401  (shares are floats, one is a whole number)
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


def publish(ticks: list[Tick], *, aggregate: bool = False, pause: float = 0) -> Publisher:
    """Publish the ticks, with a pause after each tenth, and wait for the end."""
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), aggregate=aggregate)
    publisher.start()
    for number, tick in enumerate(ticks):
        publisher.put(tick)
        if number % 10 == 9:
            time.sleep(pause)
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


def reports(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Give the publisher's reports; their fields are attributes."""
    return [record for record in caplog.records if record.message == "published"]


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


@pytest.mark.parametrize("aggregate", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_lost_or_reordered_when_a_third_fails(
    stub_with: Callable[..., KinesisStub], seed: int, *, aggregate: bool
) -> None:
    """With 30 % of the records and 10 % of the requests refused, all arrive once, each symbol's in order."""
    stub = stub_with(entry_failures=0.3, request_failures=0.1, latency=0.02)
    ticks = ticks_of(2000, symbols=700, seed=seed)

    publisher = publish(ticks, aggregate=aggregate, pause=0.002)

    assert accepted_volumes(stub) == volumes(ticks)
    assert publisher.published == 2000
    assert publisher.waiting == 0
    assert publisher.last_sequence_numbers == stub.last_sequence_numbers
    assert max(records for records, _ in stub.requests) <= 500
    assert stub.refused.total() > 150
    assert 1 < stub.most_at_once <= SENDERS


@pytest.mark.parametrize("aggregate", [False, True])
def test_an_answer_that_got_lost_doubles_ticks_but_loses_and_reorders_none(
    stub_with: Callable[..., KinesisStub], *, aggregate: bool
) -> None:
    """When the stream has taken a request and hangs up, the same request comes again, before any later tick."""
    stub = stub_with(entry_failures=0.1, hang_up=3, latency=0.02)
    ticks = ticks_of(1000, symbols=100)

    publish(ticks, aggregate=aggregate, pause=0.005)

    assert stub.count > 1000
    assert {key: list(dict.fromkeys(taken)) for key, taken in accepted_volumes(stub).items()} == volumes(ticks)


@pytest.mark.parametrize("aggregate", [False, True])
def test_what_was_received_is_told_when_it_is_on_the_stream(
    stub_with: Callable[..., KinesisStub], *, aggregate: bool
) -> None:
    """Each record is told once, after the stream has it and not before, in its symbol's order; however much fails."""
    stub = stub_with(entry_failures=0.3, request_failures=0.1, latency=0.02)
    told: defaultdict[str, list[int]] = defaultdict(list)
    early = []
    counts: defaultdict[str, int] = defaultdict(int)
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), aggregate=aggregate)

    def tell(symbol: str, number: int) -> None:
        told[symbol].append(number)
        if len(stub.accepted[symbol]) <= number:
            early.append((symbol, number))

    publisher.start()
    for tick in ticks_of(2000, symbols=300):
        number, counts[tick.symbol] = counts[tick.symbol], counts[tick.symbol] + 1
        taken = partial(tell, tick.symbol, number)
        publisher.put(Received(tick.symbol, encode(tick), tick.timestamp, taken))
    publisher.finish()

    assert not early
    assert told == {symbol: list(range(count)) for symbol, count in counts.items()}
    assert publisher.published == 2000


def test_what_the_stream_never_takes_is_never_told(stub_with: Callable[..., KinesisStub]) -> None:
    """When publishing fails for good, nobody hears that it worked."""
    stub = stub_with()
    stub.refusals["PutRecords"] = RefusedError(400, "AccessDeniedException")
    told: list[int] = []
    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    publisher.start()
    publisher.put(Received("KO", b"{}", "", partial(told.append, 1)))
    with pytest.raises(UserError):
        publisher.finish()
    assert not told


def test_a_single_symbol_fills_aggregates(stub_with: Callable[..., KinesisStub]) -> None:
    """All that waits of a symbol shares records up to the limit, one record a request, in order."""
    stub = stub_with()
    stub.open.clear()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), aggregate=True)
    publisher.start()
    count = 40 * AGGREGATE_TICKS
    for number in range(count):
        publisher.put(Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=number))
    stub.open.set()
    publisher.finish()
    assert accepted_volumes(stub) == {"KO": list(range(count))}
    assert [records for records, _ in stub.requests] in ([1] * 40, [1] * 41)  # the first one left before it was full


def test_a_full_aggregate_does_not_linger(stub_with: Callable[..., KinesisStub]) -> None:
    """A record that has as many ticks as it may have goes out at once."""
    stub = stub_with()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=60, aggregate=True)
    publisher.start()
    for number in range(AGGREGATE_TICKS):
        publisher.put(Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=number))
    wait_for(lambda: stub.count == AGGREGATE_TICKS, 10)
    publisher.finish()
    assert len(stub.requests) == 1


def test_aggregates_have_a_size(stub_with: Callable[..., KinesisStub]) -> None:
    """Large ticks share a record only up to its size, and one that is larger goes alone, as it is."""
    stub = stub_with()
    sizes = [20_000, 20_000, 20_000, 90_000, 100]
    ticks = [Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, source="x" * size) for size in sizes]
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=60, aggregate=True)
    publisher.start()
    for tick in ticks:
        publisher.put(tick)
    publisher.finish()
    assert [len(tick["source"]) for tick in stub.accepted["KO"]] == sizes
    assert len(stub.requests) == 4
    assert sorted(size for _, size in stub.requests)[-2] <= AGGREGATE_BYTES
    assert [size for _, size in stub.requests][2] == len(encode(ticks[3])) + len("KO")


def test_symbols_do_not_share_aggregates(stub_with: Callable[..., KinesisStub]) -> None:
    """Each aggregate is of one symbol, under it: the stub refuses others, as the KCL drops them after a split."""
    stub = stub_with()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=60, aggregate=True)
    publisher.start()
    ticks = [Tick(f"S{n % 20}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=n) for n in range(2000)]
    for tick in ticks:
        publisher.put(tick)
    publisher.finish()
    assert accepted_volumes(stub) == volumes(ticks)
    assert [records for records, _ in stub.requests] == [20]


def test_full_batches_go_out(stub_with: Callable[..., KinesisStub]) -> None:
    """With ticks of many symbols waiting, requests carry 500 records, and the largest sequence number counts."""
    stub = stub_with()
    stub.open.clear()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=60)
    publisher.start()
    for number in range(1700):
        publisher.put(Tick(f"S{number}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
    stub.open.set()
    publisher.finish()
    assert sorted(records for records, _ in stub.requests) == [200, 500, 500, 500]
    assert publisher.last_sequence_numbers == stub.last_sequence_numbers


@pytest.mark.parametrize("aggregate", [False, True])
def test_several_requests_are_under_way(stub_with: Callable[..., KinesisStub], *, aggregate: bool) -> None:
    """While the stream is slow to answer, as many requests as there are senders go out, each of other symbols."""
    stub = stub_with()
    stub.open.clear()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=0.3, aggregate=aggregate)
    publisher.start()
    for number in range(2 * SENDERS * 500):
        publisher.put(Tick(f"S{number % (SENDERS * 500)}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=number))
    wait_for(lambda: stub.most_at_once == SENDERS, 10)
    stub.open.set()
    publisher.finish()
    assert stub.count == 2 * SENDERS * 500


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
    """A lone tick goes out by itself, together with those that came within the linger."""
    stub = stub_with()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=0.5)
    publisher.start()
    for symbol in ("A", "B", "C"):
        publisher.put(Tick(symbol, "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
    wait_for(lambda: stub.count == 3, 10)
    publisher.finish()
    assert [records for records, _ in stub.requests] == [3]


@pytest.mark.parametrize("linger", [0.0, 0.01])
def test_a_request_under_way_collects_what_comes_meanwhile(
    stub_with: Callable[..., KinesisStub], monkeypatch: pytest.MonkeyPatch, linger: float
) -> None:
    """However short the linger, ticks that come during a request share the next, which leaves when that is done."""
    monkeypatch.setattr(lanes, "COLLECT_SECONDS", 60)
    stub = stub_with()
    stub.open.clear()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=linger)
    publisher.start()
    publisher.put(Tick("FIRST", "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
    wait_for(lambda: stub.most_at_once == 1, 10)
    for number in range(20):
        publisher.put(Tick(f"S{number}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
        time.sleep(0.005)
    stub.open.set()
    wait_for(lambda: stub.count == 21, 10)
    assert [records for records, _ in stub.requests] == [1, 20]
    publisher.finish()


def _at_once(stub: KinesisStub, requests: int) -> bool:
    return stub.most_at_once == requests


def test_a_request_that_hangs_delays_no_other(stub_with: Callable[..., KinesisStub]) -> None:
    """Ticks wait for a request under way only for a moment, and then leave in another."""
    stub = stub_with()
    stub.open.clear()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    publisher.start()
    for number in range(1, SENDERS + 1):
        publisher.put(Tick(f"S{number}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
        wait_for(partial(_at_once, stub, number), 10)
    stub.open.set()
    publisher.finish()
    assert stub.count == SENDERS


@pytest.mark.parametrize("linger", [0.0, 0.6])
def test_the_linger_can_be_set(stub_with: Callable[..., KinesisStub], linger: float) -> None:
    """A lone tick goes out after the linger, not before; without one, at once."""
    stub = stub_with()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=linger)
    publisher.start()
    started = time.monotonic()
    publisher.put(Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
    wait_for(lambda: stub.count == 1, 10)
    assert linger <= time.monotonic() - started < linger + 0.4
    publisher.finish()


def test_an_end_does_not_linger(stub_with: Callable[..., KinesisStub]) -> None:
    """What waits for others when the feed ends goes out at once."""
    stub = stub_with()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=60)
    publisher.start()
    publisher.put(Tick("KO", "2024-03-04T10:00:00.000000Z", PRICE_UNITS))
    started = time.monotonic()
    publisher.finish()
    assert stub.count == 1
    assert time.monotonic() - started < 5


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
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), linger_seconds=0.05)
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
    ticks = [
        Tick(f"S{number % symbols}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=number)
        for number in range(limit + 300)
    ]
    stub = stub_with()
    assert publish_with_a_stall(stub, ticks, limit).published == len(ticks)
    assert stub.count == len(ticks)


def test_large_ticks_wait_for_room_in_bytes(stub_with: Callable[..., KinesisStub]) -> None:
    """However few ticks they are, the queue takes no more bytes than its limit and one tick."""
    limit = QUEUE_BYTES // 500_000 + 1
    ticks = [
        Tick(f"S{number}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, source="x" * 500_000)
        for number in range(2 * limit)
    ]
    stub = stub_with()
    publish_with_a_stall(stub, ticks, limit)
    assert stub.count == len(ticks)


def publish_with_a_stall(stub: KinesisStub, ticks: Sequence[Tick], limit: int) -> Publisher:
    """Publish to a stream that takes nothing until the feed has come to its limit, no further."""
    stub.open.clear()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    publisher.start()

    def feed() -> None:
        for tick in ticks:
            publisher.put(tick)

    feeding = threading.Thread(target=feed, daemon=True)
    feeding.start()
    wait_for(lambda: publisher.waiting == limit, 10)
    time.sleep(0.3)
    assert publisher.waiting == limit
    stub.open.set()
    feeding.join(20)
    publisher.finish()
    return publisher


@pytest.mark.parametrize("aggregate", [False, True])
@pytest.mark.parametrize("symbols", [1, 300])
def test_a_live_feed_never_waits_and_keeps_the_newest(
    stub_with: Callable[..., KinesisStub],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    symbols: int,
    *,
    aggregate: bool,
) -> None:
    """While the stream takes nothing, a live feed goes on, in bounded memory; it loses only older ticks, counted."""
    monkeypatch.setattr("producer.lanes.QUEUE_TICKS", 2000)
    monkeypatch.setattr("producer.lanes.AGGREGATED_QUEUE_TICKS", 2000)
    monkeypatch.setattr(publisher_module, "_REPORT_SECONDS", 60)
    caplog.set_level(logging.INFO)
    stub = stub_with()
    stub.open.clear()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), aggregate=aggregate, live=True)
    publisher.start()
    most_waiting = 0
    started = time.monotonic()
    for number in range(10_000):
        publisher.put(
            Tick(f"S{number % symbols}", "2024-03-04T10:00:00.000000Z", PRICE_UNITS, volume=number // symbols)
        )
        most_waiting = max(most_waiting, publisher.waiting)
    assert time.monotonic() - started < 5
    stub.open.set()
    publisher.finish()

    assert most_waiting <= 2000 + symbols
    dropped = 10_000 - stub.count
    assert dropped > 4000
    for symbol, ticks in stub.accepted.items():
        taken = [tick["volume"] for tick in ticks]
        assert taken == sorted(set(taken))
        assert taken[-1] == (9_999 - int(symbol[1:])) // symbols
    assert len(stub.accepted) == symbols
    (report,) = reports(caplog)
    assert (report.levelname, report.dropped, report.published) == ("WARNING", dropped, stub.count)


def test_a_stalled_stream_is_reported(
    stub_with: Callable[..., KinesisStub], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A report comes each period, whatever the stream does, with what waits and how old the newest tick is."""
    monkeypatch.setattr(publisher_module, "_REPORT_SECONDS", 0.1)
    caplog.set_level(logging.INFO)
    stub = stub_with()
    stub.open.clear()
    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    publisher.start()
    for second in (50, 40):
        timestamp = f"{datetime.now(UTC) - timedelta(seconds=second):%Y-%m-%dT%H:%M:%S.%fZ}"
        publisher.put(Tick("KO", timestamp, PRICE_UNITS))
    wait_for(lambda: len(reports(caplog)) >= 4, 10)
    stub.open.set()
    publisher.finish()
    for report in reports(caplog)[:4]:
        assert (report.published, report.waiting) == (0, 2)
        assert 40 <= report.feed_lag_seconds < 42
    assert sum(report.published for report in reports(caplog)) == 2
    assert reports(caplog)[-1].waiting == 0


def test_what_is_tried_again_is_counted(
    stub_with: Callable[..., KinesisStub], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reports count each record that was refused or lost with its request, and how many were throttled."""
    monkeypatch.setattr(publisher_module, "_REPORT_SECONDS", 60)
    caplog.set_level(logging.INFO)
    stub = stub_with(entry_failures=0.3, request_failures=0.2)
    publish(ticks_of(1000, symbols=300))
    (report,) = reports(caplog)
    assert report.published == 1000
    assert report.retried == stub.refused.total()
    assert report.throttled == stub.refused["ProvisionedThroughputExceededException"]
    assert 0 < report.throttled < report.retried


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


@pytest.mark.parametrize(
    "answer", [RefusedError(400, "ProvisionedThroughputExceededException"), RefusedError(200, "NoAnswerOfKinesis")]
)
def test_a_stream_that_is_away_for_a_while_loses_nothing(
    stub_with: Callable[..., KinesisStub], answer: RefusedError
) -> None:
    """While every request is throttled, or answered with nonsense, ticks wait; afterwards all arrive in order."""
    stub = stub_with()
    stub.refusals["PutRecords"] = answer
    threading.Timer(1, stub.refusals.clear).start()
    ticks = ticks_of(800, symbols=50)
    publish(ticks)
    assert accepted_volumes(stub) == volumes(ticks)
