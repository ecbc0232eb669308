"""The pipeline where IAM says no: MiniStack enforces the roles that infra/stack.yaml gives to the tasks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.templates import ROOT, SERVICES, STACK, Template, read, services
from tests.compare import compare
from tests.functional.chat import line, running_chat
from tests.integration import ministack
from tests.integration.pipeline import APPLICATION, STACK_NAME, Pipeline
from tests.integration.traffic import first_bars, traffic
from tests.oracle import Settings, expect
from tests.waiting import wait_for

SUBSCRIBED = {
    "AlertEmail": "a@b.example",
    "AlertPhone": "+4915112345678",
    "NotifyUrls": "/tickertape/notify-urls",
    "OperatorEmail": "a@b.example",
}
_DENIALS = {"403", "AccessDenied", "AccessDeniedException", "AuthorizationError"}

STREAM, TICKS, ALERTS = "stock-market-stream", "stock-market-data", "stock-alerts"
BUCKET, TOPICS = "tickertape-123456789012-us-east-1", "arn:aws:sns:us-east-1:123456789012"
OTHER_QUEUE = "http://127.0.0.1/123456789012/other"
KEY = {"symbol": {"S": "KO"}, "timestamp": {"S": "2023-07-10T10:00:00.000000Z"}}
RECORD = {"Data": b"{}", "PartitionKey": "KO"}

DENIED: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "ProducerRoleArn": [
        ("kinesis", "put_records", {"StreamName": "other", "Records": [RECORD]}),
        ("kinesis", "put_record", {"StreamName": STREAM, **RECORD}),
        ("kinesis", "list_shards", {"StreamName": STREAM}),
        ("kinesis", "delete_stream", {"StreamName": STREAM}),
        ("dynamodb", "put_item", {"TableName": TICKS, "Item": KEY}),
        ("s3", "put_object", {"Bucket": BUCKET, "Key": "ticks/x"}),
        ("sns", "publish", {"TopicArn": f"{TOPICS}:stock-alerts", "Message": "x"}),
        ("iam", "list_roles", {}),
    ],
    "NotifierRoleArn": [
        ("sqs", "send_message", {"QueueUrl": OTHER_QUEUE, "MessageBody": "x"}),
        ("sqs", "receive_message", {"QueueUrl": OTHER_QUEUE}),
        ("sqs", "create_queue", {"QueueName": "another"}),
        ("sns", "publish", {"TopicArn": f"{TOPICS}:stock-alerts", "Message": "x"}),
        ("ssm", "get_parameters", {"Names": ["/tickertape/notify-urls"]}),
        ("dynamodb", "scan", {"TableName": ALERTS}),
        ("iam", "list_roles", {}),
    ],
    "ConsumerRoleArn": [
        ("kinesis", "put_records", {"StreamName": STREAM, "Records": [RECORD]}),
        ("kinesis", "list_shards", {"StreamName": "other"}),
        ("kinesis", "merge_shards", {"StreamName": STREAM, "ShardToMerge": "a", "AdjacentShardToMerge": "b"}),
        ("kinesis", "register_stream_consumer", {"StreamARN": "", "ConsumerName": "x"}),
        ("dynamodb", "delete_table", {"TableName": TICKS}),
        ("dynamodb", "delete_table", {"TableName": APPLICATION}),
        ("dynamodb", "create_table", {"TableName": "other"}),
        ("dynamodb", "put_item", {"TableName": "other", "Item": KEY}),
        ("dynamodb", "batch_write_item", {"RequestItems": {"other": [{"PutRequest": {"Item": KEY}}]}}),
        ("dynamodb", "delete_item", {"TableName": TICKS, "Key": KEY}),
        ("dynamodb", "scan", {"TableName": ALERTS}),
        ("dynamodb", "scan", {"TableName": f"{APPLICATION}-CoordinatorState"}),
        ("s3", "put_object", {"Bucket": BUCKET, "Key": "athena-results/x"}),
        ("s3", "put_object", {"Bucket": "other", "Key": "ticks/x"}),
        ("s3", "get_object", {"Bucket": BUCKET, "Key": "ticks/x"}),
        ("s3", "delete_object", {"Bucket": BUCKET, "Key": "ticks/x"}),
        ("sns", "publish", {"TopicArn": f"{TOPICS}:other", "Message": "x"}),
        ("sns", "subscribe", {"TopicArn": f"{TOPICS}:stock-alerts", "Protocol": "email", "Endpoint": "a@b.example"}),
        ("cloudwatch", "put_metric_data", {"Namespace": "other", "MetricData": [{"MetricName": "x", "Value": 1}]}),
        ("iam", "list_roles", {}),
    ],
}
"""What each role may not do, on what is ours and on what is somebody else's."""


NAMES = {
    "Producer": ["AWS_REGION", "STREAM_NAME"],
    "Consumer": ["AWS_REGION", "STREAM_NAME", "TICKS_TABLE", "ALERTS_TABLE", "ARCHIVE_BUCKET", "ALERT_TOPIC_ARN"],
}
"""Settings of the tasks that come from the first stack."""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The stack with all its subscriptions, in an AWS that enforces IAM."""
    with Pipeline(
        tmp_path_factory.mktemp("account"),
        aws=ministack.command(),
        template=ministack.understood(STACK),
        parameters=SUBSCRIBED,
    ) as pipeline:
        pipeline.client("s3").create_bucket(Bucket="other")  # that one is not there is told to anybody
        pipeline.client("sqs").create_queue(QueueName="other")
        yield pipeline


@pytest.mark.timeout(200)
def test_with_its_roles_the_pipeline_does_all_it_has_to(account: Pipeline, tmp_path: Path) -> None:
    """From a first start on, with nothing but its roles: each row, object and message is the oracle's."""
    run_tasks(account, tmp_path)
    compare(account.export(tmp_path / "export"), expect(account.records(), Settings()), retention_days=30)
    assert account.client("cloudwatch").list_metrics(Namespace=APPLICATION)["Metrics"]


@pytest.mark.timeout(200)
def test_with_fan_out_too(tmp_path: Path) -> None:
    """With enhanced fan-out, the role has what that needs besides, and all is the oracle's again."""
    with Pipeline(
        tmp_path,
        aws=ministack.command(),
        template=ministack.understood(STACK),
        parameters={"RetrievalMode": "FANOUT"},
    ) as pipeline:
        pipeline.create_leases()
        run_tasks(pipeline, tmp_path)
        compare(pipeline.export(tmp_path / "export"), expect(pipeline.records(), Settings()), retention_days=30)
        stream = pipeline.kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
        (consumer,) = pipeline.kinesis.list_stream_consumers(StreamARN=stream["StreamARN"])["Consumers"]
        assert consumer["ConsumerName"] == APPLICATION
        check(pipeline)


def run_tasks(pipeline: Pipeline, folder: Path) -> None:
    """Have both tasks process bars and what else a stream may hold."""
    settings = {
        "KCL_RETRIEVAL_MODE": pipeline.outputs["RetrievalMode"],
        "KCL_METRICS_LEVEL": "SUMMARY",
        "KCL_METRICS_BUFFER_TIME_MILLIS": "1000",
    }
    consumer = pipeline.start_consumer(ministack.take_role(pipeline, "ConsumerRoleArn") | settings)
    pipeline.put(traffic(seed=7)[:400])
    pipeline.produce(ministack.take_role(pipeline, "ProducerRoleArn") | first_bars(folder, "REAL"))
    pipeline.drain(consumer)
    consumer.terminate()


def test_alerts_are_passed_on(account: Pipeline, tmp_path: Path) -> None:
    """With its role, and with the topic's way to its queue, the notifier tells a chat of what the topic is told."""
    alert = {
        "symbol": "KO",
        "alert_id": "2023-07-10T10:00:00.000000Z#z_score",
        "timestamp": "2023-07-10T10:00:00.000000Z",
        "rule": "z_score",
        "direction": "up",
        "severity": "warning",
        "message": "KO at 60.",
    }
    with running_chat() as chat, (tmp_path / "notify.log").open("wb") as log:
        settings = {
            "NOTIFY_QUEUE_URL": account.outputs["NotifyQueueUrl"],
            "NOTIFY_URLS": f"json://{chat.host}/one json://{chat.host}/other",
            "NOTIFY_GROUP_SECONDS": "0",
        }
        notifier = subprocess.Popen(
            [sys.executable, "-m", "tickertape", "notify"],
            env=account.environment() | settings | ministack.take_role(account, "NotifierRoleArn"),
            stderr=log,
        )
        try:
            sns = account.client("sns")
            sns.publish(TopicArn=account.outputs["AlertTopicArn"], Message=json.dumps(alert))
            wait_for(lambda: line(alert) in chat.lines("/one") and line(alert) in chat.lines("/other"))
            notifier.terminate()
            assert notifier.wait(30) == 0
        finally:
            notifier.kill()


def test_check_finds_nothing_missing(account: Pipeline) -> None:
    """`tickertape check` asks for nothing that the consumer's role does not have."""
    check(account)


def check(pipeline: Pipeline) -> None:
    """Run it as the consumer."""
    mode = {"KCL_RETRIEVAL_MODE": pipeline.outputs["RetrievalMode"]}
    run = subprocess.run(
        [sys.executable, "-m", "tickertape", "check"],
        env=pipeline.environment() | mode | ministack.take_role(pipeline, "ConsumerRoleArn"),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("role", DENIED)
def test_all_else_is_denied(account: Pipeline, role: str) -> None:
    """Other actions on our resources, and our actions on others', are denied."""
    for service, operation, request in DENIED[role]:
        refused = refusal(client(account, role, service), operation, **request)
        assert refused in _DENIALS, (service, operation, request, refused)


def test_another_stream_is_not_read(account: Pipeline) -> None:
    """An iterator of somebody else's stream, however come by, is of no use to the consumer."""
    account.kinesis.create_stream(StreamName="another", ShardCount=1)
    (shard,) = account.kinesis.list_shards(StreamName="another")["Shards"]
    iterator = account.kinesis.get_shard_iterator(
        StreamName="another", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    assert account.kinesis.get_records(ShardIterator=iterator)["Records"] == []
    assert refusal(client(account, "ConsumerRoleArn", "kinesis"), "get_records", ShardIterator=iterator) in _DENIALS


def test_the_bucket_takes_nothing_in_the_clear(account: Pipeline) -> None:
    """What the consumer may put, it may put with TLS only."""
    s3 = client(account, "ConsumerRoleArn", "s3")
    put = {"Bucket": BUCKET, "Key": "ticks/of-a-test"}
    s3.put_object(**put)
    s3.meta.events.register("before-send", lambda request, **_: request.headers.update({"x-forwarded-proto": "http"}))
    assert refusal(s3, "put_object", **put) in _DENIALS


def test_roles_are_for_tasks_alone(tmp_path: Path) -> None:
    """Not even the account's root may take a role as long as it is as the template makes it."""
    with Pipeline(tmp_path, aws=ministack.command(), template=ministack.understood(STACK)) as pipeline:
        for role in ("ProducerRoleArn", "ConsumerRoleArn", "ExecutionRoleArn"):
            request = {"RoleArn": pipeline.outputs[role], "RoleSessionName": "somebody"}
            assert refusal(pipeline.client("sts"), "assume_role", **request) in _DENIALS


def client(account: Pipeline, role: str, service: str) -> Any:  # noqa: ANN401  (boto3 makes clients' types at run time)
    """Make a client of somebody who has a role."""
    key, secret, token = ministack.take_role(account, role).values()
    session = boto3.Session(key, secret, token, region_name="us-east-1")
    config = Config(parameter_validation=False)
    return session.client(service, endpoint_url=account.url, config=config)  # type: ignore[call-overload]  # as above


def refusal(client: Any, operation: str, **request: Any) -> str:  # noqa: ANN401  (as above)
    """Call it and give the code of the error, which there must be."""
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)(**request)
    code: str = refused.value.response["Error"]["Code"]
    return code


@pytest.mark.parametrize("network", ["PUBLIC_SUBNETS", "VPC_ENDPOINTS"])
def test_both_templates_deploy(account: Pipeline, network: str) -> None:
    """Each resource comes into being, and the tasks are told the names that the first stack gave."""
    name = f"services-{network.partition('_')[0].lower()}"
    declared = read(SERVICES)["Parameters"]
    told = {output: value for output, value in account.outputs.items() if output in declared}
    if network == "VPC_ENDPOINTS":  # no chat can be reached from there
        told |= {output: "NONE" for output in told if output.startswith("Notif")}
    parameters = {"Image": "tickertape:1", "Network": network, **told}
    account.deploy(name, ministack.understood(SERVICES), parameters)
    assert created(account, STACK_NAME) == expected(Template(STACK, SUBSCRIBED))
    assert created(account, name) == expected(Template(SERVICES, parameters))

    for task, settings in NAMES.items():
        definition = account.client("ecs").describe_task_definition(taskDefinition=f"{name}-{task.lower()}")
        definition = definition["taskDefinition"]
        assert definition["taskRoleArn"] == account.outputs[f"{task}RoleArn"]
        assert definition["executionRoleArn"] == account.outputs["ExecutionRoleArn"]
        (container,) = definition["containerDefinitions"]
        assert container["logConfiguration"]["options"]["awslogs-group"] == account.outputs[f"{task}Logs"]
        told = {variable["name"]: variable["value"] for variable in container["environment"]}
        assert {name: told[name] for name in settings} == {name: account.environment()[name] for name in settings}


def test_documents_tell_what_is_refused() -> None:
    """docs/deploy.md names each type of resource that this deployment goes without."""
    text = (ROOT / "docs" / "deploy.md").read_text()
    resources = [*Template(STACK).resources.values(), *services().resources.values()]
    types = {resource["Type"] for resource in resources if ministack.refuses(resource)}
    assert len(types) == 4
    assert [kind for kind in types if f"`{kind}`" not in text] == []


def created(account: Pipeline, stack: str) -> dict[str, str]:
    """Types of what is in a stack, by logical name."""
    resources = account.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    assert {resource["ResourceStatus"] for resource in resources} == {"CREATE_COMPLETE"}
    return {resource["LogicalResourceId"]: resource["ResourceType"] for resource in resources}


def expected(template: Template) -> dict[str, str]:
    """Types of what a template would create, but for what is refused here."""
    return {name: r["Type"] for name, r in template.resources.items() if not ministack.refuses(r)}
