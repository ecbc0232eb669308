"""One poll for everybody who looks, and none while nobody does.

Each browser has a queue of its own that is bounded: one that does not keep up is let go, and begins anew with all that
there is when it comes back.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from common.errors import UserError
from desk.dashboard.market import Market, News
from desk.dashboard.pipeline import Pipeline

log = logging.getLogger(__name__)

MOST_CLIENTS = 100
_WAITING = 64
"""Events that wait for a client; there is about one a second."""

_LOOK_SECONDS = 1.0
_PIPELINE_SECONDS = 5.0
_BEAT_SECONDS = 5.0
_encode = msgspec.json.Encoder(decimal_format="number").encode


class _Client:
    def __init__(self, symbol: str | None, *, pipeline: bool) -> None:
        self.symbol = symbol
        self.pipeline = pipeline
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)

    def tell(self, event: bytes) -> None:
        """Put an event into the queue; where it is full, let the client go."""
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.let_go()

    def let_go(self) -> None:
        """Forget what waits: the next thing that it gets is the end."""
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Hub:
    """Looks again and again, and tells all clients."""

    def __init__(self, market: Market, pipeline: Pipeline) -> None:
        self._market = market
        self._pipeline = pipeline
        self._clients: set[_Client] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._problems: list[dict[str, str]] = []
        self._has_looked = asyncio.Event()
        self._nobody_looks = asyncio.Event()

    async def events(self, symbol: str | None, *, pipeline: bool) -> AsyncIterator[bytes]:
        """Give server-sent events to one client until it leaves.

        Parameters
        ----------
        symbol
            The symbol whose rows it wants, all of them.
        pipeline
            Whether it shows how the pipeline does.

        """
        client = _Client(symbol, pipeline=pipeline)
        self._clients.add(client)
        try:
            self._start()
            yield self._everything()
            while (event := await self._next(client)) is not None:
                yield event
        finally:
            self._clients.discard(client)
            if not self._clients:
                self._nobody_looks.set()

    @property
    def is_full(self) -> bool:
        """No further client can be served."""
        return len(self._clients) >= MOST_CLIENTS

    async def _next(self, client: _Client) -> bytes | None:
        try:
            return await asyncio.wait_for(client.queue.get(), _BEAT_SECONDS)
        except TimeoutError:
            return _event("beat", None)

    def _everything(self) -> bytes:
        return _event(
            "everything",
            {"quotes": self._market.quotes(), "alerts": self._market.alerts(), "problems": self._problems},
        )

    def _start(self) -> None:
        """Begin to look, unless somebody else has had us begin."""
        self._nobody_looks.clear()
        self._keep_looking("market", self._look_at_market, _LOOK_SECONDS)
        self._keep_looking("pipeline", self._look_at_pipeline, _PIPELINE_SECONDS)

    def _keep_looking(self, name: str, look: Callable[[], Awaitable[None]], seconds: float) -> None:
        if name not in self._tasks or self._tasks[name].done():
            self._has_looked.clear()
            self._tasks[name] = asyncio.create_task(self._again_and_again(look, seconds))

    async def _again_and_again(self, look: Callable[[], Awaitable[None]], seconds: float) -> None:
        while self._clients:
            began = time.monotonic()
            try:
                await look()
            except UserError as error:
                self._tell_problems([_problem("The dashboard cannot read this system.", str(error))])
            except Exception:
                log.exception("look_failed")
            took = time.monotonic() - began
            with suppress(TimeoutError):
                # a slow AWS is given a pause as long as it took
                await asyncio.wait_for(self._nobody_looks.wait(), max(seconds - took, took))

    async def _look_at_market(self) -> None:
        loop = asyncio.get_running_loop()

        def tell(news: News) -> None:
            loop.call_soon_threadsafe(self._tell_news, news)

        watched = {client.symbol for client in self._clients if client.symbol}
        await asyncio.to_thread(self._market.look, watched, tell)
        self._has_looked.set()

    async def _look_at_pipeline(self) -> None:
        await self._has_looked.wait()
        rows = list(self._market.newest_rows())
        if any(client.pipeline for client in self._clients):
            found = await asyncio.to_thread(self._pipeline.look, rows)
            self._tell(_event("pipeline", found), lambda client: client.pipeline)
            self._tell_problems(found["problems"])
        else:
            self._tell_problems(await asyncio.to_thread(self._pipeline.problems, rows))

    def _tell_news(self, news: News) -> None:
        if news.quotes:
            self._tell(_event("quotes", news.quotes))
        if news.alerts:
            self._tell(_event("alerts", news.alerts))
        for symbol, rows in news.rows.items():
            self._tell(_event("rows", rows), partial(_watches, symbol))

    def _tell_problems(self, problems: list[dict[str, str]]) -> None:
        if problems != self._problems:
            self._problems = problems
            self._tell(_event("problems", problems))

    def _tell(self, event: bytes, wants: Callable[[_Client], bool] = lambda _: True) -> None:
        for client in self._clients:
            if wants(client):
                client.tell(event)


def _watches(symbol: str, client: _Client) -> bool:
    return client.symbol == symbol


def _problem(text: str, hint: str) -> dict[str, str]:
    return {"severity": "critical", "text": text, "hint": hint}


def _event(name: str, value: Any) -> bytes:  # noqa: ANN401  (whatever is sent)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(value))
