"""``tickertape notify``: pass alerts on to people's chats."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from common.aws import client
from common.errors import run_command
from common.health import Pulse
from common.settings import read_settings
from common.telemetry import configure_logging
from desk.notify.delivery import Delivery
from desk.notify.dispatch import Dispatcher
from desk.notify.queue import AlertQueue
from desk.notify.settings import NotifySettings

log = logging.getLogger("notify")

_STOP_SECONDS = 25  # a stopped task has 60
_SHORTEST_POLL_SECONDS = 1.0
"""Where the queue does not wait for messages, as an emulator's."""


def main(arguments: list[str]) -> int:
    """Run until a signal stops it; returns the exit code."""
    return run_command(lambda: _notify(read_settings(NotifySettings, arguments, "notify")))


def _notify(settings: NotifySettings) -> None:
    configure_logging()
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings name paths, which have tokens in them
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    receivers = settings.receivers()
    queue = AlertQueue(client("sqs", connections=len(receivers) + 1), settings.notify_queue_url, stop)
    queue.open()
    pulse = Pulse()
    pulse.begin_notifying()
    deliveries = [Delivery(receiver, queue, settings.notify_group_seconds) for receiver in receivers]
    log.info("notifier_started", extra={"urls": [receiver.name for receiver in receivers]})
    try:
        _run(queue, deliveries, pulse, stop)
    finally:
        pulse.end()
    log.info("notifier_stopped")


def _run(queue: AlertQueue, deliveries: Sequence[Delivery], pulse: Pulse, stop: threading.Event) -> None:
    """Run all threads until one fails, or a signal comes; a message that is under way then is waited for."""
    failed: Future[None] = Future()
    dispatcher = Dispatcher(queue, deliveries)

    def receive() -> None:
        _receive(queue, dispatcher, deliveries, pulse, stop)

    _start(receive, "receive", failed, stop)
    threads = [_start(delivery.run, delivery.receiver.name, failed, stop) for delivery in deliveries]
    stop.wait()
    for delivery in deliveries:
        delivery.stop()
    deadline = time.monotonic() + _STOP_SECONDS
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    if failed.done():
        failed.result()


def _start(work: Callable[[], None], name: str, failed: Future[None], stop: threading.Event) -> threading.Thread:
    """Work in a thread whose failure stops the others."""

    def run() -> None:
        try:
            work()
        except BaseException as error:
            if not stop.is_set():
                failed.set_exception(error)
            stop.set()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def _receive(
    queue: AlertQueue, dispatcher: Dispatcher, deliveries: Sequence[Delivery], pulse: Pulse, stop: threading.Event
) -> None:
    """Hand out what comes; as long as no URL is stuck, that is progress."""
    while not stop.is_set():
        began = time.monotonic()
        messages = queue.receive()
        dispatcher.hand_out(messages)
        queue.keep()
        if not any(delivery.is_stuck for delivery in deliveries):
            pulse.beat()
        if not messages:
            stop.wait(began + _SHORTEST_POLL_SECONDS - time.monotonic())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
