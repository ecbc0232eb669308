"""A stand-in for Yahoo Finance on loopback, which speaks its formats and misbehaves as it is told.

yfinance itself is not changed: the environment names a proxy, which leads every connection here, and the authority
whose certificates are believed.
"""

import asyncio
import base64
import importlib.util
import json
import os
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import trustme
from aiohttp import WSMsgType, web

Result = TypeVar("Result")

_CRUMB = "a.crumb/1"
_COOKIE = "d=a-cookie"
_SLOW_SECONDS = 3  # `running_feed` waits for 2


def quote(symbol: str, price: object = 230.12, **changes: object) -> dict[str, Any]:
    """Give what Yahoo says of a symbol, with these fields changed; a field that is ... is left out."""
    fields = {
        "language": "en-US",
        "region": "US",
        "quoteType": "EQUITY",
        "currency": "USD",
        "marketState": "REGULAR",
        "exchange": "NMS",
        "symbol": symbol,
        "regularMarketPrice": price,
        "regularMarketTime": int(time.time()) - 3600,
        "regularMarketOpen": 229.5,
        "regularMarketDayHigh": 231,
        "regularMarketDayLow": 228.01,
        "regularMarketPreviousClose": 228.5,
        "regularMarketVolume": 1234567,
    }
    return {name: value for name, value in (fields | changes).items() if value is not ...}


@dataclass
class _Subscriber:
    request: web.Request
    symbols: set[str] = field(default_factory=set)


class StandIn:
    """Yahoo, as far as our feeds know it; its attributes may be changed at any time."""

    def __init__(self, folder: Path) -> None:
        self.quotes: dict[str, Any] = {}
        """What it says of each symbol that it knows."""
        self.trades = True
        """A quote's time grows by a second from one answer to the next."""
        self.fault = ""
        """What is wrong: a key of ``_FAULTS``, ``unreachable`` or nothing."""
        self.latency = 0.0
        """Seconds that an answer takes."""
        self.refuses_streams = False
        self.requests: list[tuple[float, list[str]]] = []
        """When which symbols were asked for, whatever the answer."""
        self.subscriptions: list[list[str]] = []
        """Each list of symbols that a stream was asked for."""
        self.connections = 0
        """The number of streams that were opened."""
        self.refused: list[float] = []
        """When streams were refused."""
        self._streams: dict[web.WebSocketResponse, _Subscriber] = {}
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._proxy_port = 0
        self._pricing_data = _pricing_data()

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve until the end of the block."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        runner = self._await(self._serve())
        try:
            yield self
        finally:
            self.drop_streams()
            self._await(runner.cleanup())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()

    def environment(self) -> dict[str, str]:
        """Give the environment of a process that takes this for Yahoo, and can reach nothing else by HTTPS."""
        authority = str(self._folder / "authority.pem")
        others = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return others | {
            "HTTPS_PROXY": f"http://127.0.0.1:{self._proxy_port}",
            "CURL_CA_BUNDLE": authority,
            "REQUESTS_CA_BUNDLE": authority,
            "SSL_CERT_FILE": authority,
            "XDG_CACHE_HOME": str(self._folder),
        }

    def stream(self, symbol: str, price: float, **fields: object) -> int:
        """Send a quote of now to those that have subscribed to the symbol, and give their number."""
        defaults = {"time": time.time_ns() // 1_000_000, "market_hours": 1, "price_hint": 2, "currency": "USD"}
        message = self._pricing_data(id=symbol, price=price, **(defaults | fields)).SerializeToString()
        return self.send(json.dumps({"type": "pricing", "message": base64.b64encode(message).decode()}), symbol)

    def send(self, text: str, symbol: str) -> int:
        """Send any text to those that have subscribed to the symbol, and give their number."""
        return self._await(self._send(text, symbol))

    def end_streams(self) -> None:
        """Close all streams as the protocol wants it."""
        self._await(self._end_streams())

    def drop_streams(self) -> None:
        """Cut all streams off."""
        self._await(self._drop_streams())

    def _await(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _serve(self) -> web.AppRunner:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self._folder / "authority.pem")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("*.yahoo.com", "*.finance.yahoo.com").configure_cert(context)
        app = web.Application()
        app.router.add_get("/v1/test/getcrumb", self._give_crumb)
        app.router.add_get("/v7/finance/quote", self._give_quotes)
        app.router.add_get("/", self._give_cookie_or_stream)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        proxy = await asyncio.start_server(lambda reader, writer: self._tunnel(reader, writer, port), "127.0.0.1", 0)
        self._proxy_port = proxy.sockets[0].getsockname()[1]
        return runner

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        host = head.split()[1].decode()
        if self.fault == "unreachable" or not host.endswith(".yahoo.com:443"):
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    async def _give_cookie_or_stream(self, request: web.Request) -> web.StreamResponse:
        if request.host.startswith("streamer."):
            return await self._open_stream(request)
        answer = web.Response(status=404)
        answer.set_cookie("A3", _COOKIE, domain=".yahoo.com", max_age=365 * 86400, secure=True)
        return answer

    async def _give_crumb(self, request: web.Request) -> web.Response:
        if self.fault == "429 everywhere":
            return _too_many_requests()
        return web.Response(text=_CRUMB) if request.cookies.get("A3") == _COOKIE else web.Response(status=401)

    async def _give_quotes(self, request: web.Request) -> web.StreamResponse:
        symbols = request.query["symbols"].split(",")
        self.requests.append((time.monotonic(), symbols))
        if request.query.get("crumb") != _CRUMB or request.cookies.get("A3") != _COOKIE:
            return web.json_response({"finance": {"error": {"code": "Unauthorized"}}}, status=401)
        await asyncio.sleep(_SLOW_SECONDS if self.fault == "slow" else self.latency)
        if self.fault in {"hangs up", "unreachable"} and request.transport is not None:
            request.transport.abort()
        if self.fault.startswith("429"):
            return _too_many_requests()
        if self.fault in _FAULTS:
            status, kind, text = _FAULTS[self.fault]
            return web.Response(status=status, content_type=kind, text=text)
        return web.json_response({"quoteResponse": {"result": self._say(symbols), "error": None}})

    def _say(self, symbols: list[str]) -> list[Any]:
        known = [self.quotes[symbol] for symbol in symbols if symbol in self.quotes]
        for said in known if self.trades else []:
            if isinstance(said, dict) and isinstance(said.get("regularMarketTime"), int):
                said["regularMarketTime"] += 1
        return known

    async def _open_stream(self, request: web.Request) -> web.StreamResponse:
        if self.refuses_streams:
            self.refused.append(time.monotonic())
            return web.Response(status=503)
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        self.connections += 1
        subscriber = self._streams[stream] = _Subscriber(request)
        async for message in stream:
            if message.type == WSMsgType.TEXT:
                symbols = json.loads(message.data)["subscribe"]
                subscriber.symbols.update(symbols)
                self.subscriptions.append(symbols)
        self._streams.pop(stream, None)
        return stream

    async def _send(self, text: str, symbol: str) -> int:
        interested = [stream for stream, subscriber in self._streams.items() if symbol in subscriber.symbols]
        for stream in interested:
            await stream.send_str(text)
        return len(interested)

    async def _end_streams(self) -> None:
        for stream in tuple(self._streams):
            await stream.close()

    async def _drop_streams(self) -> None:
        for subscriber in self._streams.values():
            if subscriber.request.transport is not None:
                subscriber.request.transport.abort()
        self._streams.clear()


_FAULTS = {
    "html": (200, "text/html", "<html><body>Will be right back</body></html>"),
    "server error": (502, "text/html", "<html>Bad Gateway</html>"),
    "unauthorized": (401, "application/json", '{"finance": {"result": null, "error": {"code": "Unauthorized"}}}'),
    "truncated": (200, "application/json", '{"quoteResponse": {"result": [{"symbol": "AA'),
    "empty": (200, "application/json", ""),
    "null": (200, "application/json", "null"),
    "null result": (200, "application/json", '{"quoteResponse": {"result": null, "error": null}}'),
    "other shape": (200, "application/json", '{"quoteResponse": [{"AAPL": 230.12}]}'),
}


def _too_many_requests() -> web.Response:
    return web.Response(status=429, text="Too Many Requests\r\n")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


def _pricing_data() -> Any:  # noqa: ANN401  (a class that Protocol Buffers makes at run time)
    """Give yfinance's class of a streamed quote, without the seconds that it takes to import all of yfinance."""
    package = importlib.util.find_spec("yfinance")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "pricing_pb2.py"
    spec = importlib.util.spec_from_file_location("pricing_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PricingData
