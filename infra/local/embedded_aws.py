"""An AWS in one process, on loopback by default: moto's services behind a server that speaks HTTP/1.1 and HTTP/2.

``python -m infra.local.embedded_aws [--port N]`` prints its URL on stdout and serves until it is stopped or its parent
is gone. Everything is kept in memory; with ``--keep FILE`` it is there again at the next start.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypercorn.app_wrappers import WSGIWrapper
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from common.errors import UserError
from infra.local import faster_moto, kept_state

_LARGEST_REQUEST_BYTES = 64 * 1024 * 1024
_PARENT_CHECK_SECONDS = 0.5


def main(arguments: list[str]) -> int:
    """Serve until stopped; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.embedded_aws", description="An AWS in memory.")
    parser.add_argument("--host", default="127.0.0.1", help="the IPv4 address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    parser.add_argument("--keep", type=Path, help="a file that keeps all but queues until the next start")
    options = parser.parse_args(arguments)
    try:
        listener = _listen(options.host, options.port)
    except UserError as error:
        sys.stderr.write(f"tickertape: {error}\n")
        return error.exit_code
    logging.disable()  # moto and its web framework would tell every request,
    warnings.simplefilter("ignore")  # and which resources of the stack it passes over
    faster_moto.apply()
    if options.keep:
        kept_state.load(options.keep)
    asyncio.run(_serve(listener))
    if options.keep:
        kept_state.save(options.keep)
    return 0


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(
            f"port {port} of {host} cannot be listened on ({getattr(error, 'strerror', None) or error}): "
            "choose another with --port, or leave it out for any that is free"
        ) from None
    return listener


async def _serve(listener: socket.socket) -> None:
    config = Config()
    host, port = listener.getsockname()
    url = f"http://{host}:{port}"
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.2
    config.keep_alive_timeout = 3600
    config.keep_alive_max_requests = sys.maxsize  # closing a connection fails the requests that are on their way
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    watch = asyncio.create_task(_stop_without_parent(os.getppid(), stop))
    print(url, flush=True)  # noqa: T201  (how the parent learns the port)
    await serve(_application(), config, mode="asgi", shutdown_trigger=stop.wait)
    watch.cancel()


def _application() -> ASGIFramework:
    """Answer requests one at a time, as moto's stores need it, where they are read.

    hypercorn would hand each to a thread, and wait for it at each part of the answer: that takes longer than to answer.
    """
    wsgi = WSGIWrapper(_moto(), _LARGEST_REQUEST_BYTES)

    async def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        parts: list[Any] = []

        async def gather(part: Any) -> None:  # noqa: ANN401  (hypercorn's events)
            parts.append(part)

        async def call(run: Callable[..., None], environ: dict[str, Any], _: object) -> None:
            run(environ, parts.append)

        await wsgi(scope, receive, gather, call, lambda *_: None)
        if parts:
            head, *bodies = parts
            await send(head)
            body = b"".join(part["body"] for part in bodies)
            await send({"type": "http.response.body", "body": body, "more_body": False})

    return answer


def _moto() -> Callable[..., list[bytes]]:
    moto = DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        # hypercorn sends no head before the first part of a body: an answer to HEAD has none, so give it an empty one
        return list(moto(environ, start_response)) or [b""]

    return answer


async def _stop_without_parent(parent: int, stop: asyncio.Event) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(_PARENT_CHECK_SECONDS)
    stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
