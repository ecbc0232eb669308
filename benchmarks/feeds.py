"""Prints how many ticks a second one process takes from Kafka and from SQS: `python -m benchmarks.feeds`.

The stream and the queue are a loopback server that only counts; the broker is a real one, as the tests start it. Times
depend on what else the machine does; what a tick costs on a core is what to compare.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.publish import ticks_of_a_market
from benchmarks.stub_server import running
from common.aws import client
from common.errors import UserError
from common.tick import encode
from producer.__main__ import Feed, publish_all
from producer.clock import Clock
from producer.feeds.kafka import Kafka, properties_of
from producer.feeds.sqs import Sqs
from producer.messages import MessageReader
from producer.publisher import Publisher
from tests.kafka import broker as kafka

TICKS = 100_000
MESSAGES = 20_000


def taken(open_feed: Callable[[Clock], Feed], count: int) -> tuple[float, float]:
    """Take and publish so many ticks; gives the seconds it took, and the seconds on a core."""
    stop = threading.Event()
    publisher = Publisher(client("kinesis"), "ticks", stop)
    feed = open_feed(Clock(stop))
    started, started_on_core = time.perf_counter(), time.process_time()
    work = threading.Thread(target=publish_all, args=(feed, publisher, stop))
    work.start()
    while publisher.published < count:
        time.sleep(0.01)
    times = time.perf_counter() - started, time.process_time() - started_on_core
    stop.set()
    work.join()
    return times


def from_kafka() -> tuple[float, float]:
    """Take ticks from a topic that has them already."""
    payloads = [encode(tick) for tick in ticks_of_a_market()[:TICKS]]
    with tempfile.TemporaryDirectory() as folder, kafka.running(Path(folder)) as broker:
        broker.create_topic("ticks")
        broker.send("ticks", ({"value": payload} for payload in payloads))
        properties = properties_of(broker.address, "benchmark", {})
        return taken(lambda clock: Kafka(properties, "ticks", reader=MessageReader({}, ()), clock=clock), TICKS)


def from_sqs() -> tuple[float, float]:
    """Take messages of one tick from a queue that always has ten."""
    url = f"{os.environ['AWS_ENDPOINT_URL']}/123456789012/ticks"
    return taken(lambda clock: Sqs(url, reader=MessageReader({}, ()), clock=clock), MESSAGES)


def main() -> None:
    """Measure both and print the table."""
    logging.disable()
    print(f"{'one process, from':20} {'ticks/s':>10} {'µs on a core/tick':>18} {'ticks/s and core':>18}")
    with running():
        for name, measure, count in (("Kafka", from_kafka, TICKS), ("SQS, 10 a request", from_sqs, MESSAGES)):
            try:
                seconds, on_core = measure()
            except UserError as missing:
                print(f"{name:20} skipped: {missing}")
                continue
            print(f"{name:20} {count / seconds:10,.0f} {1e6 * on_core / count:18.1f} {count / on_core:18,.0f}")


if __name__ == "__main__":
    main()
