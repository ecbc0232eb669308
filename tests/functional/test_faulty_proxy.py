"""The proxy that injects faults, in front of the embedded AWS: boto3 sees what a real AWS or network would show it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError, ResponseStreamingError
from botocore.parsers import ResponseParserError

from tests.chaos.faulty_proxy import Fault, FaultyProxy, Kind
from tests.integration.processes import is_open

SERVICES = ("dynamodb", "kinesis", "s3", "sns")
SILENCE_SECONDS = 1.0
BIG = random.Random(1).randbytes(5 * 1024 * 1024)


class Aws:
    """Clients at one address, and a write of each service."""

    def __init__(self, url: str, read_timeout: float = 15) -> None:
        session = boto3.Session("embedded", "embedded", region_name="us-east-1")
        config = Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout)

        def client(service: str) -> Any:  # noqa: ANN401  (boto3 makes clients' types at run time)
            return session.client(service, endpoint_url=url, config=config)  # type: ignore[call-overload]  # as above

        self.dynamodb, self.kinesis, self.s3, self.sns = map(client, SERVICES)
        self.sqs = client("sqs")

    def write(self, service: str, name: str) -> Any:  # noqa: ANN401  (the answer, as boto3 gives it)
        """Write something with this name."""
        calls: dict[str, Callable[[], object]] = {
            "dynamodb": lambda: self.dynamodb.put_item(
                TableName="rows", Item={"name": {"S": name}}, ReturnConsumedCapacity="TOTAL"
            ),
            "kinesis": lambda: self.kinesis.put_record(StreamName="stream", Data=name, PartitionKey=name),
            "s3": lambda: self.s3.put_object(Bucket="bucket", Key=name, Body=name.encode()),
            "sns": lambda: self.sns.publish(TopicArn=TOPIC, Message=name),
        }
        return calls[service]()

    def written(self, service: str) -> Counter[str]:
        """Count what was written, by its name; what SNS published is counted once."""
        if service == "dynamodb":
            return Counter(item["name"]["S"] for item in self.dynamodb.scan(TableName="rows")["Items"])
        if service == "kinesis":
            iterator = self.kinesis.get_shard_iterator(
                StreamName="stream", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            return Counter(record["Data"].decode() for record in self._records(iterator))
        if service == "s3":
            return Counter(entry["Key"] for entry in self.s3.list_objects_v2(Bucket="bucket").get("Contents", []))
        return Counter(json.loads(message["Body"])["Message"] for message in self._messages())

    def _records(self, iterator: str) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = self.kinesis.get_records(ShardIterator=iterator)["Records"]
        return records

    def _messages(self) -> Iterator[dict[str, Any]]:
        url = self.sqs.get_queue_url(QueueName="queue")["QueueUrl"]
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                yield message


TOPIC = "arn:aws:sns:us-east-1:123456789012:topic"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of an embedded AWS with a table, a stream, a bucket and a topic whose messages a queue gets."""
    with subprocess.Popen(
        [sys.executable, "-m", "infra.local.embedded_aws"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        aws = Aws(address)
        aws.dynamodb.create_table(
            TableName="rows",
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        aws.kinesis.create_stream(StreamName="stream", ShardCount=1)
        aws.s3.create_bucket(Bucket="bucket")
        assert aws.sns.create_topic(Name="topic")["TopicArn"] == TOPIC
        aws.sqs.create_queue(QueueName="queue")
        aws.sns.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:queue")
        yield address
        process.terminate()


@pytest.fixture(scope="module")
def direct(url: str) -> Aws:
    """Clients of the AWS itself."""
    return Aws(url)


@pytest.fixture(scope="module")
def started(url: str) -> Iterator[FaultyProxy]:
    """A proxy that the module's tests share."""
    with FaultyProxy(url, timeout_seconds=SILENCE_SECONDS) as proxy:
        yield proxy


@pytest.fixture
def proxy(started: FaultyProxy) -> FaultyProxy:
    """The proxy without faults."""
    started.inject()
    return started


@pytest.fixture
def proxied(proxy: FaultyProxy) -> Aws:
    """Clients of the proxy."""
    return Aws(proxy.url)


@pytest.mark.parametrize("service", SERVICES)
def test_passes_everything_on(direct: Aws, proxied: Aws, service: str) -> None:
    """Answers through the proxy are those that come without it, down to the headers."""
    for name in ("one", "two"):
        assert _shape(proxied.write(service, name)) == _shape(direct.write(service, name))
    reads: dict[str, Callable[[Aws], Any]] = {
        "dynamodb": lambda aws: aws.dynamodb.scan(TableName="rows"),
        "kinesis": lambda aws: aws.kinesis.describe_stream_summary(StreamName="stream"),
        "s3": lambda aws: aws.s3.head_object(Bucket="bucket", Key="one"),
        "sns": lambda aws: aws.sns.list_subscriptions(),
    }
    ours, theirs = reads[service](proxied), reads[service](direct)
    assert _shape(ours) == _shape(theirs)
    assert {**ours, "ResponseMetadata": 0} == {**theirs, "ResponseMetadata": 0}


def test_remembers_who_called_what(url: str) -> None:
    """Each call is told once, with the caller, the action and the resource that a policy would have to name."""
    with FaultyProxy(url, record=True) as proxy:
        aws = Aws(proxy.url)
        for service in (*SERVICES, "dynamodb"):
            aws.write(service, "three")
        aws.written("kinesis")
        aws.dynamodb.batch_write_item(RequestItems={"rows": [{"DeleteRequest": {"Key": {"name": {"S": "three"}}}}]})
        aws.s3.head_bucket(Bucket="bucket")
        assert {call[1:3] for call in proxy.calls() if call.access_key == "embedded"} == {
            ("dynamodb:PutItem", "arn:aws:dynamodb:us-east-1:123456789012:table/rows"),
            ("dynamodb:BatchWriteItem", "arn:aws:dynamodb:us-east-1:123456789012:table/rows"),
            ("kinesis:PutRecord", "arn:aws:kinesis:us-east-1:123456789012:stream/stream"),
            ("kinesis:GetShardIterator", "arn:aws:kinesis:us-east-1:123456789012:stream/stream"),
            ("kinesis:GetRecords", "arn:aws:kinesis:us-east-1:123456789012:stream/stream"),
            ("s3:PutObject", "arn:aws:s3:::bucket/three"),
            ("s3:ListBucket", "arn:aws:s3:::bucket"),
            ("sns:Publish", TOPIC),
        }


def test_passes_five_megabytes_on(direct: Aws, proxied: Aws) -> None:
    """A large object is the same after it went through the proxy, both ways, and its head tells its length."""
    proxied.s3.put_object(Bucket="bucket", Key="big", Body=BIG)
    assert direct.s3.get_object(Bucket="bucket", Key="big")["Body"].read() == BIG
    assert proxied.s3.get_object(Bucket="bucket", Key="big")["Body"].read() == BIG
    assert proxied.s3.head_object(Bucket="bucket", Key="big")["ContentLength"] == len(BIG)
    proxied.s3.delete_object(Bucket="bucket", Key="big")
    with pytest.raises(ClientError, match="404"):
        proxied.s3.head_object(Bucket="bucket", Key="big")


@pytest.mark.parametrize(
    ("service", "kind", "expected"),
    [
        ("dynamodb", "throttle", {(400, "ProvisionedThroughputExceededException")}),
        ("kinesis", "throttle", {(400, "ProvisionedThroughputExceededException")}),
        ("s3", "throttle", {(503, "SlowDown")}),
        ("sns", "throttle", {(400, "Throttling")}),
        ("dynamodb", "error", {(500, "InternalServerError"), (503, "ServiceUnavailable")}),
        ("kinesis", "error", {(500, "InternalFailure"), (503, "ServiceUnavailable")}),
        ("s3", "error", {(500, "InternalError"), (503, "ServiceUnavailable")}),
        ("sns", "error", {(500, "InternalError"), (503, "ServiceUnavailable")}),
        ("dynamodb", "deny", {(400, "AccessDeniedException")}),
        ("kinesis", "deny", {(400, "AccessDeniedException")}),
        ("s3", "deny", {(403, "AccessDenied")}),
        ("sns", "deny", {(403, "AuthorizationError")}),
    ],
)
def test_refuses_as_the_service_does(
    proxy: FaultyProxy, direct: Aws, proxied: Aws, service: str, kind: Kind, expected: set[tuple[int, str]]
) -> None:
    """An injected error is one that the service has, in its form, and nothing is written."""
    proxy.inject(Fault(kind))
    seen, name = set(), f"refused-{kind}"
    for _ in range(20):
        with pytest.raises(ClientError) as caught:
            proxied.write(service, name)
        assert "injected" in caught.value.response["Error"]["Message"]
        seen.add((caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]))
    assert seen == expected
    assert name not in direct.written(service)


@pytest.mark.parametrize("service", SERVICES)
def test_reset_writes_nothing(proxy: FaultyProxy, direct: Aws, proxied: Aws, service: str) -> None:
    """A reset request finds its connection closed, and is not acted on."""
    proxy.inject(Fault("reset"))
    with pytest.raises(ConnectionClosedError):
        proxied.write(service, "reset")
    assert "reset" not in direct.written(service)


@pytest.mark.parametrize(
    ("service", "error"),
    [("dynamodb", None), ("kinesis", None), ("s3", ConnectionClosedError), ("sns", ResponseParserError)],
)
def test_reset_after_has_written(
    proxy: FaultyProxy, direct: Aws, proxied: Aws, service: str, error: type[Exception] | None
) -> None:
    """A request that is reset after it was acted on gives no answer, and what it wrote is there, once."""
    proxy.inject(Fault("reset_after"))
    if error is None:  # botocore does not compare lengths, and takes JSON that is cut off for an empty answer
        assert proxied.write(service, "acted on").keys() == {"ResponseMetadata"}
    else:
        with pytest.raises(error):
            proxied.write(service, "acted on")
    assert direct.written(service)["acted on"] == 1


def test_reset_after_cuts_an_object_short(proxy: FaultyProxy, direct: Aws, proxied: Aws) -> None:
    """An object's body breaks off in the middle instead of looking whole."""
    direct.s3.put_object(Bucket="bucket", Key="long", Body=BIG[:100_000])
    proxy.inject(Fault("reset_after"))
    body = proxied.s3.get_object(Bucket="bucket", Key="long")["Body"]
    with pytest.raises(ResponseStreamingError):
        body.read()


def test_timeout_is_silent_and_then_drops(proxy: FaultyProxy, direct: Aws, proxied: Aws) -> None:
    """A timed out request is answered by nothing, then by a closed connection, and is not acted on."""
    proxy.inject(Fault("timeout"))
    with pytest.raises(ReadTimeoutError):
        Aws(proxy.url, read_timeout=0.2).write("kinesis", "timed out")
    start = time.monotonic()
    with pytest.raises(ConnectionClosedError):
        proxied.write("dynamodb", "timed out")
    assert time.monotonic() - start >= SILENCE_SECONDS
    assert "timed out" not in direct.written("kinesis") + direct.written("dynamodb")


def test_partly_put_records(proxy: FaultyProxy, direct: Aws, proxied: Aws) -> None:
    """Sending the records again that failed, found by their places, ends with each in the stream once."""
    proxy.inject(Fault("partial"))
    waiting = [f"record {number}" for number in range(100)]
    everything, sizes = list(waiting), []
    while waiting:
        sizes.append(len(waiting))
        answer = proxied.kinesis.put_records(
            StreamName="stream", Records=[{"Data": name, "PartitionKey": "key"} for name in waiting]
        )
        results = answer["Records"]
        assert len(results) == len(waiting)
        assert answer["FailedRecordCount"] == sum("ErrorCode" in result for result in results)
        if len(waiting) == 1:
            proxy.inject()
        waiting = [name for name, result in zip(waiting, results, strict=True) if "ErrorCode" in result]
    written = direct.written("kinesis")
    assert len(sizes) > 2
    assert [written[name] for name in everything] == [1] * 100


def test_partly_written_batch(proxy: FaultyProxy, direct: Aws, proxied: Aws) -> None:
    """Sending the items again that are unprocessed ends with each in the table, and none were lost from sight."""
    proxy.inject(Fault("partial"))
    names = {f"item {number}" for number in range(25)}
    waiting = {"rows": [{"PutRequest": {"Item": {"name": {"S": name}}}} for name in names]}
    while waiting:
        try:
            answer = proxied.dynamodb.batch_write_item(RequestItems=waiting)
        except proxied.dynamodb.exceptions.ProvisionedThroughputExceededException:
            proxy.inject()  # DynamoDB refuses like this where it could do nothing; the rest may pass
            continue
        left = {write["PutRequest"]["Item"]["name"]["S"] for write in answer["UnprocessedItems"].get("rows", [])}
        assert direct.written("dynamodb").keys() & names == names - left
        waiting = answer["UnprocessedItems"]
    assert names <= direct.written("dynamodb").keys()


def test_partly_published_batch(proxy: FaultyProxy, direct: Aws, proxied: Aws) -> None:
    """Publishing the entries again that failed ends with each message delivered once, its attributes with it."""
    proxy.inject(Fault("partial"))
    waiting = [f"m{number}" for number in range(10)]
    everything = list(waiting)
    direct.written("sns")  # takes what other tests left
    while waiting:
        answer = proxied.sns.publish_batch(
            TopicArn=TOPIC,
            PublishBatchRequestEntries=[
                {
                    "Id": name,
                    "Message": f"{name} & ümläut\n",
                    "MessageAttributes": {"a": {"DataType": "String", "StringValue": "="}},
                }
                for name in waiting
            ],
        )
        failed = answer.get("Failed", [])
        assert [entry["SenderFault"] for entry in failed] == [False] * len(failed)
        assert {entry["Id"] for entry in [*failed, *answer.get("Successful", [])]} == set(waiting)
        if len(waiting) == 1:
            proxy.inject()
        waiting = [entry["Id"] for entry in failed]
    assert direct.written("sns") == Counter(f"{name} & ümläut\n" for name in everything)


def test_partial_leaves_other_operations_alone(proxy: FaultyProxy, proxied: Aws) -> None:
    """An operation that has no entries passes."""
    before = proxy.counts()
    proxy.inject(Fault("partial"))
    for service in SERVICES:
        proxied.write(service, "whole")
    assert proxy.counts() == before


def test_faults_keep_to_their_services_and_operations(proxy: FaultyProxy, proxied: Aws) -> None:
    """A fault befalls the services and operations it was made for, is counted, and ends when it is taken away."""
    proxied.write("s3", "before")
    before = proxy.counts()
    proxy.inject(
        Fault("throttle", services=frozenset({"kinesis"})),
        Fault("deny", services=frozenset({"s3"}), operations=frozenset({"PutObject"})),
        Fault("deny", operations=frozenset({"Publish", "DescribeTable"})),
    )
    proxied.write("dynamodb", "spared")
    assert proxied.s3.list_objects_v2(Bucket="bucket")["KeyCount"] > 0
    for service in ("kinesis", "s3", "sns"):
        with pytest.raises(ClientError):
            proxied.write(service, "struck")
    assert proxy.counts() - before == {("kinesis", "throttle"): 1, ("s3", "deny"): 1, ("sns", "deny"): 1}
    proxy.inject()
    for service in SERVICES:
        proxied.write(service, "after")


def test_a_fault_may_be_for_one_table(proxied: Aws, proxy: FaultyProxy) -> None:
    """Requests about another table are spared, of the same operation too."""
    proxy.inject(Fault("throttle", services=frozenset({"dynamodb"}), table="others"))
    proxied.write("dynamodb", "spared")
    proxy.inject(Fault("throttle", services=frozenset({"dynamodb"}), table="rows"))
    with pytest.raises(ClientError):
        proxied.write("dynamodb", "struck")
    proxy.inject()


def test_seed_reproduces_the_decisions(url: str) -> None:
    """Proxies of one seed decide alike, whatever else they are asked in between; another seed decides otherwise."""

    def decisions(seed: int, others: int) -> list[bool]:
        with FaultyProxy(url, seed=seed) as proxy:
            proxy.inject(Fault("throttle", 0.5))
            aws, failed = Aws(proxy.url), []
            for number in range(40):
                failed.append(_fails(lambda: aws.write("dynamodb", "seeded")))
                for _ in range(others * (number % 3)):
                    _fails(lambda: aws.write("kinesis", "seeded"))
            return failed

    first = decisions(seed=7, others=0)
    assert 8 < sum(first) < 32
    assert decisions(seed=7, others=1) == first
    assert decisions(seed=8, others=0) != first


@pytest.mark.parametrize(("version", "broken"), [("HTTP/1.1", "without"), ("HTTP/2", "StreamReset")])
def test_speaks_both_versions_of_http(proxy: FaultyProxy, version: str, broken: str) -> None:
    """A client that begins with HTTP/2, as the KCL's does, is answered in it; what is dropped is broken in both."""
    headers = {
        "authorization": "AWS4-HMAC-SHA256 Credential=embedded/20260101/us-east-1/kinesis/aws4_request, Signature=none",
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "Kinesis_20131202.DescribeStreamSummary",
    }

    def ask() -> httpx.Response:
        return client.post(proxy.url, content=b'{"StreamName":"stream"}', headers=headers)

    with httpx.Client(http1=version == "HTTP/1.1", http2=version == "HTTP/2") as client:
        whole = ask()
        assert whole.http_version == version
        assert whole.json()["StreamDescriptionSummary"]["OpenShardCount"] == 1
        assert int(whole.headers["content-length"]) == len(whole.content)
        kinds: tuple[Kind, ...] = ("reset", "reset_after", "timeout")
        for kind in kinds:
            proxy.inject(Fault(kind))
            with pytest.raises(httpx.RemoteProtocolError, match=broken):
                ask()
        proxy.inject(Fault("throttle"))
        assert ask().headers["x-amzn-errortype"] == "ProvisionedThroughputExceededException"
        proxy.inject()
        assert ask().content == whole.content


def test_kinesis_has_an_upstream_of_its_own(url: str) -> None:
    """Kinesis alone is asked at the address given for it; an upstream that is gone shows as a closed connection."""
    with FaultyProxy("http://127.0.0.1:1", kinesis=url, environment={"TICKERTAPE_TEST": "proxy"}) as proxy:
        aws = Aws(proxy.url)
        assert aws.kinesis.list_streams()["StreamNames"] == ["stream"]
        with pytest.raises(ConnectionClosedError):
            aws.dynamodb.list_tables()


def test_ends_with_its_parent(url: str) -> None:
    """Nothing listens any more soon after the process that started it was killed."""
    command = [sys.executable, "-m", "tests.chaos.faulty_proxy", "--upstream", url]
    with subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline().rpartition(":")[2])
        assert is_open(port)
        os.kill(parent.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while is_open(port) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not is_open(port)


def _shape(answer: dict[str, Any]) -> tuple[object, ...]:
    """What two answers to the same request have in common: all but values that are new in each."""
    metadata = answer["ResponseMetadata"]
    fresh = {"date", "last-modified", "x-amzn-requestid", "x-amz-crc32"}
    headers = {name: value for name, value in metadata["HTTPHeaders"].items() if name not in fresh}
    return metadata["HTTPStatusCode"], metadata["HTTPHeaders"].keys(), headers, answer.keys()


def _fails(call: Callable[[], object]) -> bool:
    try:
        call()
    except ClientError:
        return True
    return False
