"""BatchWriteItem, signed by botocore and sent by urllib3: what a client does in between takes most of a call's time.

Only a complete and plain answer counts. After anything else the client makes the call again, so that errors, throttling
and credentials are dealt with in one place; writing the same items twice does no harm.
"""

from binascii import crc32
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec
from botocore.awsrequest import AWSRequest
from botocore.httpsession import create_urllib3_context, get_cert_path
from botocore.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, PoolManager, Timeout

_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "User-Agent": "tickertape",
    "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
}


class _Answer(msgspec.Struct, rename={"unprocessed": "UnprocessedItems"}):
    unprocessed: dict[str, list[msgspec.Raw]]


_read = msgspec.json.Decoder(_Answer).decode


class Shortcut:
    """A DynamoDB client's way to its endpoint, with its credentials and certificates; closed where there is a proxy."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401  (a boto3 client)
        url, config = urlsplit(client.meta.endpoint_url), client.meta.config
        self._url, self._path = url.geturl(), url.path or "/"
        self._is_open = url.scheme not in get_environ_proxies(self._url)
        self._sign = client._request_signer.sign
        self._connections = PoolManager(
            maxsize=config.max_pool_connections,
            timeout=Timeout(connect=config.connect_timeout, read=config.read_timeout),
            ssl_context=create_urllib3_context(),
            cert_reqs="CERT_REQUIRED",
            ca_certs=get_cert_path(client._endpoint.http_session._verify),
        ).connection_from_url(self._url)

    def write(self, table: str, requests: list[str]) -> list[str]:
        """Send the JSON of write requests once; returns those that DynamoDB did not take, or may not have taken."""
        if not self._is_open:
            return requests
        try:
            answer = self._send(f'{{"RequestItems":{{"{table}":[{",".join(requests)}]}}}}'.encode())
            left = _read(_plain(answer)).unprocessed.get(table, [])
        except Exception:  # whatever it is: the client meets it too, and says what is wrong
            return requests
        return [bytes(request).decode() for request in left]

    def _send(self, body: bytes) -> BaseHTTPResponse:
        request = AWSRequest("POST", self._url, dict(_HEADERS), body)
        self._sign("BatchWriteItem", request)
        return self._connections.urlopen(
            "POST", self._path, body=body, headers=dict(request.headers), retries=False, redirect=False
        )


def _plain(answer: BaseHTTPResponse) -> bytes:
    """Give the body of an answer that is whole (urllib3 has counted its bytes) and no error."""
    checksum = answer.headers.get("x-amz-crc32")
    if answer.status != HTTPStatus.OK or checksum not in {None, str(crc32(answer.data))}:
        raise ValueError("not a plain answer")
    return answer.data
