"""A service that takes messages over HTTP, as people's chats do, and misbehaves as it is told."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Taken(NamedTuple):
    """A message that was taken: when, at which path, and what it says."""

    at: float
    path: str
    title: str
    text: str


class Chat(ThreadingHTTPServer):
    """Takes what apprise sends to webhooks (json://) and to ntfy.

    ``faults`` says by path what the answer is instead of 200: a status, or 0 for hanging up. ``latency`` says by path
    how many seconds an answer takes; a message is taken before that. All of it may be changed at any time.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: dict[str, int] = {}
        self.latency: dict[str, float] = {}
        self.taken: list[Taken] = []
        self.refused: Counter[str] = Counter()
        """By path."""

    @property
    def host(self) -> str:
        """Host and port, as they stand in a URL."""
        return f"127.0.0.1:{self.server_port}"

    def lines(self, path: str) -> list[str]:
        """What was taken at a path, line by line: each is an alert."""
        return [line for taken in list(self.taken) if taken.path == path for line in taken.text.splitlines()]


def line(of: Mapping[str, str]) -> str:
    """How people read an alert."""
    return f"[{of['severity']}] {of['message']} {of['timestamp'][:19].replace('T', ' ')} UTC"


@contextmanager
def running_chat() -> Iterator[Chat]:
    """Have one on loopback."""
    with Chat() as chat:
        threading.Thread(target=chat.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield chat
        chat.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        """Take a message, or not."""
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = f"/{payload['topic']}" if "topic" in payload else self.path  # ntfy names it in the body
        fault = self.server.faults.get(path)
        if fault is None:
            self.server.taken.append(Taken(time.monotonic(), path, payload.get("title", ""), payload["message"]))
        else:
            self.server.refused[path] += 1
        time.sleep(self.server.latency.get(path, 0))
        if fault != 0:
            self.send_response(fault or 200)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""
