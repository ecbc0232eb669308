"""BatchWriteItem, signed by botocore and sent by http.client: what a client does in between takes most of the time.

Only a complete and plain answer counts. After anything else the client makes the call again, so that errors, throttling
and credentials are dealt with in one place; writing the same items twice does no harm.
"""

import ssl
import threading
from binascii import crc32
from functools import cache
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import msgspec
from botocore.awsrequest import AWSRequest
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from urllib3.util.wait import wait_for_read

_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "User-Agent": "tickertape",
    "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
}


class _Answer(msgspec.Struct, rename={"unprocessed": "UnprocessedItems"}):
    unprocessed: dict[str, list[msgspec.Raw]]


_read = msgspec.json.Decoder(_Answer).decode


_trusting = cache(ssl.create_default_context)  # it reads all certificates


class Shortcut:
    """A DynamoDB client's way to its endpoint, with its credentials and certificates; closed where there is a proxy."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401  (a boto3 client)
        url = urlsplit(client.meta.endpoint_url)
        self._url, self._path = url.geturl(), url.path or "/"
        self._is_secure, self._netloc = url.scheme == "https", url.netloc
        self._is_open = url.scheme not in get_environ_proxies(self._url)
        self._sign = client._request_signer.sign
        self._timeout = client.meta.config.read_timeout
        self._verify = client._endpoint.http_session._verify
        self._of_thread = threading.local()
        """Each thread has a connection of its own."""

    def write(self, table: str, requests: list[str]) -> list[str]:
        """Send the JSON of write requests once; returns those that DynamoDB did not take, or may not have taken."""
        if not self._is_open:
            return requests
        try:
            answer = self._send(f'{{"RequestItems":{{"{table}":[{",".join(requests)}]}}}}'.encode())
            left = _read(answer).unprocessed.get(table, [])
        except Exception:  # whatever it is: the client meets it too, and says what is wrong
            return requests
        return [bytes(request).decode() for request in left]

    def _send(self, body: bytes) -> bytes:
        request = AWSRequest("POST", self._url, dict(_HEADERS), body)
        self._sign("BatchWriteItem", request)
        connection = self._connection()
        try:
            connection.request("POST", self._path, body, dict(request.headers))
            return _plain(connection.getresponse())
        except Exception:
            connection.close()  # the next request opens it again
            raise

    def _connection(self) -> HTTPConnection:
        own = self._of_thread
        if not hasattr(own, "connection"):
            own.connection = self._new_connection()
        connection: HTTPConnection = own.connection
        if connection.sock is not None and wait_for_read(connection.sock, 0):
            connection.close()  # there is nothing to read yet but its end: the server has closed it
        return connection

    def _new_connection(self) -> HTTPConnection:
        if not self._is_secure:
            return HTTPConnection(self._netloc, timeout=self._timeout)
        context = _trusting(cafile=get_cert_path(self._verify))
        return HTTPSConnection(self._netloc, timeout=self._timeout, context=context)


def _plain(answer: HTTPResponse) -> bytes:
    """Give the body of an answer that is whole (http.client has counted its bytes) and no error."""
    body, headers = answer.read(), answer.headers
    is_whole = headers.get("x-amz-crc32") in {None, str(crc32(body))} and "Content-Encoding" not in headers
    if answer.status != HTTPStatus.OK or not is_whole:
        raise ValueError("not a plain answer")
    return body
