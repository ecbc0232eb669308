"""``tickertape produce``: publish a feed's ticks to the stream."""

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
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
from producer.feeds.simulated import simulated
from producer.feeds.yahoo import yahoo
from producer.feeds.yahoo_live import yahoo_live
from producer.publisher import Publisher
from producer.settings import ProducerSettings

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient  # a development dependency: types only

log = logging.getLogger("producer")

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
        _publish_all(feed, publisher, stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        _run_until_stopped(work, publisher, stop)
    finally:
        pulse.end()
        _print_summary(publisher, feed)


def _open_feed(settings: ProducerSettings, clock: Clock) -> Iterator[Tick]:
    if settings.feed == "replay":
        return replay_of(settings, clock)
    if settings.feed == "yahoo":
        return yahoo(
            settings.symbols,
            interval_seconds=settings.feed_interval_seconds,
            closed_interval_seconds=settings.market_closed_interval_seconds,
            extended_hours=settings.extended_hours,
            clock=clock,
        )
    if settings.feed == "yahoo-live":
        return yahoo_live(
            settings.symbols,
            silence_seconds=settings.stream_silence_seconds,
            interval_seconds=settings.feed_interval_seconds,
            closed_interval_seconds=settings.market_closed_interval_seconds,
            extended_hours=settings.extended_hours,
            clock=clock,
        )
    return simulated(
        settings.symbols,
        interval_seconds=settings.feed_interval_seconds,
        seed=settings.simulation_seed,
        clock=clock,
    )


def replay_of(settings: ProducerSettings, clock: Clock) -> Replay:
    """Open the file that is to be replayed, which complains of what is plainly wrong with it."""
    assert settings.replay_file is not None  # noqa: S101  (the settings want it for this feed)
    return Replay(
        settings.replay_file,
        symbol=settings.symbol,
        only=settings.symbols,
        speed=settings.replay_speed,
        clock=clock,
        reading=settings.reading,
    )


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


def _publish_all(feed: Iterator[Tick], publisher: Publisher, stop: threading.Event) -> None:
    publisher.start()
    try:
        for tick in feed:
            if stop.is_set():
                break
            publisher.put(tick)
    finally:
        publisher.finish()


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


def _print_summary(publisher: Publisher, feed: Iterator[Tick]) -> None:
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
