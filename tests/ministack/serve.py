"""MiniStack on loopback, with IAM enforced.

Run by the Python of its own environment, it prints its URL on stdout and serves until it is stopped or its parent is
gone. Everything is kept in memory.
"""

import asyncio
import os
import socket
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

_PARENT_CHECK_SECONDS = 0.5


async def _serve(listener: socket.socket) -> None:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.keep_alive_timeout = 3600
    config.loglevel = "ERROR"
    # Only now, as MiniStack reads its settings from the environment when it is imported.
    import blanks  # type: ignore[import-not-found]  # it is beside this script
    from ministack.app import app

    blanks.fill()

    async def behind_tls(scope: Any, *more: Any) -> None:  # noqa: ANN401  (ASGI: it only passes them on)
        """Have requests look as if they came with TLS, without which the bucket takes nothing."""
        await app({**scope, "headers": [*scope.get("headers", ()), (b"x-forwarded-proto", b"https")]}, *more)

    parent = os.getppid()
    await serve(behind_tls, config, shutdown_trigger=lambda: _end_with(parent))


async def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(_PARENT_CHECK_SECONDS)


def main() -> None:
    """Serve."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = str(listener.getsockname()[1])
    os.environ.update(
        AUTH="true",
        GATEWAY_PORT=port,
        MINISTACK_ACCOUNT_ID="123456789012",
        AWS_ACCESS_KEY_ID="embedded",  # who may do all
        AWS_SECRET_ACCESS_KEY="embedded",  # noqa: S106  (it is on loopback, and has nothing)
        IOT_MTLS_ENABLED="0",  # a port that nobody asked for
        SFTP_ENABLED="0",  # likewise
    )
    print(f"http://127.0.0.1:{port}", flush=True)  # noqa: T201  (how the parent learns the port)
    asyncio.run(_serve(listener))


if __name__ == "__main__":
    main()
