"""What requests ask of AWS, in the words of IAM: who, which action, on which resource."""

from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec

from tests.chaos.requests import Request

_ACCOUNT = "123456789012"
_S3_ACTIONS = {
    ("PUT", True): "PutObject",
    ("GET", True): "GetObject",
    ("DELETE", True): "DeleteObject",
    ("HEAD", False): "ListBucket",
    ("GET", False): "ListBucket",
}
"""What our code does, by the HTTP method and whether there is a key."""


class Call(NamedTuple):
    """An action on a resource, and whose access key asked for it.

    Metrics have no resources: ``namespace`` is theirs. ``prefix`` is that of the objects that are listed.
    """

    access_key: str
    action: str
    resource: str
    namespace: str = ""
    prefix: str = ""


def calls_of(request: Request) -> set[Call]:
    """Say what a request asks for; one batch may be for several tables. What is not known here is told as it is."""
    known = _SERVICES.get(request.service)
    if known is None:
        return {Call(request.access_key, f"{request.service}:{request.operation}", request.target)}
    return {Call(request.access_key, *asked) for asked in known(request)}


def _dynamodb(request: Request) -> Iterable[tuple[str, str]]:
    said = msgspec.json.decode(request.body, type=_Dynamodb)
    arn = f"arn:aws:dynamodb:{request.region}:{_ACCOUNT}:table"
    return [(f"dynamodb:{request.operation}", f"{arn}/{table}") for table in said.request_items or [said.table_name]]


class _Dynamodb(msgspec.Struct, rename="pascal"):
    table_name: str = ""
    request_items: dict[str, msgspec.Raw] = {}


def _kinesis(request: Request) -> Iterable[tuple[str, str]]:
    said = msgspec.json.decode(request.body, type=_Kinesis)
    # GetRecords names no stream: moto's iterators begin with it.
    stream = said.stream_name or b64decode(said.shard_iterator).partition(b":")[0].decode()
    return [(f"kinesis:{request.operation}", f"arn:aws:kinesis:{request.region}:{_ACCOUNT}:stream/{stream}")]


class _Kinesis(msgspec.Struct, rename="pascal"):
    stream_name: str = ""
    shard_iterator: str = ""


def _s3(request: Request) -> Iterable[tuple[str, str, str, str]]:
    path, _, query = request.target.partition("?")
    bucket, _, key = unquote(path).strip("/").partition("/")
    action = _S3_ACTIONS.get((request.method, bool(key)), f"{request.method} {request.target}")
    (prefix,) = parse_qs(query).get("prefix", [""])
    return [(f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}".rstrip("/"), "", prefix)]


def _sns(request: Request) -> Iterable[tuple[str, str]]:
    # PublishBatch has no action of its own
    return [(f"sns:{request.operation.removesuffix('Batch')}", parse_qs(request.body.decode())["TopicArn"][0])]


def _sqs(request: Request) -> Iterable[tuple[str, str]]:
    # batches have no actions of their own
    _, account, name = msgspec.json.decode(request.body, type=_Sqs).queue_url.rsplit("/", 2)
    return [(f"sqs:{request.operation.removesuffix('Batch')}", f"arn:aws:sqs:{request.region}:{account}:{name}")]


class _Sqs(msgspec.Struct, rename="pascal"):
    queue_url: str


def _cloudwatch(request: Request) -> Iterable[tuple[str, str, str]]:
    return [(f"cloudwatch:{request.operation}", "*", parse_qs(request.body.decode())["Namespace"][0])]


_SERVICES: dict[str, Callable[[Request], Iterable[tuple[str, ...]]]] = {
    "dynamodb": _dynamodb,
    "kinesis": _kinesis,
    "monitoring": _cloudwatch,
    "s3": _s3,
    "sns": _sns,
    "sqs": _sqs,
}
