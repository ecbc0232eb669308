"""The CloudFormation templates: right for AWS, least privilege, and no way to say nonsense to them."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from common.tick import Tick
from ecs.template import TemplateFile
from infra.templates import (
    BOOTSTRAP,
    BUDGET,
    ROOT,
    SERVICES,
    SMALL,
    STACK,
    TEMPLATES,
    RefusedError,
    Template,
    deployable,
    listed,
    read,
    services,
)
from tests.policies import findings
from tests.registry import faults, regions, schemas
from tests.variants import notifier, variants

OF_TASKS = ("ProducerRole", "ConsumerRole", "NotifierRole", "ExecutionRole")
ROLES = (*OF_TASKS, "ReaderRole")
TASKS = ("ProducerTask", "ConsumerTask", "NotifierTask")
NOTIFYING = {"NotifyUrls": "/tickertape/notify-urls"}
ALL = {"RetrievalMode": "FANOUT", **NOTIFYING}
"""Parameters with which roles may do all that they ever may."""
WITHOUT_RESOURCES = {"cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"}
"""Actions that AWS cannot limit to resources."""

LONGEST_STACK_NAME = 35
"""With the account's number and the longest name of a region, a bucket's name has 63 characters: what S3 takes."""

LARGEST_TEMPLATE_BYTES = 51_200
"""Larger ones need a bucket to be deployed from."""


def statements(role: str, **parameters: str | int) -> list[dict[str, Any]]:
    """What a role of the stack may do."""
    policies = Template(STACK, parameters).of_type("IAM::Role")[role]["Policies"]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


partition_of = boto3.Session().get_partition_for_region


def representatives(path: Path) -> set[str]:
    """Regions that stand for all others: of those in one partition with the same types, the one with the longest name.

    To lint in all of them takes a minute, and is less strict: cfn-lint stops after 512 combinations of values. Apart
    from schemas its rules know regions by their sizes of machines only, of which the templates choose none.
    """
    types: dict[str, set[tuple[str, str]]] = {region: set() for region in regions()}
    for kind in {resource["Type"] for resource in read(path)["Resources"].values()}:
        for alike, _ in schemas().get_resource_schemas_by_regions(kind, regions()):
            for region in alike:
                types[region].add((kind, alike[0]))
    groups = {(partition_of(region), *sorted(types[region])): region for region in sorted(regions(), key=len)}
    return set(groups.values())


def lint(path: Path, regions: Collection[str]) -> list[str]:
    """Have cfn-lint look at a template; gives what it says, a line each."""
    linter = Path(sys.executable).with_name("cfn-lint")
    command = [str(linter), "--format", "parseable", "--regions", *regions, "--", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bool(result.stdout) == bool(result.returncode), result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_template_is_right_for_aws(path: Path) -> None:
    """The linter that knows CloudFormation has nothing to say in any region, and no bucket is needed to deploy."""
    # Budgets belong to no region, and not all know them.
    assert lint(path, ["us-east-1"] if path == BUDGET else representatives(path)) == []
    assert len(TemplateFile.read(path).body.encode()) < LARGEST_TEMPLATE_BYTES


def test_regions_that_differ_are_linted() -> None:
    """Each partition is linted; and a type that some regions lack is refused in one such region of each partition."""
    for path in TEMPLATES:
        assert set(map(partition_of, representatives(path))) == set(map(partition_of, regions()))
    types_in = schemas().get_resource_types
    lacking = {region for region in regions() if "AWS::Budgets::Budget" not in types_in(region)}
    assert "eu-north-1" in lacking
    assert "eu-west-1" not in lacking
    refused_in = {line.rpartition(" in ")[2].strip("'") for line in lint(BUDGET, representatives(BUDGET))}
    assert refused_in <= lacking
    assert set(map(partition_of, refused_in)) == set(map(partition_of, lacking))


PLACES = {
    "usual": {},
    "longest-names": {"AWS::StackName": "t" * LONGEST_STACK_NAME + "-services", "AWS::Region": "ap-southeast-1"},
    "another-partition": {"AWS::Partition": "aws-us-gov", "AWS::Region": "us-gov-west-1"},
}
"""Where and under which name a stack may be deployed."""


def refused(path: Path, **pseudo: str) -> Iterator[str]:
    """What AWS would refuse of a template, whatever its parameters are."""
    seen = set()
    for template in variants(path, **pseudo):
        assert all(len(str(output["Value"])) <= 1024 for output in template.outputs.values())
        for name, resource in template.resources.items():
            text = name + json.dumps(resource["Properties"])
            if text not in seen:
                seen.add(text)
                region, partition = template.pseudo["AWS::Region"], template.pseudo["AWS::Partition"]
                told = faults(resource["Type"], resource["Properties"], region=region, partition=partition)
                yield from (f"{name}: {fault}" for fault in told)
    assert seen


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_aws_takes_every_resource(path: Path, place: str) -> None:
    """With what AWS answers to each function put in, whatever is chosen, no schema and no service refuses anything."""
    pseudo = dict(PLACES[place])
    if path == STACK and "AWS::StackName" in pseudo:
        pseudo["AWS::StackName"] = pseudo["AWS::StackName"].removesuffix("-services")
    if path != BUDGET or place == "usual":
        assert list(refused(path, **pseudo)) == []


def _set(*keys: str | int, to: Any) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401  (whatever a template holds)
    """Plant a fault: put a value at this place of a template's resources."""

    def plant(resources: dict[str, Any]) -> None:
        place: Any = resources
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return plant


def _ref(name: str) -> dict[str, str]:
    return {"Ref": name}


def _arn(name: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [name, "Arn"]}


_TAGGED = {"Fn::If": ["IsPublic", _ref("InternetRoute"), "none"]}
_CONTAINER = ("ConsumerTask", "Properties", "ContainerDefinitions", 0)
_NETWORK = ("ConsumerService", "Properties", "NetworkConfiguration", "AwsvpcConfiguration")
_RULE = ("FailedTaskRule", "Properties")
_TRANSFORMER = (*_RULE, "Targets", 0, "InputTransformer")
_OURS = {"StringEquals": {"aws:SourceAccount": _ref("AWS::AccountId")}}
_POLICY = ("ProducerRole", "Properties", "Policies", 0)
PLANTED: list[tuple[Path, Callable[[dict[str, Any]], None], str]] = [
    (SERVICES, _set("ProducerService", "Properties", "Tags", to=[{"Key": "route", "Value": _TAGGED}]), "no tag"),
    (SERVICES, _set("Cluster", "Properties", "Tags", to=[{"Key": "for", "Value": "you & me"}]), "no tag"),
    (SERVICES, _set("Cluster", "Properties", "Tags", to=[{"Key": "aws:x", "Value": "y"}]), "AWS's own"),
    (SERVICES, _set("Vpc", "Properties", "Tags", to=[{"Key": "long", "Value": "x" * 257}]), "too long"),
    (SERVICES, _set("KinesisEndpoint", "Properties", "Tags", to=[{"Key": "a#b", "Value": "x"}]), "no tag"),
    (
        SERVICES,
        _set("TasksSecurityGroup", "Properties", "GroupDescription", to="Tasks – ours"),
        "GroupDescription",
    ),
    (SERVICES, _set("InternetRoute", "Properties", "RouteTableId", to=_ref("FirstSubnetRoutes")), "RouteTableId"),
    (SERVICES, _set("InternetRoute", "Properties", "GatewayId", to=_ref("GatewayAttachment")), "GatewayId"),
    (SERVICES, _set("S3Endpoint", "Properties", "RouteTableIds", to=[_ref("Vpc")]), "RouteTableIds"),
    (SERVICES, _set(*_NETWORK, "Subnets", to=[_ref("SubnetIds")]), "Subnets"),
    (SERVICES, _set(*_NETWORK, "SecurityGroups", to=[_ref("Cluster")]), "SecurityGroups"),
    (SERVICES, _set("ConsumerService", "Properties", "TaskDefinition", to=_ref("Cluster")), "TaskDefinition"),
    (SERVICES, _set("ConsumerService", "Properties", "ServiceName", to="the consumer"), "ServiceName"),
    (SERVICES, _set("ConsumerTask", "Properties", "Memory", to="3000"), "Fargate has no 3000 MiB"),
    (SERVICES, _set("ConsumerTask", "Properties", "TaskRoleArn", to=_ref("ConsumerLogs")), "TaskRoleArn"),
    (SERVICES, _set(*_CONTAINER, "StopTimeout", to=300), "StopTimeout"),
    (SERVICES, _set(*_CONTAINER, "Environment", 1, "Value", to=_ref("AlertTopicArn")), "STREAM_NAME"),
    (
        SERVICES,
        _set("ConsumerScaling", "Properties", "ResourceId", to={"Fn::Sub": "service/${Cluster}/${ConsumerService}"}),
        "ResourceId",
    ),
    (SERVICES, _set("BehindAlarm", "Properties", "AlarmActions", to=[_ref("Cluster")]), "AlarmActions"),
    (SERVICES, _set("BehindAlarm", "Properties", "AlarmDescription", to="x" * 1025), "AlarmDescription"),
    (SERVICES, _set("BehindAlarm", "Properties", "Dimensions", 0, "Name", to="Stream"), "write down"),
    (SERVICES, _set("BehindAlarm", "Properties", "Statistic", to="Mean"), "Statistic"),
    (
        SERVICES,
        _set("BehindAlarm", "Properties", "Dimensions", to=[{"Name": "ServiceName", "Value": _ref("ConsumerService")}]),
        "is no ServiceName",
    ),
    (SERVICES, _set("BehindAlarm", "Properties", "Threshold", to={"Fn::Sub": "${BehindSeconds} s"}), "Threshold"),
    (SERVICES, _set("Dashboard", "Properties", "DashboardBody", to='{"widgets": [}'), "DashboardBody"),
    (SERVICES, _set(*_RULE, "EventPattern", "detail", "lastStatus", to="STOPPED"), "matched with a list"),
    (SERVICES, _set(*_RULE, "EventPattern", "source", to="aws.ecs"), "matched with a list"),
    (SERVICES, _set(*_TRANSFORMER, "InputTemplate", to="A task of <group> failed"), "a text in quotes"),
    (SERVICES, _set(*_TRANSFORMER, "InputTemplate", to='"A task of <service> failed"'), "used or known"),
    (STACK, _set("Stream", "Properties", "RetentionPeriodHours", to=1), "RetentionPeriodHours"),
    (STACK, _set("Stream", "Properties", "Arn", to="x"), "AWS sets it"),
    (STACK, _set("TicksTable", "Properties", "TableName", to=_arn("AlertsTable")), "TableName"),
    (STACK, _set("ArchiveBucket", "Properties", "BucketName", to={"Fn::Sub": "A_${AWS::Region}"}), "BucketName"),
    (STACK, _set("ArchiveBucketPolicy", "Properties", "Bucket", to=_arn("ArchiveBucket")), "Bucket"),
    (
        STACK,
        _set("AlertTopicPolicy", "Properties", "Topics", to=[_ref("AlertTopicName")]),
        "Topics",
    ),
    (STACK, _set("OperatorTopic", "Properties", "DisplayName", to="Tickertape – alarms"), "DisplayName"),
    (STACK, _set("OperatorTopic", "Properties", "KmsMasterKeyId", to=_ref("Stream")), "KmsMasterKeyId"),
    (
        STACK,
        _set("OperatorTopicPolicy", "Properties", "PolicyDocument", "Statement", 1, "Condition", to=_OURS),
        "no condition",
    ),
    (
        STACK,
        _set("OperatorKey", "Properties", "KeyPolicy", "Statement", 1, "Condition", to=_OURS),
        "neither account nor rule",
    ),
    (STACK, _set("ConsumerRole", "Properties", "Description", to="What it may do – all of it"), "Description"),
    (STACK, _set(*_POLICY, "PolicyDocument", "Statement", 0, "Resource", to=_ref("Stream")), "is no ARN"),
    (
        STACK,
        _set(*_POLICY, "PolicyDocument", "Statement", 0, "Resource", to="arn:aws:kinesis:eu-central-1:1:stream/x"),
        "another partition",
    ),
    (STACK, _set(*_POLICY, "PolicyName", to="what it may do"), "PolicyName"),
    (STACK, _set("LeasesMetric", "Properties", "LogGroupName", to=_arn("ConsumerLogs")), "LogGroupName"),
    (STACK, _set("Workgroup", "Properties", "Name", to="my queries"), "Name"),
    (STACK, _set("MinuteBarsQuery", "Properties", "Name", to="x" * 129), "Name"),
]
"""Faults that the templates had, and their kin, and what is said about each."""


@pytest.mark.parametrize(("path", "plant", "said"), PLANTED, ids=range(len(PLANTED)))
def test_what_aws_refuses_is_found(
    path: Path, plant: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    """Each fault that is put into a template is found, in some variant of it and at the right place."""
    template = copy.deepcopy(read(path))
    plant(template["Resources"])
    harmed = tmp_path / path.name
    harmed.write_text(json.dumps(template))
    assert any(said in fault for fault in refused(harmed, **PLACES["another-partition"]))


@pytest.mark.parametrize("role", ROLES)
def test_policies_are_sound(role: str) -> None:
    """The linter that knows every action of AWS, its resources and conditions finds nothing to say."""
    for policy in Template(STACK, ALL).of_type("IAM::Role")[role]["Policies"]:
        assert findings(policy["PolicyDocument"]) == []


@pytest.mark.parametrize("role", ROLES)
def test_roles_may_do_single_actions_on_our_resources(role: str) -> None:
    """No action is a pattern, and only what AWS cannot limit to resources is allowed on all of them."""
    for statement in statements(role, **ALL):
        assert statement["Effect"] == "Allow"
        assert not [action for action in listed(statement["Action"]) if "*" in action]
        if "*" in listed(statement["Resource"]):
            assert set(listed(statement["Action"])) <= WITHOUT_RESOURCES
        else:
            assert all(resource.startswith("arn:aws:") for resource in listed(statement["Resource"]))


def test_metrics_go_to_our_namespace_only() -> None:
    """The one thing that the consumer may do to anything is limited to the namespace of its application."""
    (metrics,) = (s for s in statements("ConsumerRole", ApplicationName="mine") if "*" in listed(s["Resource"]))
    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": "mine"}}


def test_of_the_archive_only_snapshots_are_read() -> None:
    """The consumer lists, reads and deletes nothing but snapshots; HeadBucket and missing keys have no prefix."""
    listing, archive, snapshots = (s for s in statements("ConsumerRole") if "s3:" in str(s["Action"]))
    assert listing["Condition"] == {"StringLikeIfExists": {"s3:prefix": "snapshots/*"}}
    assert archive["Action"] == "s3:PutObject"
    assert snapshots["Action"] == ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    assert re.fullmatch(r"arn:aws:s3:::[^/]+/snapshots/\*", snapshots["Resource"])


def test_one_way_of_reading_is_granted() -> None:
    """The consumer may either poll, or register for enhanced fan-out, which is to be paid for, and read that way."""
    polling, fanning = (
        {action for s in statements("ConsumerRole", RetrievalMode=mode) for action in listed(s["Action"])}
        for mode in ("POLLING", "FANOUT")
    )
    assert fanning - polling == {
        "kinesis:DescribeStreamConsumer",
        "kinesis:RegisterStreamConsumer",
        "kinesis:SubscribeToShard",
    }
    assert polling - fanning == {"kinesis:GetRecords", "kinesis:GetShardIterator"}


@pytest.mark.parametrize("role", OF_TASKS)
def test_only_tasks_of_this_account_take_roles(role: str) -> None:
    """A role can be taken by ECS tasks, and by those of this account only."""
    (trust,) = Template(STACK, ALL).of_type("IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_readers_are_of_this_account_and_write_nothing() -> None:
    """Whom the account lets take the reader's role reads, and nothing of a table, a stream or an object is changed."""
    role = Template(STACK).of_type("IAM::Role")["ReaderRole"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    actions = {action for statement in statements("ReaderRole") for action in listed(statement["Action"])}
    assert [action for action in actions if not re.search(":(Get|List|Query|Scan)", action)] == []


def test_the_deploying_role_may_create_what_the_templates_have() -> None:
    """The boundary of the role that deploys has each service of which a template creates something."""
    names = {"ApplicationAutoScaling": "application-autoscaling"}
    kinds = {
        r["Type"] for path in (STACK, SERVICES, SMALL, BUDGET) for t in variants(path) for r in t.resources.values()
    }
    needed = {names.get(service, service.lower()) for _, service, _ in (kind.split("::") for kind in kinds)}
    boundary = deployable(BOOTSTRAP).of_type("IAM::ManagedPolicy")["DeployBoundary"]["PolicyDocument"]["Statement"]
    allowed = {action.partition(":")[0] for s in boundary if s["Effect"] == "Allow" for action in listed(s["Action"])}
    assert needed - allowed == set()


@pytest.mark.parametrize("name", ["TicksTable", "AlertsTable", "ArchiveBucket"])
def test_what_was_recorded_outlives_the_stack(name: str) -> None:
    """Deleting or replacing the stack's tables and bucket leaves them; a creation that fails leaves nothing behind."""
    resource = Template(STACK).resources[name]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_everything_at_rest_is_encrypted() -> None:
    """Stream, tables, bucket, topics and query results are encrypted; operators' texts need no key of their own."""
    stack = Template(STACK)
    (stream,) = stack.of_type("Kinesis::Stream").values()
    (bucket,) = stack.of_type("S3::Bucket").values()
    (workgroup,) = stack.of_type("Athena::WorkGroup").values()
    assert stream["StreamEncryption"]["EncryptionType"] == "KMS"
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert workgroup["WorkGroupConfiguration"]["ResultConfiguration"]["EncryptionConfiguration"]
    assert all(table["SSESpecification"]["SSEEnabled"] for table in stack.of_type("DynamoDB::Table").values())
    assert all(topic["KmsMasterKeyId"] for topic in stack.of_type("SNS::Topic").values())
    without = Template(STACK, {"OperatorTopicKey": "NONE"})
    assert without.of_type("KMS::Key") == {}
    assert [n for n, topic in without.of_type("SNS::Topic").items() if "KmsMasterKeyId" not in topic] == [
        "OperatorTopic"
    ]


def test_alarms_can_reach_the_operators() -> None:
    """CloudWatch may publish to the operators' topic and use its key; SNS's own it could not use."""
    stack = Template(STACK)
    topic = stack.of_type("SNS::Topic")["OperatorTopic"]
    assert topic["KmsMasterKeyId"].startswith("arn:aws:kms:")
    publish, _ = stack.of_type("SNS::TopicPolicy")["OperatorTopicPolicy"]["PolicyDocument"]["Statement"]
    use = stack.of_type("KMS::Key")["OperatorKey"]["KeyPolicy"]["Statement"][1]
    assert publish["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert "cloudwatch.amazonaws.com" in use["Principal"]["Service"]
    assert publish["Action"] == "sns:Publish"
    assert set(use["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}


def test_only_the_consumer_publishes_alerts() -> None:
    """The topic's policy allows the consumer's role and nobody else, over TLS; SNS's own allows all of the account."""
    stack = Template(STACK)
    policy = stack.of_type("SNS::TopicPolicy")["AlertTopicPolicy"]
    assert policy["Topics"] == [stack.outputs["AlertTopicArn"]["Value"]]
    publish, only_tls = policy["PolicyDocument"]["Statement"]
    assert publish["Principal"] == {"AWS": stack.outputs["ConsumerRoleArn"]["Value"]}
    assert (publish["Effect"], publish["Action"]) == ("Allow", "sns:Publish")
    assert (only_tls["Effect"], only_tls["Action"], only_tls["Principal"]) == ("Deny", "sns:Publish", "*")
    assert only_tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert only_tls["Resource"] == policy["Topics"][0]


def test_bucket_is_closed() -> None:
    """Nothing in the bucket can be made public, and nobody reaches it without TLS."""
    stack = Template(STACK)
    (bucket,) = stack.of_type("S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (policy,) = stack.of_type("S3::BucketPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Principal"]) == ("Deny", "s3:*", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [f"arn:aws:s3:::{bucket['BucketName']}", f"arn:aws:s3:::{bucket['BucketName']}/*"]


def lifecycle(**parameters: str | int) -> dict[str, dict[str, Any]]:
    """The bucket's rules by their ids."""
    (bucket,) = Template(STACK, parameters).of_type("S3::Bucket").values()
    return {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}


def test_archive_is_kept_as_long_as_one_wants() -> None:
    """By default objects move after 30 days and stay for ever; both are parameters, and 0 is never."""
    always = {"abandoned-uploads", "old-versions", "old-snapshots", "query-results"}
    assert lifecycle().keys() == always | {"infrequent-access"}
    rules = lifecycle(ArchiveTransitionDays=0, ArchiveExpirationDays=365)
    expiring = {rule["Prefix"]: rule["ExpirationInDays"] for name, rule in rules.items() if name not in always}
    assert expiring == dict.fromkeys(("raw-data/", "ticks/", "quarantine/"), 365)


@pytest.mark.parametrize("days", [0, 120])
def test_a_snapshot_is_kept_until_it_is_replaced(days: int) -> None:
    """However old a snapshot is, no rule ends it: a shard that rests has no other. Replaced ones go after a day."""
    rules = [rule for rule in lifecycle(ArchiveExpirationDays=days).values() if covers(rule, "snapshots/a/b/1-0")]
    assert not [rule for rule in rules if "ExpirationInDays" in rule]
    replaced = [rule["NoncurrentVersionExpiration"] for rule in rules if "NoncurrentVersionExpiration" in rule]
    assert min(rule["NoncurrentDays"] for rule in replaced) == 1


@pytest.mark.parametrize("key", ["raw-data/dt=2026-11-25/x", "ticks/x", "quarantine/x"])
def test_deleted_archives_can_be_had_back_for_a_week(key: str) -> None:
    """No rule ends versions of what is archived before a week is over."""
    rules = [rule for rule in lifecycle().values() if covers(rule, key) and "NoncurrentVersionExpiration" in rule]
    assert min(rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in rules) == 7


def covers(rule: dict[str, Any], key: str) -> bool:
    """Tell whether a rule is about the object with this key."""
    return key.startswith(rule.get("Prefix", ""))


def test_what_is_overwritten_or_deleted_can_be_had_back_for_a_week() -> None:
    """The bucket keeps versions, and old ones go after seven days, with the marks of what was deleted."""
    (bucket,) = Template(STACK).of_type("S3::Bucket").values()
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    rule = lifecycle()["old-versions"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
    assert rule["ExpiredObjectDeleteMarker"] is True
    assert rule["Status"] == "Enabled"
    assert "Prefix" not in rule


@pytest.mark.parametrize("stack", ["tickertape", "other"])
def test_stacks_have_buckets_of_their_own(stack: str) -> None:
    """Two stacks in one account and region do not ask for the same bucket."""
    (bucket,) = Template(STACK, pseudo={"AWS::StackName": stack}).of_type("S3::Bucket").values()
    assert bucket["BucketName"] == f"{stack}-123456789012-eu-central-1"


@pytest.mark.parametrize("name", ["TicksTable", "AlertsTable"])
def test_tables_expire_rows(name: str) -> None:
    """Rows expire by the attribute that the consumer writes."""
    table = Template(STACK).of_type("DynamoDB::Table")[name]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


@pytest.mark.parametrize("wanted", ["true", "false"])
def test_what_the_archive_does_not_have_can_be_restored(wanted: str) -> None:
    """Alerts can be restored to any second of the last weeks; ticks, which the archive has, if one pays for it."""
    tables = Template(STACK, {"TicksPointInTimeRecovery": wanted}).of_type("DynamoDB::Table")
    restored = {name: table["PointInTimeRecoverySpecification"] for name, table in tables.items()}
    assert restored["AlertsTable"] == {"PointInTimeRecoveryEnabled": True}
    assert restored["TicksTable"] == {"PointInTimeRecoveryEnabled": wanted}
    default = Template(STACK).of_type("DynamoDB::Table")["TicksTable"]
    assert default["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": "false"}


def test_named_queries_read_a_few_days_of_our_tables() -> None:
    """Each query belongs to our workgroup and database, reads one of its tables, and only some of the partitions."""
    stack = Template(STACK)
    (database,) = stack.of_type("Glue::Database").values()
    (workgroup,) = stack.of_type("Athena::WorkGroup").values()
    ours = (workgroup["Name"], database["DatabaseInput"]["Name"])
    tables = {table["TableInput"]["Name"] for table in stack.of_type("Glue::Table").values()}
    queries = stack.of_type("Athena::NamedQuery")
    assert len(queries) == 5
    for query in queries.values():
        assert (query["WorkGroup"], query["Database"]) == ours
        (table,) = re.findall(r"^FROM (\w+)$", query["QueryString"], re.MULTILINE)
        assert table in tables
        assert re.search(r"^WHERE dt >?= current_date", query["QueryString"], re.MULTILINE)


def test_no_received_tick_fails_a_query() -> None:
    """The table of received ticks has a text column, which any value fits, for each field of the contract and no other.

    `Volume` is not taken for `volume`, and a line that the SerDe cannot read is an empty row. `make test-athena` reads
    such lines.
    """
    table = Template(STACK).of_type("Glue::Table")["RawDataTable"]["TableInput"]["StorageDescriptor"]
    assert table["SerdeInfo"] == {
        "SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe",
        "Parameters": {"case.insensitive": "false", "ignore.malformed.json": "true"},
    }
    assert table["Columns"] == [{"Name": name, "Type": "string"} for name in Tick.__struct_fields__]


def test_the_budget_tells_the_operators() -> None:
    """The budget is of the amount that was asked for, in dollars a month, and operators are mailed."""
    (budget,) = deployable(BUDGET, {"MonthlyBudget": 50}).of_type("Budgets::Budget").values()
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    assert (budget["Budget"]["BudgetType"], budget["Budget"]["TimeUnit"]) == ("COST", "MONTHLY")
    told = [subscriber for n in budget["NotificationsWithSubscribers"] for subscriber in n["Subscribers"]]
    assert told
    assert all(s == {"SubscriptionType": "EMAIL", "Address": "a@b.example"} for s in told)


def test_an_on_demand_stream_has_no_number_of_shards() -> None:
    """Kinesis refuses a number of shards for a stream whose shards it counts itself."""
    (stream,) = Template(STACK, {"StreamMode": "ON_DEMAND"}).of_type("Kinesis::Stream").values()
    assert stream["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert "ShardCount" not in stream


@pytest.mark.parametrize(
    ("severity", "sent"),
    [("critical", ["critical"]), ("warning", ["warning", "critical"]), ("info", ["info", "warning", "critical"])],
)
def test_subscribers_get_what_is_severe_enough(severity: str, sent: list[str]) -> None:
    """E-mail and SMS are sent for alerts of the chosen severity and above; there are none without an address."""
    assert Template(STACK).of_type("SNS::Subscription") == {}
    addresses = {"AlertEmail": "a@b.example", "AlertPhone": "+4915112345678"}
    stack = Template(STACK, {**addresses, "AlertEmailSeverity": severity, "AlertPhoneSeverity": severity})
    subscriptions = stack.of_type("SNS::Subscription").values()
    assert {s["Protocol"]: s["Endpoint"] for s in subscriptions} == {"email": "a@b.example", "sms": "+4915112345678"}
    assert [s["FilterPolicy"] for s in subscriptions] == [{"severity": sent}] * 2


def all_services() -> Template:
    """All of them: the notifier, too."""
    return services(**notifier(SERVICES))


def test_chats_are_off_unless_they_are_wanted() -> None:
    """Without URLs there is no queue, role, log group or service of the notifier, and nobody may read a parameter."""
    stack = Template(STACK)
    assert not [
        name for name in stack.resources if "Notif" in name or stack.resources[name]["Type"].startswith("AWS::SQS")
    ]
    assert {output["Value"] for name, output in stack.outputs.items() if name.startswith("Notif")} == {"NONE"}
    assert "ssm:" not in json.dumps(statements("ExecutionRole"))
    assert not [name for name in services().resources if name.startswith("Notifier")]


def test_alerts_get_to_the_notifiers_queue() -> None:
    """The queue is subscribed to the topic without envelopes, takes its messages alone, encrypted and over TLS."""
    stack = Template(STACK, NOTIFYING)
    (queue,) = stack.of_type("SQS::Queue").values()
    arn = stack.answer("NotifyQueue.Arn")
    assert queue["SqsManagedSseEnabled"] is True
    (subscription,) = stack.of_type("SNS::Subscription").values()
    assert (subscription["Protocol"], subscription["Endpoint"], subscription["RawMessageDelivery"]) == (
        "sqs",
        arn,
        True,
    )
    (policy,) = stack.of_type("SQS::QueuePolicy").values()
    assert policy["Queues"] == [stack.outputs["NotifyQueueUrl"]["Value"]]
    send, only_tls = policy["PolicyDocument"]["Statement"]
    assert send["Principal"] == {"Service": "sns.amazonaws.com"}
    assert send["Condition"] == {"ArnEquals": {"aws:SourceArn": stack.outputs["AlertTopicArn"]["Value"]}}
    assert (only_tls["Effect"], only_tls["Resource"], send["Resource"]) == ("Deny", arn, arn)
    assert only_tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_only_ecs_reads_the_urls() -> None:
    """The one parameter is for the role that starts tasks, and no task may read it."""
    (reads,) = (s for s in statements("ExecutionRole", **NOTIFYING) if "ssm" in s["Action"])
    assert (reads["Action"], reads["Resource"]) == (
        "ssm:GetParameters",
        "arn:aws:ssm:eu-central-1:123456789012:parameter/tickertape/notify-urls",
    )
    assert not [role for role in ROLES[:3] if "ssm" in json.dumps(statements(role, **NOTIFYING))]


@pytest.mark.parametrize("task", TASKS)
def test_containers_can_harm_nobody(task: str) -> None:
    """Root file system read-only, /tmp the only place to write to, not root, no capabilities."""
    spec = all_services().container(task)
    assert spec["ReadonlyRootFilesystem"] is True
    assert [mount["ContainerPath"] for mount in spec["MountPoints"]] == ["/tmp"]  # noqa: S108  (the task's own)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", spec["User"])
    assert spec["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert not spec.get("Privileged")


@pytest.mark.parametrize("task", TASKS)
def test_environments_hold_no_secrets(task: str) -> None:
    """What a task may do comes from its role: its environment has names only; ECS alone reads the notifier's URLs."""
    names = all_services().environment(task)
    assert not [name for name in names if re.search("SECRET|PASSWORD|TOKEN|CREDENTIAL|ACCESS_KEY|URLS", name)]
    secrets = all_services().container(task).get("Secrets", [])
    urls = "arn:aws:ssm:eu-central-1:123456789012:parameter/tickertape/notify-urls"
    assert secrets == ([{"Name": "NOTIFY_URLS", "ValueFrom": urls}] if task == "NotifierTask" else [])


@pytest.mark.parametrize("task", TASKS)
def test_tasks_have_time_to_stop(task: str) -> None:
    """A task is killed a minute after it was asked to stop, not earlier."""
    assert all_services().container(task)["StopTimeout"] == 60


@pytest.mark.parametrize("task", TASKS)
def test_a_stuck_task_is_replaced(task: str) -> None:
    """ECS asks each task how it is: it does not know the image's own health check."""
    assert all_services().container(task)["HealthCheck"]["Command"] == ["CMD", "tickertape", "health"]


def test_tasks_have_roles_of_their_own() -> None:
    """Each task has its own role, and logs to its own group."""
    outputs = {name: output["Value"] for name, output in Template(STACK, NOTIFYING).outputs.items()}
    tasks = all_services().of_type("ECS::TaskDefinition")
    for name in ("Producer", "Consumer", "Notifier"):
        task = tasks[f"{name}Task"]
        assert task["TaskRoleArn"] == outputs[f"{name}RoleArn"]
        assert task["ExecutionRoleArn"] == outputs["ExecutionRoleArn"]
        options = task["ContainerDefinitions"][0]["LogConfiguration"]["Options"]
        assert options["awslogs-group"] == outputs[f"{name}Logs"]


def test_a_bad_deployment_is_taken_back() -> None:
    """Services return to what ran before when new tasks do not come up."""
    for service in all_services().of_type("ECS::Service").values():
        breaker = service["DeploymentConfiguration"]["DeploymentCircuitBreaker"]
        assert breaker == {"Enable": True, "Rollback": True}


def test_there_are_never_two_producers() -> None:
    """A deployment stops the old producer before it starts the new one: two would publish two markets."""
    producer = services().of_type("ECS::Service")["ProducerService"]["DeploymentConfiguration"]
    assert (producer["MinimumHealthyPercent"], producer["MaximumPercent"]) == (0, 100)


def test_scaling_alone_sets_the_number_of_consumers() -> None:
    """A deployment leaves the number of consumers as scaling has made it."""
    assert "DesiredCount" not in services().of_type("ECS::Service")["ConsumerService"]


@pytest.mark.parametrize("network", ["PUBLIC_SUBNETS", "VPC_ENDPOINTS"])
def test_nobody_connects_to_tasks(network: str) -> None:
    """Tasks accept no connection and make HTTPS ones only."""
    group = services(Network=network).of_type("EC2::SecurityGroup")["TasksSecurityGroup"]
    assert "SecurityGroupIngress" not in group
    assert [(rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]] == [(443, 443)]


def test_own_networks_have_no_nat() -> None:
    """With public subnets tasks have addresses and a way out; with endpoints neither; there is never a NAT gateway."""
    public, private = services(), services(Network="VPC_ENDPOINTS")
    for template, address, routes in ((public, "ENABLED", 1), (private, "DISABLED", 0)):
        assert len(template.of_type("EC2::Route")) == routes
        assert template.of_type("EC2::NatGateway") == {}
        for service in template.of_type("ECS::Service").values():
            assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == address


def test_with_endpoints_every_service_can_be_reached() -> None:
    """Without the internet there is an endpoint for each service that tasks call, or that starts them."""
    endpoints = services(Network="VPC_ENDPOINTS").of_type("EC2::VPCEndpoint").values()
    reached = {endpoint["ServiceName"].partition("eu-central-1.")[2] for endpoint in endpoints}
    roles = [role for role in OF_TASKS if role != "NotifierRole"]  # which there is not
    called = {action.partition(":")[0] for role in roles for s in statements(role) for action in listed(s["Action"])}
    names = {"kinesis": {"kinesis-streams"}, "cloudwatch": {"monitoring"}, "ecr": {"ecr.api", "ecr.dkr"}}
    assert set().union(*(names.get(service, {service}) for service in called)) == reached


def test_an_existing_network_is_left_alone() -> None:
    """In a network of yours, only a security group is created."""
    template = services(Network="EXISTING", VpcId="vpc-0123456789abcdef0", SubnetIds="subnet-01234567,subnet-89abcdef")
    created = {resource["Type"] for resource in template.resources.values()}
    assert {kind for kind in created if "EC2" in kind} == {"AWS::EC2::SecurityGroup"}
    for service in template.of_type("ECS::Service").values():
        network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert network["Subnets"] == ["subnet-01234567", "subnet-89abcdef"]


@pytest.mark.parametrize("symbols", ["AAPL", "M&M.NS,RELIANCE.NS,NIFTY_FIN_SERVICE.NS", "^GSPC,BRK-B,EURUSD=X,BTC/USD"])
def test_services_take_any_symbols(symbols: str) -> None:
    """The pattern of the parameter allows what the contract allows."""
    (producer,) = (
        task
        for task in services(Symbols=symbols).of_type("ECS::TaskDefinition").values()
        if {"Name": "SYMBOLS", "Value": symbols} in task["ContainerDefinitions"][0]["Environment"]
    )
    assert producer


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        (STACK, {"ShardCount": 0}),
        (STACK, {"ShardCount": 201}),
        (STACK, {"StreamMode": "SOMETIMES"}),
        (STACK, {"StreamRetentionHours": 23}),
        (STACK, {"StreamName": "with space"}),
        (STACK, {"ArchiveBucketName": "Upper"}),
        (STACK, {"ArchiveTransitionDays": 7}),
        (STACK, {"ArchiveExpirationDays": 60}),
        (STACK, {"AlertEmail": "nobody"}),
        (STACK, {"AlertEmailSeverity": "grave"}),
        (STACK, {"AlertPhone": "0151 12345678"}),
        (STACK, {"ApplicationName": "a b"}),
        (STACK, {"LogRetentionDays": 2}),
        (STACK, {"TicksPointInTimeRecovery": "perhaps"}),
        (BUDGET, {"MonthlyBudget": 0}),
        (BUDGET, {"OperatorEmail": ""}),
        (STACK, {"CatalogName": "With-Hyphen"}),
        (STACK, {"AthenaScanLimitGigabytes": 0}),
        (SERVICES, {"Image": ""}),
        (SERVICES, {"StreamName": ""}),
        (SERVICES, {"ConsumerRoleArn": "consumer"}),
        (SERVICES, {"RetrievalMode": "BOTH"}),
        (SERVICES, {"MinTasks": 11, "MaxTasks": 20}),
        (SERVICES, {"MinTasks": 2, "MaxTasks": 1}),
        (SERVICES, {"MinTasks": 10, "MaxTasks": 9}),
        (SERVICES, {"MinTasks": 5, "MaxTasks": 3}),
        (SERVICES, {"Image": "tickertape"}),
        (SERVICES, {"CpuArchitecture": "x86"}),
        (SERVICES, {"ConsumerSize": "256-4096"}),
        (SERVICES, {"MinTasks": 0}),
        (SERVICES, {"ShardsPerTask": 0}),
        (SERVICES, {"Symbols": "AAPL, MSFT"}),
        (SERVICES, {"FeedIntervalSeconds": 0}),
        (SERVICES, {"VpcId": "vpc-1"}),
        (SERVICES, {"VpcId": "vpc-01234567"}),
        (SERVICES, {"Network": "EXISTING"}),
        (SERVICES, {"Network": "EXISTING", "VpcId": "vpc-01234567"}),
        (SERVICES, {"Feed": "yahoo"}),
        (SERVICES, {"Feed": "yahoo", "Symbols": "KO", "Network": "VPC_ENDPOINTS"}),
        (SERVICES, {**notifier(SERVICES), "Network": "VPC_ENDPOINTS"}),
        (SERVICES, {"NotifyGroupSeconds": 3601}),
        (STACK, {"NotifyUrls": "slack://a/b/c"}),
        (STACK, {"NotifyUrls": "without-slash"}),
    ],
    ids=str,
)
def test_nonsense_is_refused(path: Path, parameters: dict[str, str | int]) -> None:
    """A parameter out of range, or a combination that cannot work, is refused before anything is created."""
    assert deployable(path)
    with pytest.raises(RefusedError):
        deployable(path, parameters)


@pytest.mark.parametrize("path", [SERVICES, BUDGET], ids=lambda path: path.stem)
def test_what_is_needed_is_asked_for(path: Path) -> None:
    """Without what has no default, nothing is deployed."""
    with pytest.raises(RefusedError):
        Template(path)


@pytest.mark.parametrize("least", range(1, 11))
@pytest.mark.parametrize("most", range(1, 13))
def test_there_are_never_fewer_tasks_allowed_than_needed(least: int, most: int) -> None:
    """Any MinTasks is taken with any MaxTasks that is not below it, and refused with all others."""
    if least <= most:
        assert services(MinTasks=least, MaxTasks=most).resources
    else:
        with pytest.raises(RefusedError, match="MinTasks"):
            services(MinTasks=least, MaxTasks=most)


@pytest.mark.parametrize(
    "image",
    [
        "tickertape:1",
        "localhost:5000/tickertape:dev",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/tickertape:3f2c1ab",
        f"public.ecr.aws/x/tickertape@sha256:{'0' * 64}",
        f"tickertape:1@sha256:{'0' * 64}",
    ],
)
def test_images_are_taken(image: str) -> None:
    """Any image is taken that has a tag or a digest, from any registry."""
    assert services(Image=image).container("ConsumerTask")["Image"] == image


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_no_stack_ties_another(path: Path) -> None:
    """Nothing is exported or imported: what another stack imports can never change."""
    assert "ImportValue" not in path.read_text()
    assert not [name for name, output in deployable(path).outputs.items() if "Export" in output]


def test_services_take_what_the_stack_gives() -> None:
    """Each parameter of the services without a default, but for the image, is an output of the first stack.

    The readers' role is the only one that is for people instead.
    """
    needed = {name for name, about in read(SERVICES)["Parameters"].items() if "Default" not in about}
    assert needed - {"Image"} == Template(STACK).outputs.keys() - {"ReaderRoleArn"}


@pytest.mark.parametrize("mode", ["POLLING", "FANOUT"])
def test_what_changes_in_the_stack_gets_to_the_tasks(mode: str) -> None:
    """Names, application and way of reading may change at any deployment: they are passed on."""
    changed = Template(STACK, {"StreamName": "quotes", "ApplicationName": "mine", "RetrievalMode": mode})
    told = services(changed).environment("ConsumerTask")
    assert (told["STREAM_NAME"], told["APPLICATION_NAME"], told["KCL_RETRIEVAL_MODE"]) == ("quotes", "mine", mode)


@pytest.mark.parametrize("network", ["PUBLIC_SUBNETS", "VPC_ENDPOINTS"])
def test_tasks_start_when_there_is_a_way_to_aws(network: str) -> None:
    """Services come after routes and endpoints of their network, without any of them in a tag."""
    resources = services(Network=network).resources
    awaited = json.dumps(resources["WayToAws"]["Metadata"])
    ways = {"AWS::EC2::Route", "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPCEndpoint"}
    template = services(Network=network)
    for name, resource in resources.items():
        if resource["Type"] in ways:
            assert f'"{template.answer(name)}"' in awaited
        if resource["Type"] == "AWS::ECS::Service":
            assert resource["DependsOn"] == "WayToAws"


def test_every_alarm_has_its_runbook() -> None:
    """Each alarm tells operators, says in its description where to read on, and that section is there."""
    sections = re.findall(r"^### (.+)$", (ROOT / "docs" / "operate.md").read_text(), re.MULTILINE)
    alarms = services().of_type("CloudWatch::Alarm")
    assert (len(alarms), Template(STACK).of_type("CloudWatch::Alarm")) == (11, {})
    stack = Template(STACK, NOTIFYING)
    for alarm in (*alarms.values(), *stack.of_type("CloudWatch::Alarm").values()):
        assert alarm["AlarmActions"] == alarm["OKActions"] == [stack.outputs["OperatorTopicArn"]["Value"]]
        named = re.search(r'See "(.+)" in docs/operate.md', alarm["AlarmDescription"])
        assert named is not None
        assert named[1] in sections


def test_dashboard_is_json_that_shows_all_alarms() -> None:
    """The dashboard can be read, its widgets do not overlap, and it shows the alarms that are there in any case."""
    template = services(ProducerTasks=0)
    (dashboard,) = template.of_type("CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"])["widgets"]
    places = [
        (x, y)
        for widget in widgets
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(places) == len(set(places))
    shown = next(widget for widget in widgets if widget["type"] == "alarm")["properties"]["alarms"]
    assert set(shown) == {template.answer(f"{name}.Arn") for name in template.of_type("CloudWatch::Alarm")}


def test_the_small_task_has_room_for_the_notifier() -> None:
    """With a notifier the one task is the next larger one, whose containers fit into it; its failure is its own."""
    for parameters, memory, names in (
        ({}, 1024, ["producer", "consumer"]),
        (notifier(SMALL), 2048, ["producer", "consumer", "notifier"]),
    ):
        (task,) = deployable(SMALL, parameters).of_type("ECS::TaskDefinition").values()
        containers = task["ContainerDefinitions"]
        assert (int(task["Memory"]), [container["Name"] for container in containers]) == (memory, names)
        assert sum(container["Memory"] for container in containers) <= memory
        assert [volume["Name"] for volume in task["Volumes"]] == [f"{name}-tmp" for name in names]
        assert [c["Name"] for c in containers if c["Essential"]] == ["producer", "consumer"]
    alone = services(**notifier(SERVICES)).container("NotifierTask")
    together = containers[2]
    apart = {"Essential", "Memory", "RestartPolicy", "MountPoints", "HealthCheck"}
    assert {k: v for k, v in together.items() if k not in apart} == {k: v for k, v in alone.items() if k not in apart}


def test_the_small_tasks_role_has_what_the_notifiers_has() -> None:
    """Where containers share a role, the notifier's actions are added to it, for the same queue."""
    stack = Template(STACK, NOTIFYING)
    (policy,) = deployable(SMALL, notifier(SMALL)).of_type("IAM::Policy").values()
    _, pass_on = policy["PolicyDocument"]["Statement"]
    assert [pass_on] == stack.of_type("IAM::Role")["NotifierRole"]["Policies"][0]["PolicyDocument"]["Statement"]
    (without,) = deployable(SMALL).of_type("IAM::Policy").values()
    assert [s["Sid"] for s in without["PolicyDocument"]["Statement"]] == ["Publish"]
