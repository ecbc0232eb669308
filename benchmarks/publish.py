"""Prints how many ticks a second one process publishes, beside ordinary code: `python -m benchmarks.publish`.

The stream is a loopback server that only counts. Times depend on the machine and on what else it does; the ratios in
the last column, of times on a core, are what to compare. A second table has what a linger saves at a feed's pace.
"""

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import boto3

from benchmarks.stub_server import running
from common.aws import client
from common.tick import PRICE_UNITS, Tick, encode, timestamp_of
from producer.aggregation import aggregate
from producer.lanes import AGGREGATE_TICKS
from producer.publisher import Publisher
from producer.wire import Received

TICKS = 100_000
SYMBOLS = 2000
REPEATS = 3
PACED_SECONDS = 2
ANSWER_SECONDS = 0.015  # about what Kinesis takes
LINGERS_MS = (50, 0)
SHARD_BYTES, SHARD_RECORDS = 1024 * 1024, 1000  # a second


def ticks_of_a_market() -> list[Tick]:
    """Make ticks as the simulated feed does: a beat of all symbols, then the next."""
    dice = random.Random(1)
    cents = [dice.randrange(2000, 50_000) for _ in range(SYMBOLS)]
    ticks = []
    for number in range(TICKS):
        symbol = number % SYMBOLS
        price = (cents[symbol] + dice.randrange(-50, 50)) * PRICE_UNITS // 100
        close = cents[symbol] * PRICE_UNITS // 100
        ticks.append(
            Tick(
                symbol=f"SYM{symbol}",
                timestamp=timestamp_of(1_800_000_000_000 + number // SYMBOLS * 997),
                price=price,
                open=close,
                high=max(price, close),
                low=min(price, close),
                previous_close=close,
                volume=number * 100,
                source="benchmark",
            )
        )
    return ticks


def ours(ticks: list[Tick], *, aggregated: bool) -> None:
    """Publish as `tickertape produce` does."""
    publisher = Publisher(client("kinesis"), "ticks", threading.Event(), aggregate=aggregated)
    publisher.start()
    for tick in ticks:
        publisher.put(tick)
    publisher.finish()
    assert publisher.published == len(ticks)


def received(ticks: list[Tick], payloads: list[bytes]) -> None:
    """Publish as the feeds do whose source is told of each tick that the stream has."""
    told = 0

    def tell() -> None:
        nonlocal told
        told += 1

    publisher = Publisher(client("kinesis"), "ticks", threading.Event())
    publisher.start()
    for tick, payload in zip(ticks, payloads, strict=True):
        publisher.put(Received(tick.symbol, payload, tick.timestamp, tell))
    publisher.finish()
    assert told == len(ticks)


def paced(ticks: list[Tick], *, beat: int, rate: int, linger_ms: float) -> tuple[float, float]:
    """Publish as a feed does that has ``beat`` ticks at once and ``rate`` a second.

    Returns requests a second, and seconds on a core a tick.
    """
    kinesis = client("kinesis")
    requests = 0

    def count(**_: object) -> None:
        nonlocal requests
        requests += 1

    kinesis.meta.events.register("before-send.kinesis.PutRecords", count)
    publisher = Publisher(kinesis, "ticks", threading.Event(), linger_seconds=linger_ms / 1000)
    publisher.start()
    started, started_on_core = time.monotonic(), time.process_time()
    for first in range(0, len(ticks), beat):
        time.sleep(max(0, started + first / rate - time.monotonic()))
        for tick in ticks[first : first + beat]:
            publisher.put(tick)
    publisher.finish()
    on_core = time.process_time() - started_on_core
    return requests / (time.monotonic() - started), on_core / len(ticks)


def by_500(ticks: list[dict[str, Any]]) -> None:
    """Publish in full batches, one after another, as tutorials do that know PutRecords."""
    kinesis = boto3.client("kinesis")
    for start in range(0, len(ticks), 500):
        batch = ticks[start : start + 500]
        records: Any = [{"Data": json.dumps(tick).encode(), "PartitionKey": tick["symbol"]} for tick in batch]
        assert not kinesis.put_records(StreamName="ticks", Records=records)["FailedRecordCount"]


def one_by_one(ticks: list[dict[str, Any]]) -> None:
    """Publish as most tutorials do."""
    kinesis = boto3.client("kinesis")
    for tick in ticks:
        kinesis.put_record(StreamName="ticks", Data=json.dumps(tick).encode(), PartitionKey=tick["symbol"])


def measure(action: Callable[[], None]) -> tuple[float, float]:
    """Give the seconds that an action took, and its seconds on a core: the fewest of several runs."""
    times, on_core = [], []
    for _ in range(REPEATS):
        started, started_on_core = time.perf_counter(), time.process_time()
        action()
        times.append(time.perf_counter() - started)
        on_core.append(time.process_time() - started_on_core)
    return min(times), min(on_core)


def main() -> None:
    """Measure everything and print the tables."""
    logging.disable()
    ticks = ticks_of_a_market()
    print_speed(ticks)
    print_lingers(ticks)


def print_speed(ticks: list[Tick]) -> None:
    """Publish as fast as it goes."""
    payloads = [encode(tick) for tick in ticks]
    plain = [json.loads(payload) for payload in payloads[: TICKS // 5]]
    steps: list[tuple[str, Callable[[], None], int]] = [
        ("put_record each", lambda: one_by_one(plain[:2000]), 2000),
        ("put_records of 500", lambda: by_500(plain), len(plain)),
        ("tickertape", lambda: ours(ticks, aggregated=False), TICKS),
        ("tickertape, received", lambda: received(ticks, payloads), TICKS),
        ("tickertape, AGGREGATE", lambda: ours(ticks, aggregated=True), TICKS),
    ]
    with running():
        print(f"{'':22} {'ticks/s':>10} {'µs on a core/tick':>18} {'times as fast':>14}")
        slowest = 0.0
        for name, action, count in steps:
            seconds, on_core = measure(action)
            cost = on_core / count
            slowest = slowest or cost
            print(f"{name:22} {count / seconds:10,.0f} {1e6 * cost:18.1f} {slowest / cost:14.1f}")
    lane = [encode(tick) for tick in ticks if tick.symbol == "SYM1"] * (AGGREGATE_TICKS * SYMBOLS // TICKS)
    bytes_a_tick = len(aggregate("SYM1", lane)) / len(lane)
    print(f"a shard takes {SHARD_RECORDS:,} ticks/s, and in full aggregates {SHARD_BYTES / bytes_a_tick:,.0f}")


def print_lingers(ticks: list[Tick]) -> None:
    """Publish at a feed's pace, to a stream that takes some time to answer."""
    heads = (f"{f'linger {ms} ms: requests/s':>26} {'µs on a core/tick':>18}" for ms in LINGERS_MS)
    print(f"\n{'':30}", *heads)
    with running(ANSWER_SECONDS):
        for beat, rate in ((12, 24), (100, 1000), (1, 20), (1, 100), (1, 1000)):
            some = ticks[: round(PACED_SECONDS * rate)]
            costs = [paced(some, beat=beat, rate=rate, linger_ms=ms) for ms in LINGERS_MS]
            cells = " ".join(f"{requests:26.0f} {1e6 * on_core:18.0f}" for requests, on_core in costs)
            print(f"{f'{rate} ticks/s, {beat} at a time':30} {cells}")


if __name__ == "__main__":
    main()
