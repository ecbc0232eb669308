"""Feeds of what another system holds until it is told that the stream has it."""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Generic, Self, TypeVar

from producer.clock import Clock
from producer.wire import Received

Message = TypeVar("Message")

_LOOK_SECONDS = 0.2


class Source(ABC, Generic[Message]):
    """Records of another system's messages, as an iterator that ends when its clock says so, and is closed after that.

    The source's own threads receive messages and hand them over, however long the iterator's user waits for the
    stream. What one of them raises, the iterator raises.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: queue.SimpleQueue[Sequence[Message]] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._records = self._arriving()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Received:
        return next(self._records)

    @abstractmethod
    def close(self) -> None:
        """Let the system know what the stream has taken, and leave it: all that was given is settled, or given up."""

    @abstractmethod
    def _start(self) -> None:
        """Look whether there is something to receive from, and begin to receive."""

    @abstractmethod
    def _read(self, messages: Sequence[Message]) -> Iterator[Received]:
        """Give the records of messages that have arrived."""

    @property
    def _goes_on(self) -> bool:
        return self._failure is None and self._clock.sleep_until(self._clock.monotonic())

    def _arriving(self) -> Iterator[Received]:
        self._start()
        while self._goes_on:
            with suppress(queue.Empty):
                arrived = [*self._arrivals.get(timeout=_LOOK_SECONDS)]
                while not self._arrivals.empty():
                    arrived += self._arrivals.get()
                yield from self._read(arrived)
        if self._failure is not None:
            raise self._failure

    def _run(self, work: Callable[[], None], name: str) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # the iterator raises it
                self._failure = self._failure or error

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread
