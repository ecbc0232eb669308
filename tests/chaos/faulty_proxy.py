"""A proxy between the pipeline and its AWS that injects faults, and remembers who called what.

``python -m tests.chaos.faulty_proxy --upstream URL`` prints its URL on stdout and serves until it is stopped or its
parent is gone. Tests use `FaultyProxy`: it starts the process, says which faults are on and asks what was called, at
paths of its own.

Why it is our own: toxiproxy knows bytes, not operations. mitmproxy knows HTTP, but the KCL's Kinesis client speaks
nothing but HTTP/2 with prior knowledge, and that it kills where it is cleartext (seen with 11.0.2; its issue 3362).
"""

import argparse
import asyncio
import http.client
import os
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import h2.errors
import h2.exceptions
import msgspec
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.protocol.events import StreamClosed
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from yarl import URL

from tests.chaos.batches import BATCHES, Batch
from tests.chaos.calls import Call, calls_of
from tests.chaos.requests import Headers, Request

Kind = Literal["throttle", "error", "timeout", "reset", "reset_after", "partial", "deny"]

_FAULTS, _CALLS = "/-/faults", "/-/calls"  # no bucket can have this name
_PARENT_CHECK_SECONDS = 0.5
# What is between two neighbours; the body is sent on as a whole, its length is told anew.
_NOT_SENT_ON = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade", b"expect", b"content-length"}


@dataclass(frozen=True)
class Fault:
    """What befalls requests.

    Parameters
    ----------
    kind
        ``throttle``, ``error`` and ``deny`` answer as the service does when it throttles, fails (500 or 503) or denies.
        ``timeout`` keeps silent for a while and then drops the connection, ``reset`` drops it at once; neither sends
        the request on. ``reset_after`` sends it on, gives a part of the answer and drops the connection. ``partial``
        sends only some of a batch's entries on and answers that the others failed; it leaves other operations alone.
        A dropped connection is a reset stream where the client speaks HTTP/2.
    probability
        The share of the requests that it befalls.
    services
        Services as they are in credential scopes, for instance ``dynamodb``; none: all.
    operations
        For instance ``PutRecords``; S3's are ``PutObject``, ``GetObject``, ... by the HTTP method alone. None: all.
    table
        Only requests about this DynamoDB table; empty: all.
    agent
        Only requests of clients that call themselves so, for instance ``aws-sdk-java``; empty: all.

    """

    kind: Kind
    probability: float = 1.0
    services: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    table: str = ""
    agent: str = ""

    def may_befall(self, request: Request) -> bool:
        """Tell whether it is for such requests."""
        return (
            (not self.services or request.service in self.services)
            and (not self.operations or request.operation in self.operations)
            and (self.kind != "partial" or request.operation in BATCHES)
            and self.agent in request.agent
            and (not self.table or any(call.resource.endswith(f":table/{self.table}") for call in calls_of(request)))
        )


class FaultyProxy:
    """The proxy as a process, from entering the context until leaving it.

    Parameters
    ----------
    upstream
        The URL of the AWS behind it.
    kinesis
        Another URL for Kinesis alone.
    seed
        What the order of the decisions follows from, for each operation by itself.
    timeout_seconds
        How long a timeout is silent; the pipeline's clients wait 15 s.
    record
        Remember who called what, for `calls`.
    environment
        Added to the process's environment.

    """

    url: str

    def __init__(
        self,
        upstream: str,
        *,
        kinesis: str | None = None,
        seed: int = 0,
        timeout_seconds: float = 20,
        record: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        options = {
            "upstream": upstream,
            "kinesis": kinesis or upstream,
            "seed": seed,
            "timeout-seconds": timeout_seconds,
        }
        self._command = [sys.executable, "-m", __name__, *(f"--{name}={value}" for name, value in options.items())]
        self._command += ["--record"] if record else []
        self._environment = os.environ | dict(environment or {})

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, env=self._environment)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the proxy did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate(timeout=20)

    def inject(self, *faults: Fault) -> None:
        """Put these faults in the place of all there were. What befalls a request already goes on."""
        self._control("PUT", _FAULTS, msgspec.json.encode(faults))

    def counts(self) -> Counter[tuple[str, str]]:
        """Count how many times each kind befell each service, by ``(service, kind)``."""
        answer = msgspec.json.decode(self._control("GET", _FAULTS), type=list[tuple[tuple[str, str], int]])
        return Counter(dict(answer))

    def calls(self) -> set[Call]:
        """Tell what was called, each call once, whatever became of it."""
        return msgspec.json.decode(self._control("GET", _CALLS), type=set[Call])

    def _control(self, method: str, path: str, body: bytes = b"") -> bytes:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        assert response.status == http.HTTPStatus.OK, content
        return content


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Headers
    body: bytes

    @classmethod
    def whole(cls, status: int, headers: Headers, body: bytes) -> Self:
        """Make an answer that tells the body's length."""
        return cls(status, [*headers, (b"content-length", b"%d" % len(body))], body)


class _Proxy:
    """The ASGI application."""

    def __init__(self, options: argparse.Namespace, session: aiohttp.ClientSession) -> None:
        self._options = options
        self._session = session
        self._faults: list[Fault] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._calls: set[Call] = set()
        # Dice for each operation, so that what happens to one does not depend on how many others came in between.
        self._dice: dict[tuple[str, str], random.Random] = {}

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http" or (body := await _receive_body(receive)) is None:
            return
        target = (scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")).decode()
        request = Request(scope["method"], target, list(scope["headers"]), body)
        if target in {_FAULTS, _CALLS}:
            await _send(send, _Answer.whole(200, [], self._control(request)))
        else:
            if self._options.record:
                self._calls |= calls_of(request)
            await self._handle(request, send)

    def _control(self, request: Request) -> bytes:
        if request.method == "PUT":
            self._faults = msgspec.json.decode(request.body, type=list[Fault])
        return msgspec.json.encode(self._calls if request.target == _CALLS else list(self._counts.items()))

    async def _handle(self, request: Request, send: ASGISendCallable) -> None:
        kind, dice = self._decide(request)
        try:
            match kind:
                case "throttle" | "error" | "deny":
                    await _send(send, _refusal(request, kind, dice))
                case "timeout":
                    await asyncio.sleep(self._options.timeout_seconds)
                    await _drop(send)
                case "reset":
                    await _drop(send)
                case "reset_after":
                    await _send_part(send, await self._forward(request))
                case "partial":
                    await _send(send, await self._forward_part(request, dice))
                case None:
                    await _send(send, await self._forward(request))
        except aiohttp.ClientError:
            await _drop(send)  # the AWS behind us dropped it, or is gone

    def _decide(self, request: Request) -> tuple[Kind | None, random.Random]:
        name = (request.service, request.operation)
        if name not in self._dice:
            self._dice[name] = random.Random(f"{self._options.seed} {name}")
        dice = self._dice[name]
        for fault in self._faults:
            if fault.may_befall(request) and dice.random() < fault.probability:
                self._counts[request.service, fault.kind] += 1
                return fault.kind, dice
        return None, dice

    async def _forward(self, request: Request) -> _Answer:
        upstream = self._options.kinesis if request.service == "kinesis" else self._options.upstream
        async with self._session.request(
            request.method,
            URL(upstream + request.target, encoded=True),
            headers=[(name.decode(), value.decode()) for name, value in request.headers if name not in _NOT_SENT_ON],
            data=request.body or None,
            allow_redirects=False,
        ) as response:
            # A length that the answer had stays: to HEAD it is that of a body which is not there.
            dropped = _NOT_SENT_ON - {b"content-length"}
            headers = [(name, value) for name, value in response.raw_headers if name.lower() not in dropped]
            return _Answer(response.status, headers, await response.read())

    async def _forward_part(self, request: Request, dice: random.Random) -> _Answer:
        batch: Batch = BATCHES[request.operation](request.body)
        kept = set(dice.sample(range(batch.size), dice.randrange(batch.size)))
        if kept:
            answer = await self._forward(replace(request, body=batch.part(kept)))
        elif batch.nothing_done is not None:
            answer = _Answer(200, [(b"content-type", _CONTENT_TYPES[request.form])], batch.nothing_done)
        else:
            return _refusal(request, "throttle", dice)
        if answer.status != http.HTTPStatus.OK:
            return answer
        told_anew = {b"content-length", b"x-amz-crc32"}
        headers = [(name, value) for name, value in answer.headers if name.lower() not in told_anew]
        return _Answer.whole(200, headers, batch.refuse(kept, answer.body))


# The codes of a service for throttling, failing inside and denying; what is not here is as "".
_CODES = {
    "dynamodb": (
        (400, "ProvisionedThroughputExceededException"),
        "InternalServerError",
        (400, "AccessDeniedException"),
    ),
    "kinesis": ((400, "ProvisionedThroughputExceededException"), "InternalFailure", (400, "AccessDeniedException")),
    "s3": ((503, "SlowDown"), "InternalError", (403, "AccessDenied")),
    "sns": ((400, "Throttling"), "InternalError", (403, "AuthorizationError")),
    "": ((400, "ThrottlingException"), "InternalFailure", (400, "AccessDeniedException")),
}
_CONTENT_TYPES = {"json": b"application/x-amz-json-1.1", "query": b"text/xml", "s3": b"application/xml"}


def _refusal(request: Request, kind: Literal["throttle", "error", "deny"], dice: random.Random) -> _Answer:
    throttled, failed, denied = _CODES.get(request.service, _CODES[""])
    errors = {"throttle": throttled, "deny": denied}
    status, code = errors.get(kind) or dice.choice([(500, failed), (503, "ServiceUnavailable")])
    message = f"injected: {kind}"
    headers = [(b"content-type", _CONTENT_TYPES[request.form]), (b"x-amzn-requestid", b"injected")]
    if request.form == "json":
        headers.append((b"x-amzn-errortype", code.encode()))
        return _Answer.whole(status, headers, msgspec.json.encode({"__type": code, "message": message}))
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    if request.form == "s3":
        text = f"<Error>{error}<RequestId>injected</RequestId></Error>"
    else:
        sender = "Sender" if status < http.HTTPStatus.INTERNAL_SERVER_ERROR else "Receiver"
        text = (
            f"<ErrorResponse><Error><Type>{sender}</Type>{error}</Error><RequestId>injected</RequestId></ErrorResponse>"
        )
    return _Answer.whole(status, headers, text.encode())


async def _receive_body(receive: ASGIReceiveCallable) -> bytes | None:
    """Read the whole body; None if the client left before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


async def _send(send: ASGISendCallable, answer: _Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


async def _send_part(send: ASGISendCallable, answer: _Answer) -> None:
    if answer.body:  # the head alone would be a whole answer otherwise
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
    await _drop(send)


async def _drop(send: ASGISendCallable) -> None:
    """Close the connection (HTTP/1.1) or reset the stream (HTTP/2) where it is.

    ASGI has no word for it, so this reaches behind the server's `send` (hypercorn's issue 313).
    """
    stream: Any = send.__self__  # type: ignore[attr-defined]  # a bound method, which its type does not tell
    if stream.closed:
        return  # the client has left already
    protocol = stream.send.__self__
    if stream.scope["http_version"] == "2":
        with suppress(KeyError, h2.exceptions.ProtocolError):  # the client has said that it closes the connection
            await protocol.stream_buffers[stream.stream_id].drain()
            protocol.connection.reset_stream(stream.stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
        await protocol.send(RawData(protocol.connection.data_to_send()))
    await stream.send(StreamClosed(stream.stream_id))


def main(arguments: list[str]) -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.faulty_proxy", description="A proxy that injects faults."
    )
    parser.add_argument("--upstream", required=True, help="the URL of the AWS behind it")
    parser.add_argument("--kinesis", help="another URL for Kinesis alone")
    parser.add_argument("--seed", type=int, default=0, help="what the order of the decisions follows from")
    parser.add_argument("--timeout-seconds", type=float, default=20, help="how long a timeout is silent")
    parser.add_argument("--record", action="store_true", help="remember who called what")
    options = parser.parse_args(arguments)
    options.kinesis = options.kinesis or options.upstream
    asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "ERROR"
    config.include_date_header = config.include_server_header = False  # the answers have them
    config.keep_alive_timeout = 3600
    config.keep_alive_max_requests = sys.maxsize  # only faults close connections
    parent = os.getppid()
    async with aiohttp.ClientSession(
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    ) as session:
        print(url, flush=True)  # noqa: T201  (how the parent learns the port)
        await serve(_Proxy(options, session), config, mode="asgi", shutdown_trigger=lambda: _end_with(parent))


async def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(_PARENT_CHECK_SECONDS)
    os._exit(0)  # at once, as SIGTERM does: the server's own way waits for connections, and was seen to wait very long


if __name__ == "__main__":
    main(sys.argv[1:])
