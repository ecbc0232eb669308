"""What clients make of connections that break, with a server that breaks them."""

import socketserver
import threading
from collections.abc import Iterator

import pytest
from botocore.exceptions import IncompleteReadError

from common import aws

_ANSWERS = {
    "rows": b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"Items":[]}',
    "rows-cut-in-the-middle": b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"Items":[{"symbol":{"S":"AA',
    "refusal": b'HTTP/1.1 400 Bad Request\r\nContent-Length: 500\r\n\r\n{"__type":"ConditionalCheck',
}


class _Breaking(socketserver.StreamRequestHandler):
    """Answers with less than it promises, and hangs up."""

    answer = b""

    def handle(self) -> None:
        self.request.recv(65536)
        self.wfile.write(self.answer)


@pytest.fixture(params=list(_ANSWERS.values()), ids=list(_ANSWERS))
def _server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    handler = type("Handler", (_Breaking,), {"answer": request.param})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        }.items():
            monkeypatch.setenv(name, value)
        yield
        server.shutdown()


@pytest.mark.usefixtures("_server")
def test_an_answer_that_was_cut_off_is_none() -> None:
    """However much of an answer came, if it is not the whole it is a lost connection, and worth another try."""
    dynamodb = aws.client("dynamodb")
    aws.read_body_with(dynamodb, "Query", lambda _: {})
    with pytest.raises(IncompleteReadError) as caught:
        dynamodb.query(TableName="ticks")
    assert aws.is_retryable(caught.value)
