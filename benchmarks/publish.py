"""Prints how many ticks a second one process publishes, beside ordinary code: `python -m benchmarks.publish`.

The stream is a loopback server that only counts. Times depend on the machine and on what else it does; the ratios in
the last column, of times on a core, are what to compare.
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

TICKS = 100_000
SYMBOLS = 2000
REPEATS = 3
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
    """Measure everything and print the table."""
    logging.disable()
    ticks = ticks_of_a_market()
    payloads = [encode(tick) for tick in ticks]
    plain = [json.loads(payload) for payload in payloads[: TICKS // 5]]
    steps: list[tuple[str, Callable[[], None], int]] = [
        ("put_record each", lambda: one_by_one(plain[:2000]), 2000),
        ("put_records of 500", lambda: by_500(plain), len(plain)),
        ("tickertape", lambda: ours(ticks, aggregated=False), TICKS),
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


if __name__ == "__main__":
    main()
