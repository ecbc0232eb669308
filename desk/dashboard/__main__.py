"""``tickertape dashboard``: serve the page until stopped."""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys
from dataclasses import replace

from hypercorn.asyncio import serve
from hypercorn.config import Config

from common.errors import UserError, run_command
from common.settings import read_settings
from common.telemetry import configure_logging
from desk.dashboard.app import application
from desk.dashboard.safety import App
from desk.dashboard.settings import DashboardSettings, is_loopback
from desk.system import find_system

_STOP_SECONDS = 1
_AT_A_TIME = 8
"""Requests of AWS: a page can wait a little, and each thread takes memory."""

_ARENA_MAX = -8  # of glibc's mallopt


def main(arguments: list[str]) -> int:
    """Serve until a signal; returns the exit code."""
    return run_command(lambda: _dashboard(read_settings(DashboardSettings, arguments, "dashboard")))


def _dashboard(settings: DashboardSettings) -> None:
    listener = _listen(settings.host, settings.port)
    configure_logging()
    logging.getLogger("hypercorn").setLevel(logging.ERROR)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # more connections than are kept are no matter
    system = replace(find_system(settings), at_a_time=_AT_A_TIME)
    system.dynamodb.meta  # noqa: B018  (a wrong setting is told now, not to whoever looks first)
    _spare_memory()
    token = settings.secret()
    print(_address(settings.host, listener, token), flush=True)  # noqa: T201  (the result)
    asyncio.run(_serve(application(system, token, settings.names()), listener))


def _spare_memory() -> None:
    """Have all threads share one heap, and give back what reading AWS's descriptions has taken of it."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.mallopt(_ARENA_MAX, 1)
        libc.malloc_trim(0)


def _listen(host: str, port: int) -> socket.socket:
    """Listen at an address.

    Raises
    ------
    UserError
        It is in use, or not an address of this machine.

    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise UserError(
            f"port {port} of {host} cannot be listened on ({error.strerror or error}): choose another with --port,"
            " or --port 0 for any that is free"
        ) from None
    return listener


def _address(host: str, listener: socket.socket, token: str | None) -> str:
    """Give the address to open; of a server that listens everywhere, this machine's own."""
    port = listener.getsockname()[1]
    shown = host if is_loopback(host) else "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  (not bound here)
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


async def _serve(app: App, listener: socket.socket) -> None:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn")
    config.graceful_timeout = _STOP_SECONDS
    config.include_server_header = False
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def stopped() -> None:
        await stop.wait()
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # streams that are cut off are what is wanted now

    await serve(app, config, shutdown_trigger=stopped)  # type: ignore[arg-type]  # its types are narrower than ASGI's
    os._exit(0)  # a request of AWS that is on its way would be waited for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
