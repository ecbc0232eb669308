"""A feed and a publisher at work in this process, as `tickertape produce` has them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.aws import client
from producer.__main__ import Feed, publish_all
from producer.clock import Clock
from producer.publisher import Publisher


class Feeding:
    """What becomes of it."""

    def __init__(self, publisher: Publisher, stop: threading.Event) -> None:
        self.publisher = publisher
        self._stop = stop
        self.failure: BaseException | None = None
        self.ended = threading.Event()

    def stop(self) -> None:
        """End it as a signal does, and wait."""
        self._stop.set()
        assert self.ended.wait(30)


@contextmanager
def feeding(open_feed: Callable[[Clock], Feed], *, aggregate: bool = False) -> Iterator[Feeding]:
    """Publish a feed in a thread until the end of the block."""
    stop = threading.Event()
    feed = open_feed(Clock(stop))
    running = Feeding(Publisher(client("kinesis"), "ticks", stop, aggregate=aggregate), stop)

    def work() -> None:
        try:
            publish_all(feed, running.publisher, stop)
        except BaseException as error:  # the test looks at it
            running.failure = error
        running.ended.set()

    threading.Thread(target=work, daemon=True).start()
    try:
        yield running
    except AssertionError as error:
        raise error from running.failure
    finally:
        running.stop()
