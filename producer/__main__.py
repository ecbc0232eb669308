"""``tickertape produce``: publish a feed's ticks to the stream."""

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from importlib import import_module
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import UnfinishedError, client, explain, has_not_answered_at_start, persist
from common.errors import UserError, run_command
from common.health import Pulse
from common.settings import read_settings
from common.telemetry import configure_logging
from common.tick import Tick
from producer.clock import Clock
from producer.feeds.replay import Replay
from producer.publisher import Publisher
from producer.settings import ProducerSettings
from producer.source import Source
from producer.wire import Received

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient  # a development dependency: types only

log = logging.getLogger("producer")

Feed = Iterator[Tick | Received]

_STOP_SECONDS = 25  # a stopped task has 30
_SIGNAL_CHECK_SECONDS = 0.5


def main(arguments: list[str]) -> int:
    """Run the command until its feed ends or a signal stops it, and give its exit code."""
    return run_command(lambda: _produce(arguments))


def _produce(arguments: list[str]) -> None:
    settings = read_settings(ProducerSettings, arguments, "produce")
    configure_logging()
    stop = threading.Event()
    feed = _open_feed(settings, Clock(stop))
    kinesis: KinesisClient = client("kinesis")
    pulse = Pulse()
    pulse.begin_publishing()
    publisher = Publisher(
        kinesis,
        settings.stream_name,
        stop,
        linger_seconds=settings.publish_linger_milliseconds / 1000,
        aggregate=settings.aggregate,
        live=settings.feed.startswith("yahoo"),
        beat=pulse.beat,
        embedded_metrics=settings.embedded_metrics,
    )

    def work() -> None:
        _await_stream(kinesis, settings.stream_name, stop)
        log.info("producer_started", extra={"stream_name": settings.stream_name, "feed": settings.feed})
        publish_all(feed, publisher, stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        _run_until_stopped(work, publisher, stop)
    finally:
        pulse.end()
        _print_summary(publisher, feed)


def _open_feed(settings: ProducerSettings, clock: Clock) -> Feed:
    """Have the feed's module, which has its name, open it: what others need is not even imported."""
    module = import_module(f"producer.feeds.{settings.feed.replace('-', '_')}")
    feed: Feed = module.open_feed(settings, clock)
    return feed


def _await_stream(kinesis: "KinesisClient", name: str, stop: threading.Event) -> None:
    def describe() -> None:
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        if summary["StreamStatus"] == "CREATING":
            raise UnfinishedError

    try:
        persist(
            describe,
            about=f"stream {name} (STREAM_NAME)",
            stop=lambda state: stop.is_set() or has_not_answered_at_start(state),
        )
    except UnfinishedError:
        raise UserError(f"stopped while the stream {name} was still being created") from None
    except (ClientError, BotoCoreError) as error:
        raise explain(error, f"stream {name} (STREAM_NAME)") from error


def publish_all(feed: Feed, publisher: Publisher, stop: threading.Event) -> None:
    """Publish a feed until it ends or is to stop; a source is told at last what the stream has."""
    publisher.start()
    try:
        for tick in feed:
            if stop.is_set():
                break
            publisher.put(tick)
    finally:
        try:
            publisher.finish()
        finally:
            if isinstance(feed, Source):
                feed.close()


def _run_until_stopped(work: Callable[[], None], publisher: Publisher, stop: threading.Event) -> None:
    """Do the work in a thread and leave this one to the signals, whose handlers interrupt it wherever it is.

    Raises
    ------
    UserError
        The work's own, or that it did not end in time after a stop.

    """
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            work()
            outcome.set_result(None)
        except BaseException as error:  # the main thread raises it
            outcome.set_exception(error)

    threading.Thread(target=run, name="work", daemon=True).start()
    while not stop.is_set() and not outcome.done():
        wait([outcome], timeout=_SIGNAL_CHECK_SECONDS)
    if not wait([outcome], timeout=_STOP_SECONDS).done and publisher.waiting:
        raise UserError(
            f"stopped with {publisher.waiting} ticks unpublished: Kinesis did not take them within {_STOP_SECONDS} s"
        )
    if outcome.done():
        outcome.result()


def _print_summary(publisher: Publisher, feed: Feed) -> None:
    counts = {"published": publisher.published}
    if isinstance(feed, Replay):
        counts["skipped"] = feed.skipped
    log.info("producer_stopped", extra=counts | {"waiting": publisher.waiting})
    summary = {
        **counts,
        "last_sequence_numbers": publisher.last_sequence_numbers,
    }
    sys.stdout.write(json.dumps(summary) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
