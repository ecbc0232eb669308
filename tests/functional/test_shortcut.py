"""Many items are put at once past the client: each way in which that can fail, between us and an embedded AWS."""

import json
import os
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import trustme
from urllib3.util.wait import wait_for_read

from common import aws
from common.errors import UserError
from consumer.sinks.dynamodb import BatchPutter
from consumer.sinks.shortcut import Shortcut
from tests.waiting import wait_for

SHORTCUT, CLIENT = "shortcut", "client"


class Answer(NamedTuple):
    """What DynamoDB says, or what is made of it; what has no status is a connection that ends."""

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})
    length: int | None = None
    """What the head says of it, where that is not true."""


Spoil = Callable[[Answer], Answer]


def refusal(status: int, code: str) -> Spoil:
    """An error instead of the answer."""
    return lambda _: Answer(status, json.dumps({"__type": f"com.amazonaws#{code}", "message": "no"}).encode())


def saying(body: bytes, **headers: str) -> Spoil:
    """Something else, as a success."""
    return lambda _: Answer(200, body, {name.replace("_", "-"): value for name, value in headers.items()})


def with_checksum(answer: Answer, *, off_by: int = 0) -> Answer:
    """The answer with its checksum, as DynamoDB sends it and moto does not."""
    return answer._replace(headers={"x-amz-crc32": str(zlib.crc32(answer.body) + off_by)})


class Relay(ThreadingHTTPServer):
    """Stands before an AWS and spoils answers to BatchWriteItem: the first by the first of ``spoils``, and so on."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, upstream: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.upstream = upstream
        self.spoils: list[Spoil] = []
        self.seen: list[str] = []
        """Who sent each BatchWriteItem."""
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        """Which credentials signed it."""
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def note(self, headers: Any, body: bytes) -> Spoil:  # noqa: ANN401  (a message's)
        """Remember a BatchWriteItem; gives what is to become of its answer."""
        with self._lock:
            self.seen.append(CLIENT if "amz-sdk-invocation-id" in headers else SHORTCUT)
            self.bodies.append(json.loads(body))
            self.keys.append(headers["Authorization"].split("Credential=")[1].split("/")[0])
            return self.spoils.pop(0) if self.spoils else lambda answer: answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_batch = self.headers["X-Amz-Target"].endswith(".BatchWriteItem")
        spoil = self.server.note(self.headers, body) if is_batch else lambda answer: answer
        answer = spoil(self._ask(body))
        if not answer.status:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = answer.length is not None

    def _ask(self, body: bytes) -> Answer:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        request = urllib.request.Request(self.server.upstream, body, headers)  # noqa: S310  (the embedded AWS)
        try:
            with _DIRECT.open(request) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read())

    def log_message(self, *_: object) -> None:
        pass


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The address of an embedded AWS."""
    command = [sys.executable, "-m", "infra.local.embedded_aws"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@contextmanager
def relaying(server: Relay) -> Iterator[Relay]:
    """Have a relay serve."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def relay(upstream: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay, which our clients take for DynamoDB."""
    with relaying(Relay(upstream)) as server:
        use(monkeypatch, server.url)
        yield server


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Have the clients that are made from now on talk to ``url``."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    aws._session.cache_clear()


@pytest.fixture
def table(relay: Relay, request: pytest.FixtureRequest) -> str:
    """A table of the test's own."""
    name = f"rows-{abs(hash(request.node.nodeid))}"
    aws.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "symbol", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "symbol", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def put(table: str, count: int) -> None:
    """Put so many items."""
    items = [json.dumps({"symbol": {"S": f"é{number}"}, "price": {"N": str(number)}}) for number in range(count)]
    BatchPutter(aws.client("dynamodb"), ThreadPoolExecutor(4)).put_all(table, items)


def stored(table: str) -> set[int]:
    """The numbers of the items that are there."""
    return {int(item["price"]["N"]) for item in aws.client("dynamodb").scan(TableName=table)["Items"]}


def test_the_client_is_not_asked(relay: Relay, table: str) -> None:
    """Where nothing goes wrong, all items are there and the client's machinery was not in use."""
    put(table, 130)

    assert stored(table) == set(range(130))
    assert relay.seen == [SHORTCUT] * 6


@pytest.mark.parametrize(
    "spoil",
    [
        refusal(400, "ProvisionedThroughputExceededException"),
        refusal(400, "ExpiredTokenException"),
        refusal(403, "InvalidSignatureException"),
        refusal(500, "InternalServerError"),
        refusal(503, "ServiceUnavailable"),
        lambda answer: answer._replace(status=202),
        lambda answer: answer._replace(status=307, headers={"Location": "/elsewhere"}),
        lambda answer: answer._replace(status=0),
        lambda answer: answer._replace(length=len(answer.body) + 10),
        lambda answer: answer._replace(body=answer.body[:-1]),
        lambda answer: with_checksum(answer, off_by=1),
        saying(b'{"UnprocessedItems":{}}', x_amz_crc32="none"),
        saying(b'{"UnprocessedItems":{}}', Content_Encoding="gzip"),
        saying(b"<html>Please log in to use this network</html>"),
        saying(b""),
        saying(b"{}"),
        saying(b"[]"),
        saying(b'{"UnprocessedItems":[]}'),
        saying(b'{"UnprocessedItems":null}'),
        saying(b'{"message":"no"}'),
    ],
)
def test_anything_odd_is_for_the_client(relay: Relay, table: str, spoil: Spoil) -> None:
    """Whatever else than a plain answer comes, all of the request's items are sent again by the client."""
    relay.spoils = [spoil]

    put(table, 25)

    assert stored(table) == set(range(25))
    assert relay.seen == [SHORTCUT, CLIENT]
    assert relay.bodies[0] == relay.bodies[1]


def test_a_right_checksum_is_plain(relay: Relay, table: str) -> None:
    """An answer whose checksum fits needs no other try."""
    relay.spoils = [with_checksum]

    put(table, 3)

    assert relay.seen == [SHORTCUT]


def test_what_was_not_processed_is_sent_again_and_nothing_else(relay: Relay, table: str) -> None:
    """Items that DynamoDB leaves go out again by themselves, until none is left."""

    def leaving(answer: Answer, first: int) -> Answer:
        left = relay.bodies[0]["RequestItems"][table][first:]
        return answer._replace(body=json.dumps({"UnprocessedItems": {table: left}}).encode())

    relay.spoils = [lambda answer: leaving(answer, 10), lambda answer: leaving(answer, 20)]

    put(table, 25)

    assert relay.seen == [SHORTCUT, CLIENT, CLIENT]
    assert [len(body["RequestItems"][table]) for body in relay.bodies] == [25, 15, 5]


def test_a_connection_that_was_closed_meanwhile(relay: Relay, table: str) -> None:
    """Servers close connections that nothing came on for a while: the next request opens another, and all is plain."""
    client = aws.client("dynamodb")
    shortcut = Shortcut(client)
    for _ in range(3):
        relay.spoils = [lambda answer: answer._replace(length=len(answer.body))]  # then it hangs up
        assert shortcut.write(table, ['{"PutRequest":{"Item":{"symbol":{"S":"KO"}}}}']) == []
        wait_for_read(shortcut._of_thread.connection.sock, 60)

    assert relay.seen == [SHORTCUT] * 3


def test_a_refusal_for_good_is_told(relay: Relay, table: str) -> None:
    """The client's error says what is wrong, in a person's words."""
    relay.spoils = [refusal(400, "AccessDeniedException")] * 2

    with pytest.raises(UserError, match=r"AWS refused BatchWriteItem .AccessDeniedException.: no - grant this action"):
        put(table, 1)

    assert relay.seen == [SHORTCUT, CLIENT]


def test_a_server_that_comes_late(
    upstream: str, table: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody listens, the items wait until somebody does."""
    with relaying(Relay(upstream)) as gone:
        pass
    use(monkeypatch, gone.url)
    with ThreadPoolExecutor(1) as other:
        putting = other.submit(put, table, 60)
        wait_for(lambda: "aws_retry" in caplog.text)
        with relaying(Relay(upstream, gone.server_port)) as late:
            putting.result(timeout=60)
            assert stored(table) == set(range(60))
            assert set(late.seen) == {CLIENT}


def test_credentials_that_run_out_are_renewed(
    relay: Relay, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request is signed with credentials that are valid then: here they never are for long."""
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    made = tmp_path / "made"
    script = tmp_path / "credentials.sh"
    script.write_text(
        f'echo >> "{made}"\n'
        f'echo "{{\\"Version\\": 1, \\"AccessKeyId\\": \\"KEY$(wc -l < "{made}" | tr -d " ")\\", '
        f'\\"SecretAccessKey\\": \\"x\\", \\"SessionToken\\": \\"t\\", \\"Expiration\\": \\"{soon}\\"}}"\n'
    )
    (tmp_path / "config").write_text(f"[default]\ncredential_process = sh {script}\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    aws._session.cache_clear()
    putter = BatchPutter(aws.client("dynamodb"), ThreadPoolExecutor(1))

    for _ in range(3):
        putter.put_all(table, ['{"symbol":{"S":"KO"}}'])

    assert relay.seen == [SHORTCUT] * 3
    assert len(set(relay.keys)) == 3


def test_a_proxy_is_the_clients_business(relay: Relay, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the endpoint is reached through a proxy, the client alone makes the calls."""
    use(monkeypatch, "http://dynamodb.example")
    monkeypatch.setenv("HTTP_PROXY", relay.url)

    put(table, 30)

    assert relay.seen == [CLIENT] * 2
    assert stored(table) == set(range(30))


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_must_be_trusted(
    relay: Relay, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool
) -> None:
    """Nothing is told to a server whose certificate is not of an authority that the client trusts."""
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    relay.socket = context.wrap_socket(relay.socket, server_side=True, do_handshake_on_connect=False)
    bundle = tmp_path / "bundle.pem"
    (authority if trusted else other).cert_pem.write_to_path(str(bundle))
    use(monkeypatch, relay.url.replace("http:", "https:"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    aws._session.cache_clear()
    putter = BatchPutter(aws.client("dynamodb"), ThreadPoolExecutor(1))
    request = '{"PutRequest":{"Item":{"symbol":{"S":"KO"}}}}'

    assert putter._shortcut.write(table, [request]) == ([] if trusted else [request])
    assert relay.seen == ([SHORTCUT] if trusted else [])


def test_clients_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way is the client's own: endpoints by FIPS 140, of both IP versions, in other partitions."""
    for setting, url in (
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "https://dynamodb-fips.us-east-1.amazonaws.com"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://dynamodb.us-east-1.api.aws"),
        ({"AWS_REGION": "cn-north-1"}, "https://dynamodb.cn-north-1.amazonaws.com.cn"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "http://localhost:1/path"}, "http://localhost:1/path"),
    ):
        with monkeypatch.context() as patch:
            use(patch, "")
            patch.delenv("AWS_ENDPOINT_URL")
            for name, value in setting.items():
                patch.setenv(name, value)
            assert BatchPutter(aws.client("dynamodb"), ThreadPoolExecutor(1))._shortcut._url == url
    assert os.environ.get("AWS_USE_FIPS_ENDPOINT") is None
