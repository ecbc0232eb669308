"""The embedded AWS as a process: its protocols, its life, and that what was made faster still answers the same."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from moto.kinesis.models import Shard

from common import aws
from infra.local import faster_moto
from infra.local.stack import deploy, use_endpoint
from infra.local.stores import Stores

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "infra.local.embedded_aws"]
SYMBOLS = {"AAPL": 7, "KO": 25, "XOM": 1}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An embedded AWS that the module's tests share, and that this process's clients talk to."""
    before = dict(os.environ)
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        use_endpoint(address)
        yield address
        os.environ.clear()
        os.environ.update(before)
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture(scope="module")
def table(url: str) -> str:
    """A table of some symbols' rows, written out of order."""
    dynamodb = aws.client("dynamodb")
    dynamodb.create_table(
        TableName="rows",
        KeySchema=[
            {"AttributeName": "symbol", "KeyType": "HASH"},
            {"AttributeName": "timestamp", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "symbol", "AttributeType": "S"},
            {"AttributeName": "timestamp", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for symbol, count in SYMBOLS.items():
        for number in reversed(range(count)):
            dynamodb.put_item(TableName="rows", Item=_row(symbol, number))
    return "rows"


def test_speaks_http_1(url: str) -> None:
    """Boto3 gets its answers over HTTP/1.1."""
    aws.client("s3").create_bucket(Bucket="bucket")
    answer = aws.client("s3").head_bucket(Bucket="bucket")
    assert url.startswith("http://127.0.0.1:")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_speaks_http_2_with_prior_knowledge(url: str) -> None:
    """A client that begins with HTTP/2, as the KCL's does, is answered in HTTP/2."""
    status, body = _http2_post(url, target="Kinesis_20131202.ListStreams", body=b"{}")
    assert status == "200"
    assert b"StreamNames" in body


def test_port_in_use_is_said_in_one_line(url: str) -> None:
    """A port that is taken is one line on stderr and exit code 1."""
    port = url.rpartition(":")[2]
    result = subprocess.run(
        [*COMMAND, "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert f"port {port}" in result.stderr


def test_what_is_kept_is_there_at_the_next_start(tmp_path: Path, url: str) -> None:
    """With --keep, stack, records, rows, objects and subscriptions outlive the process; a queue is created anew."""
    with _kept(tmp_path / "state", url):
        stack = deploy(1)
        aws.client("kinesis").put_record(StreamName=stack.stream, Data=b"x", PartitionKey="KO")
        item = {"symbol": {"S": "KO"}, "timestamp": {"S": "now"}}
        aws.client("dynamodb").put_item(TableName=stack.ticks_table, Item=item)
        aws.client("s3").put_object(Bucket=stack.archive_bucket, Key="a/b", Body=b"object")
    with _kept(tmp_path / "state", url):
        stores = Stores(deploy(1), "application")
        assert list(stores.ticks()) == [{"symbol": "KO", "timestamp": "now"}]
        assert stores.object_bytes("a/b") == b"object"
        shard = {"StreamName": stack.stream, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
        iterator = aws.client("kinesis").get_shard_iterator(**shard)["ShardIterator"]
        records = aws.client("kinesis").get_records(ShardIterator=iterator)["Records"]
        assert [record["Data"] for record in records] == [b"x"]
        aws.client("sns").publish(TopicArn=stack.alert_topic_arn, Message='{"symbol": "KO"}')
        assert stores.take_messages() == [{"symbol": "KO"}]


@contextmanager
def _kept(file: Path, other: str) -> Iterator[None]:
    """One that keeps its state, to talk to instead of the other."""
    command = [*COMMAND, "--host", "127.0.0.1", "--keep", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        use_endpoint(process.stdout.readline().strip())
        try:
            yield
        finally:
            use_endpoint(other)
            process.terminate()
        assert process.wait(10) == 0


def test_ends_when_its_parent_is_killed() -> None:
    """Nothing listens any more soon after the process that started it was killed."""
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({COMMAND!r})"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    port = int(parent.stdout.readline().rpartition(":")[2])
    assert _listens(port)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while _listens(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _listens(port)
    parent.stdout.close()


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("limit", [1, 7, 25, 100])
def test_query_pages_are_complete_and_in_order(table: str, limit: int, forward: bool) -> None:
    """The pages of a query, put together, are all rows of the symbol in the order asked for."""
    rows = _all(
        "query",
        TableName=table,
        Limit=limit,
        ScanIndexForward=forward,
        KeyConditionExpression="symbol = :symbol",
        ExpressionAttributeValues={":symbol": {"S": "KO"}},
    )
    expected = [_row("KO", number) for number in range(SYMBOLS["KO"])]
    assert rows == (expected if forward else expected[::-1])


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        ("#t < :a", range(5)),
        ("#t <= :a", range(6)),
        ("#t > :a", range(6, 25)),
        ("#t >= :a", range(5, 25)),
        ("#t = :a", range(5, 6)),
        ("#t BETWEEN :a AND :b", range(5, 9)),
        ("begins_with(#t, :a)", range(5, 6)),
    ],
)
def test_query_conditions_keep_what_they_say(table: str, condition: str, numbers: range) -> None:
    """A condition on the timestamp gives exactly the rows that meet it, the newest first, page by page."""
    values = {":symbol": {"S": "KO"}, ":a": {"S": _timestamp(5)}, ":b": {"S": _timestamp(8)}}
    if ":b" not in condition:
        del values[":b"]
    rows = _all(
        "query",
        TableName=table,
        Limit=2,
        ScanIndexForward=False,
        KeyConditionExpression=f"symbol = :symbol AND {condition}",
        ExpressionAttributeNames={"#t": "timestamp"},
        ExpressionAttributeValues=values,
    )
    assert rows == [_row("KO", number) for number in reversed(numbers)]


@pytest.mark.parametrize("limit", [1, 4, 1000])
def test_scan_pages_are_complete(table: str, limit: int) -> None:
    """The pages of a scan, put together, are the whole table, each row once."""
    rows = _all("scan", TableName=table, Limit=limit)
    assert rows == [_row(symbol, number) for symbol, count in SYMBOLS.items() for number in range(count)]


def test_condition_refuses_a_second_put(table: str) -> None:
    """A conditional put of a row that is there is refused and changes nothing."""
    dynamodb = aws.client("dynamodb")
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(
            TableName=table,
            Item=_row("XOM", 0) | {"price": {"N": "2"}},
            ConditionExpression="attribute_not_exists(symbol)",
        )
    key = {name: _row("XOM", 0)[name] for name in ("symbol", "timestamp")}
    assert dynamodb.get_item(TableName=table, Key=key)["Item"] == _row("XOM", 0)


def test_items_that_are_too_large_are_refused(table: str) -> None:
    """An item of more than 400 KB is refused, although its size is only measured once."""
    dynamodb = aws.client("dynamodb")
    with pytest.raises(dynamodb.exceptions.ClientError, match="size"):
        dynamodb.put_item(TableName=table, Item=_row("BIG", 0) | {"note": {"S": "x" * 410_000}})


def test_records_are_read_once_each_and_in_order(url: str) -> None:
    """GetRecords gives what PutRecords took, page by page, and says at the end that nothing is left."""
    kinesis = aws.client("kinesis")
    kinesis.create_stream(StreamName="records", ShardCount=1)
    sent = [{"Data": f"record {number}".encode(), "PartitionKey": "key"} for number in range(10)]
    answer = kinesis.put_records(StreamName="records", Records=sent)
    iterator = kinesis.get_shard_iterator(
        StreamName="records", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    received = []
    for _ in range(5):
        page = kinesis.get_records(ShardIterator=iterator, Limit=4)
        received += page["Records"]
        iterator = page["NextShardIterator"]
    assert [record["Data"] for record in received] == [record["Data"] for record in sent]
    assert [record["SequenceNumber"] for record in received] == [
        record["SequenceNumber"] for record in answer["Records"]
    ]
    assert page["MillisBehindLatest"] == 0


def test_an_answer_has_no_more_than_kinesis_gives(url: str) -> None:
    """10 MiB of records at a time, however many are asked for, and the next answer goes on behind them."""
    kinesis = aws.client("kinesis")
    kinesis.create_stream(StreamName="large", ShardCount=1)
    for number in range(11):
        kinesis.put_record(StreamName="large", Data=bytes([number]) * 1024 * 1024, PartitionKey="key")
    iterator = kinesis.get_shard_iterator(
        StreamName="large", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    first = kinesis.get_records(ShardIterator=iterator)
    second = kinesis.get_records(ShardIterator=first["NextShardIterator"])
    assert [record["Data"][0] for record in first["Records"]] == list(range(10))
    assert [record["Data"][0] for record in second["Records"]] == [10]


def _timestamp(number: int) -> str:
    return f"2026-01-02T00:00:{number:02}.000000Z"


def _row(symbol: str, number: int) -> dict[str, dict[str, Any]]:
    return {
        "symbol": {"S": symbol},
        "timestamp": {"S": _timestamp(number)},
        "price": {"N": "1.000000001"},
        "anomalies": {"SS": ["z_score"]},
        "late": {"BOOL": True},
    }


def _all(operation: str, **request: Any) -> list[dict[str, Any]]:  # noqa: ANN401  (a request's parameters)
    call = getattr(aws.client("dynamodb"), operation)
    rows: list[dict[str, Any]] = []
    while True:
        page = call(**request)
        rows += page["Items"]
        assert len(page["Items"]) <= request["Limit"]
        if "LastEvaluatedKey" not in page:
            return rows
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _http2_post(url: str, *, target: str, body: bytes) -> tuple[str, bytes]:
    port = int(url.rpartition(":")[2])
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        connection.initiate_connection()
        credential = "AWS4-HMAC-SHA256 Credential=embedded/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host"
        headers = [
            (":method", "POST"),
            (":path", "/"),
            (":scheme", "http"),
            (":authority", f"127.0.0.1:{port}"),
            ("content-type", "application/x-amz-json-1.1"),
            ("content-length", str(len(body))),
            ("x-amz-target", target),
            ("authorization", f"{credential}, Signature=none"),
        ]
        connection.send_headers(1, headers)
        connection.send_data(1, body, end_stream=True)
        client.sendall(connection.data_to_send())
        status, received = "", b""
        while True:
            for event in connection.receive_data(client.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    status = str(dict(event.headers).get(":status"))  # type: ignore[call-overload]  # header_encoding makes strings
                elif isinstance(event, h2.events.DataReceived):
                    received += event.data or b""
                elif isinstance(event, h2.events.StreamEnded):
                    return status, received


def test_threads_put_into_a_shard_one_after_the_other() -> None:
    """In a test's own process moto is called by several threads, and would give two records one number."""
    faster_moto.apply_to_threads()
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        shard = Shard(0, 0, 2**128 - 1)
        threads = [threading.Thread(target=_put_many, args=(shard,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual)
    assert list(shard.records) == list(range(1, 8001))


def _put_many(shard: Shard) -> None:
    for _ in range(1000):
        shard.put_record("KO", "", "")
