"""GetObject, signed and sent by botocore's parts: what a client does in between takes half of a call's time.

Only a plain answer counts. After anything else the client makes the call again, so that errors, throttling, credentials
and buckets in other regions are dealt with in one place.
"""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, HTTPClientError

_ANY = "any"


class Download:
    """An S3 client's way to the objects of a bucket, with its credentials, certificates and proxies."""

    def __init__(self, client: Any, bucket: str) -> None:  # noqa: ANN401  (a boto3 client)
        self._client = client
        self._bucket = bucket
        self._address: str | None = None

    def __call__(self, key: str) -> bytes | None:
        """Read an object; None if that does not succeed at once."""
        try:
            request = AWSRequest("GET", self._base() + quote(key, safe="/=-._~"), {"User-Agent": "tickertape"})
            self._client._request_signer.sign("GetObject", request)
            answer = self._client._endpoint.http_session.send(request.prepare())
        except (BotoCoreError, HTTPClientError):
            return None
        content: bytes = answer.content
        is_whole = answer.headers.get("content-length") == str(len(content))  # botocore takes what there is
        return content if is_whole and answer.status_code == HTTPStatus.OK else None

    def _base(self) -> str:
        """Give the address of the bucket, which the client alone knows how to find."""
        if self._address is None:
            signed = self._client.generate_presigned_url("get_object", Params={"Bucket": self._bucket, "Key": _ANY})
            self._address = urlsplit(signed)._replace(query="").geturl().removesuffix(_ANY)
        return self._address
