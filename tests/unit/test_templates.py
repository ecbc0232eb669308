"""infra/stack.yaml and ecs/services.yaml: right for AWS, least privilege, and no way to say nonsense to them."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from common.tick import Tick
from tests.templates import ROOT, SERVICES, STACK, RefusedError, Template, listed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about setuptools, which parliament still uses
    from parliament import analyze_policy_string

DEPLOYED = {
    "<Stream>": "quotes",
    "<Stream.Arn>": "arn:aws:kinesis:eu-central-1:123456789012:stream/quotes",
    "<TicksTable.Arn>": "arn:aws:dynamodb:eu-central-1:123456789012:table/ticks",
    "<AlertsTable.Arn>": "arn:aws:dynamodb:eu-central-1:123456789012:table/alerts",
    "<ArchiveBucket>": "archive",
    "<ArchiveBucket.Arn>": "arn:aws:s3:::archive",
    "<AlertTopic>": "arn:aws:sns:eu-central-1:123456789012:alerts",
    "<ProducerLogs.Arn>": "arn:aws:logs:eu-central-1:123456789012:log-group:/tickertape/producer:*",
    "<ConsumerLogs.Arn>": "arn:aws:logs:eu-central-1:123456789012:log-group:/tickertape/consumer:*",
}
ROLES = ("ProducerRole", "ConsumerRole", "ExecutionRole")
TASKS = ("ProducerTask", "ConsumerTask")
WITHOUT_RESOURCES = {"cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"}
"""Actions that AWS cannot limit to resources."""

LARGEST_TEMPLATE_BYTES = 51_200
"""Larger ones need a bucket to be deployed from."""


def services(**parameters: str | int) -> Template:
    """The services, with an image."""
    return Template(SERVICES, {"Image": "tickertape:1", **parameters})


def statements(role: str, **parameters: str | int) -> list[dict[str, Any]]:
    """What a role of the stack may do."""
    policies = Template(STACK, parameters, deployed=DEPLOYED).of_type("IAM::Role")[role]["Policies"]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


@pytest.mark.parametrize("path", [STACK, SERVICES], ids=lambda path: path.stem)
def test_template_is_right_for_aws(path: Path) -> None:
    """The linter that knows CloudFormation's own schemas finds nothing to say, and no bucket is needed to deploy."""
    lint = Path(sys.executable).with_name("cfn-lint")
    result = subprocess.run([str(lint), str(path)], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(path.read_bytes()) < LARGEST_TEMPLATE_BYTES


@pytest.mark.parametrize("role", ROLES)
def test_policies_are_sound(role: str) -> None:
    """The linter that knows every action of AWS, its resources and conditions finds nothing to say."""
    for policy in Template(STACK, {"RetrievalMode": "FANOUT"}, deployed=DEPLOYED).of_type("IAM::Role")[role][
        "Policies"
    ]:
        findings = analyze_policy_string(json.dumps(policy["PolicyDocument"])).findings
        assert [(finding.issue, finding.detail, finding.location) for finding in findings] == []


@pytest.mark.parametrize("role", ROLES)
def test_roles_may_do_single_actions_on_our_resources(role: str) -> None:
    """No action is a pattern, and only what AWS cannot limit to resources is allowed on all of them."""
    for statement in statements(role, RetrievalMode="FANOUT"):
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


@pytest.mark.parametrize("role", ROLES)
def test_only_tasks_of_this_account_take_roles(role: str) -> None:
    """A role can be taken by ECS tasks, and by those of this account only."""
    (trust,) = Template(STACK).of_type("IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


@pytest.mark.parametrize("name", ["TicksTable", "AlertsTable", "ArchiveBucket"])
def test_what_was_recorded_outlives_the_stack(name: str) -> None:
    """Deleting or replacing the stack's tables and bucket leaves them, with all that is in them."""
    resource = Template(STACK).resources[name]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_everything_at_rest_is_encrypted() -> None:
    """Stream, tables, bucket, topics and query results are encrypted."""
    stack = Template(STACK)
    (stream,) = stack.of_type("Kinesis::Stream").values()
    (bucket,) = stack.of_type("S3::Bucket").values()
    (workgroup,) = stack.of_type("Athena::WorkGroup").values()
    assert stream["StreamEncryption"]["EncryptionType"] == "KMS"
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert workgroup["WorkGroupConfiguration"]["ResultConfiguration"]["EncryptionConfiguration"]
    assert all(table["SSESpecification"]["SSEEnabled"] for table in stack.of_type("DynamoDB::Table").values())
    assert all(topic["KmsMasterKeyId"] for topic in stack.of_type("SNS::Topic").values())


def test_alarms_can_reach_the_operators() -> None:
    """CloudWatch and Budgets may publish to the operators' topic and use its key; SNS's own they could not use."""
    stack = Template(STACK)
    topic = stack.of_type("SNS::Topic")["OperatorTopic"]
    assert topic["KmsMasterKeyId"] == "<OperatorKey.Arn>"
    allowed = {"cloudwatch.amazonaws.com", "budgets.amazonaws.com"}
    (publish,) = stack.of_type("SNS::TopicPolicy")["OperatorTopicPolicy"]["PolicyDocument"]["Statement"]
    use = stack.of_type("KMS::Key")["OperatorKey"]["KeyPolicy"]["Statement"][1]
    assert set(publish["Principal"]["Service"]) == set(use["Principal"]["Service"]) == allowed
    assert publish["Action"] == "sns:Publish"
    assert set(use["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}


def test_only_the_consumer_publishes_alerts() -> None:
    """The topic's policy names the consumer's role and nobody else; SNS's own names everybody of the account."""
    policy = Template(STACK).of_type("SNS::TopicPolicy")["AlertTopicPolicy"]
    assert policy["Topics"] == ["<AlertTopic>"]
    (publish,) = policy["PolicyDocument"]["Statement"]
    assert publish["Principal"] == {"AWS": "<ConsumerRole.Arn>"}
    assert (publish["Effect"], publish["Action"]) == ("Allow", "sns:Publish")


def test_bucket_is_closed() -> None:
    """Nothing in the bucket can be made public, and nobody reaches it without TLS."""
    stack = Template(STACK, deployed=DEPLOYED)
    (bucket,) = stack.of_type("S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (policy,) = stack.of_type("S3::BucketPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Principal"]) == ("Deny", "s3:*", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == ["arn:aws:s3:::archive", "arn:aws:s3:::archive/*"]


def lifecycle(**parameters: str | int) -> dict[str, dict[str, Any]]:
    """The bucket's rules by their ids."""
    (bucket,) = Template(STACK, parameters).of_type("S3::Bucket").values()
    return {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}


def test_archive_is_kept_as_long_as_one_wants() -> None:
    """By default objects move after 30 days and stay for ever; both are parameters, and 0 is never."""
    assert lifecycle().keys() == {"abandoned-uploads", "query-results", "infrequent-access"}
    rules = lifecycle(ArchiveTransitionDays=0, ArchiveExpirationDays=365)
    assert rules.keys() == {"abandoned-uploads", "query-results", "expiration"}
    assert rules["expiration"]["ExpirationInDays"] == 365


@pytest.mark.parametrize("name", ["TicksTable", "AlertsTable"])
def test_tables_expire_rows_and_can_be_restored(name: str) -> None:
    """Rows expire by the attribute that the consumer writes, and a table goes back to any second of the last weeks."""
    table = Template(STACK).of_type("DynamoDB::Table")[name]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_named_queries_read_a_few_days_of_our_tables() -> None:
    """Each query belongs to our workgroup and database, reads one of its tables, and only some of the partitions."""
    stack = Template(STACK)
    tables = {table["TableInput"]["Name"] for table in stack.of_type("Glue::Table").values()}
    queries = stack.of_type("Athena::NamedQuery")
    assert len(queries) == 5
    for query in queries.values():
        assert (query["WorkGroup"], query["Database"]) == ("<Workgroup>", "<Catalog>")
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
    """The budget is of the amount that was asked for, in dollars a month; 0 is none, and operators hear of it."""
    assert Template(STACK, {"MonthlyBudget": 0}).of_type("Budgets::Budget") == {}
    (budget,) = Template(STACK, {"MonthlyBudget": 50}).of_type("Budgets::Budget").values()
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    assert (budget["Budget"]["BudgetType"], budget["Budget"]["TimeUnit"]) == ("COST", "MONTHLY")
    told = [subscriber for n in budget["NotificationsWithSubscribers"] for subscriber in n["Subscribers"]]
    assert told
    assert all(s == {"SubscriptionType": "SNS", "Address": "<OperatorTopic>"} for s in told)


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


@pytest.mark.parametrize("task", TASKS)
def test_containers_can_harm_nobody(task: str) -> None:
    """Root file system read-only, /tmp the only place to write to, not root, no capabilities."""
    spec = services().container(task)
    assert spec["ReadonlyRootFilesystem"] is True
    assert [mount["ContainerPath"] for mount in spec["MountPoints"]] == ["/tmp"]  # noqa: S108  (the task's own)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", spec["User"])
    assert spec["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert not spec.get("Privileged")


@pytest.mark.parametrize("task", TASKS)
def test_environments_hold_no_secrets(task: str) -> None:
    """What a task may do comes from its role: its environment has names only."""
    names = services().environment(task)
    assert not [name for name in names if re.search("SECRET|PASSWORD|TOKEN|CREDENTIAL|ACCESS_KEY", name)]
    assert "Secrets" not in services().container(task)


@pytest.mark.parametrize("task", TASKS)
def test_tasks_have_time_to_stop(task: str) -> None:
    """A task is killed a minute after it was asked to stop, not earlier."""
    assert services().container(task)["StopTimeout"] == 60


def test_a_stuck_consumer_is_replaced() -> None:
    """ECS asks the consumer how it is."""
    assert services().container("ConsumerTask")["HealthCheck"]["Command"] == ["CMD", "tickertape", "health"]


def test_tasks_have_roles_of_their_own() -> None:
    """Each task has its own role, and logs to its own group."""
    tasks = services().of_type("ECS::TaskDefinition")
    for name in ("Producer", "Consumer"):
        task = tasks[f"{name}Task"]
        assert task["TaskRoleArn"] == f"<tickertape-{name}RoleArn>"
        assert task["ExecutionRoleArn"] == "<tickertape-ExecutionRoleArn>"
        options = task["ContainerDefinitions"][0]["LogConfiguration"]["Options"]
        assert options["awslogs-group"] == f"<tickertape-{name}Logs>"


def test_a_bad_deployment_is_taken_back() -> None:
    """Both services return to what ran before when new tasks do not come up."""
    for service in services().of_type("ECS::Service").values():
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
    called = {action.partition(":")[0] for role in ROLES for s in statements(role) for action in listed(s["Action"])}
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
        (STACK, {"MonthlyBudget": -1}),
        (STACK, {"CatalogName": "With-Hyphen"}),
        (STACK, {"AthenaScanLimitGigabytes": 0}),
        (SERVICES, {}),
        (SERVICES, {"Image": "tickertape"}),
        (SERVICES, {"Image": "tickertape:1", "CpuArchitecture": "x86"}),
        (SERVICES, {"Image": "tickertape:1", "ConsumerSize": "256-4096"}),
        (SERVICES, {"Image": "tickertape:1", "MinTasks": 0}),
        (SERVICES, {"Image": "tickertape:1", "ShardsPerTask": 0}),
        (SERVICES, {"Image": "tickertape:1", "Symbols": "AAPL, MSFT"}),
        (SERVICES, {"Image": "tickertape:1", "FeedIntervalSeconds": 0}),
        (SERVICES, {"Image": "tickertape:1", "VpcId": "vpc-1"}),
        (SERVICES, {"Image": "tickertape:1", "VpcId": "vpc-01234567"}),
        (SERVICES, {"Image": "tickertape:1", "Network": "EXISTING"}),
        (SERVICES, {"Image": "tickertape:1", "Network": "EXISTING", "VpcId": "vpc-01234567"}),
        (SERVICES, {"Image": "tickertape:1", "Feed": "yahoo"}),
        (SERVICES, {"Image": "tickertape:1", "Feed": "yahoo", "Symbols": "KO", "Network": "VPC_ENDPOINTS"}),
    ],
    ids=str,
)
def test_nonsense_is_refused(path: Path, parameters: dict[str, str | int]) -> None:
    """A parameter out of range, or a combination that cannot work, is refused before anything is created."""
    with pytest.raises(RefusedError):
        Template(path, parameters)


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


def test_what_is_imported_is_exported() -> None:
    """Everything that the services' template takes from the stack is there to take."""
    exported = {output["Export"]["Name"] for output in Template(STACK).outputs.values()}
    text = json.dumps([services(Network=network).resources for network in ("PUBLIC_SUBNETS", "VPC_ENDPOINTS")])
    imported = set(re.findall(r"<(tickertape-\w+)>", text))
    assert imported
    assert imported <= exported


def test_every_alarm_has_its_runbook() -> None:
    """Each alarm tells operators, says in its description where to read on, and that section is there."""
    sections = re.findall(r"^### (.+)$", (ROOT / "docs" / "operate.md").read_text(), re.MULTILINE)
    alarms = services().of_type("CloudWatch::Alarm")
    assert len(alarms) == 7
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == ["<tickertape-OperatorTopicArn>"]
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
    assert set(shown) == {f"<{name}.Arn>" for name in template.of_type("CloudWatch::Alarm")}
