"""`make deploy` and its kin as one types them: what they do, and what they say where something is in the way."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from benchmarks.cost import ONE_LARGE, Bill
from ecs.__main__ import main
from ecs.stores import NAMES
from ecs.template import TemplateFile
from infra.templates import BOOTSTRAP, BUDGET, ROOT, SERVICES, SMALL, STACK, Template
from tests.integration import ministack

CODE = [f"{package}/{files}" for package in ("infra", "ecs") for files in ("*.py", "__pycache__/*.pyc")]
"""With what Python has compiled it to, which it would do anew for each test."""
TOOLS = ("bash", "cat", "dirname", "env", "git", "make", "sh")
NAME = "tickertape"
BUCKET = "tickertape-123456789012-us-east-1"
TEMPLATES = (STACK, SERVICES, SMALL, BOOTSTRAP)
HOW_TO_GO_ON = "EMPTY=yes deletes them, make deploy takes them over"
SET = 'MinTasks=2 PriceLevels={"KO": 60, "PEP": 1.5}'
KEYS = {"AWS_ACCESS_KEY_ID": "embedded", "AWS_SECRET_ACCESS_KEY": "embedded"}


class Account:
    """A copy of what deploys, and settings, as on a machine that has nothing else."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._folder, self.settings = folder, settings
        self.project = folder / "project"
        for file in ("Makefile", "pyproject.toml", "requirements-dev.lock", *CODE):
            for source in ROOT.glob(file):
                copy = self.project / source.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)  # with its time: make and Python look whether what they made is too old
        (self.project / ".venv").symlink_to(ROOT / ".venv")
        shutil.copy(BUDGET, self.template(BUDGET))  # which is refused, as in many regions
        for template in TEMPLATES:
            self.template(template).write_text(ministack.understood(template))
        self.tools = folder / "bin"
        self.tools.mkdir()
        for tool in TOOLS:
            self.give_tool(tool)

    def template(self, path: Path) -> Path:
        """Where the copy of a template is."""
        return self.project / path.relative_to(ROOT)

    def give_tool(self, name: str) -> None:
        """Have a tool of this machine."""
        found = shutil.which(name)
        assert found is not None
        (self.tools / name).symlink_to(found)

    def make(self, target: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a target."""
        nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        alone = {"PATH": str(self.tools), "HOME": str(self._folder), "AWS_EC2_METADATA_DISABLED": "true"}
        return subprocess.run(
            ["make", "--silent", target],
            cwd=self.project,
            env={**alone, **nothing, **self.settings, **settings},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def done(self, target: str, **settings: str) -> list[str]:
        """Run a target that is to succeed; give its lines."""
        run = self.make(target, **settings)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout.splitlines()

    def refused(self, target: str, **settings: str) -> str:
        """Run a target that is to be refused; give its one line, make's own being the second."""
        run = self.make(target, **settings)
        assert run.returncode != 0
        first, *rest = run.stderr.splitlines()
        assert [line for line in rest if not line.startswith("make: ***")] == []
        assert first.startswith(f"make {target}: ")
        return first.removeprefix(f"make {target}: ")

    def client(self, service: str) -> Any:  # noqa: ANN401  (boto3 makes clients' types at run time)
        """Ask this AWS."""
        session = boto3.Session("embedded", "embedded", region_name="us-east-1")
        return session.client(service, endpoint_url=self.settings["AWS_ENDPOINT_URL"])  # type: ignore[call-overload]  # as above

    def stack(self, name: str) -> dict[str, Any] | None:
        """Describe a stack, if it is there."""
        try:
            (described,) = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError:
            return None
        found: dict[str, Any] = described
        return found

    def parameters(self, stack: str) -> dict[str, str]:
        """What a stack was deployed with."""
        described = self.stack(stack)
        assert described is not None
        return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in described["Parameters"]}

    def stores(self) -> tuple[set[str], set[str]]:
        """Names of the buckets and tables that there are."""
        buckets = {bucket["Name"] for bucket in self.client("s3").list_buckets()["Buckets"]}
        return buckets, set(self.client("dynamodb").list_tables()["TableNames"])

    def run_consumer_once(self, application: str = "tickertape-consumer") -> None:
        """Leave behind what the KCL makes."""
        for name in (application, f"{application}-CoordinatorState"):
            key = {"AttributeName": "leaseKey"}
            self.client("dynamodb").create_table(
                TableName=name,
                KeySchema=[{**key, "KeyType": "HASH"}],
                AttributeDefinitions=[{**key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """An AWS for all tests; gives its URL."""
    with subprocess.Popen(ministack.command(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture
def account(server: str, tmp_path: Path) -> Account:
    """An account with nothing in it."""
    httpx.post(f"{server}/_ministack/reset", timeout=60).raise_for_status()
    return Account(tmp_path, AWS_ENDPOINT_URL=server, AWS_REGION="us-east-1", **KEYS)


def test_it_deploys_deploys_again_and_destroys(account: Account) -> None:
    """Parameters get there and stay; what was recorded is kept, what the KCL remembers of the stream is not."""
    first = account.done("deploy", IMAGE="tickertape:1-arm64", STORES="ShardCount=3", SERVICES=SET)
    assert "Created ECS's service-linked role: this account has not used ECS before" in first
    assert first[-1].endswith(f"#dashboards:name={NAME}-services")
    (_,) = account.client("iam").list_roles(PathPrefix="/aws-service-role/ecs.amazonaws.com/")["Roles"]
    again = account.done("deploy", IMAGE="tickertape:2-arm64")
    assert again == first[-1:]
    definition = account.client("ecs").describe_task_definition(taskDefinition=f"{NAME}-services-consumer")
    assert definition["taskDefinition"]["containerDefinitions"][0]["image"] == "tickertape:2-arm64"
    assert account.parameters(NAME)["ShardCount"] == "3"
    services = account.parameters(f"{NAME}-services")
    assert (services["MinTasks"], services["CpuArchitecture"]) == ("2", "ARM64")
    assert services["PriceLevels"] == '{"KO": 60, "PEP": 1.5}'

    account.run_consumer_once()
    destroyed = account.done("destroy")
    assert account.stack(NAME) is None
    assert account.stack(f"{NAME}-services") is None
    assert account.stores() == ({BUCKET}, {"stock-market-data", "stock-alerts"})
    assert destroyed == [
        f"Deleted stack {NAME}-services",
        f"Deleted stack {NAME}",
        "Deleted table tickertape-consumer",
        "Deleted table tickertape-consumer-CoordinatorState",
        f"Kept, with all that is in them: {BUCKET}, stock-market-data, stock-alerts. {HOW_TO_GO_ON}",
    ]


def test_what_was_kept_is_deleted_later_or_taken_over(account: Account) -> None:
    """After a destroy, a deployment goes on with the same tables and bucket; or they can still be deleted, by name."""
    own_names = "TicksTableName=my-ticks ArchiveBucketName=my-own-archive"
    account.done("deploy", IMAGE="tickertape:1-x86_64", STORES=own_names)
    account.client("dynamodb").put_item(TableName="my-ticks", Item={"symbol": {"S": "KO"}, "timestamp": {"S": "1"}})
    account.done("destroy")
    taken_over = account.done("deploy", IMAGE="tickertape:1-x86_64")
    assert taken_over[0] == (
        "Taking over what an earlier deployment has left: "
        "ArchiveBucket (my-own-archive), TicksTable (my-ticks), AlertsTable (stock-alerts)"
    )
    assert account.parameters(NAME)["TicksTableName"] == "my-ticks"
    assert account.client("dynamodb").scan(TableName="my-ticks")["Count"] == 1
    resources = account.client("cloudformation").describe_stack_resources(StackName=NAME)["StackResources"]
    assert {"my-ticks", "my-own-archive", "stock-market-stream"} <= {r["PhysicalResourceId"] for r in resources}

    account.done("destroy")
    assert account.done("destroy", EMPTY="yes") == [
        "There is no stack 'tickertape' in us-east-1 of account 123456789012",
        "Deleted bucket my-own-archive with 0 versions of objects",
        "Deleted table my-ticks",
        "Deleted table stock-alerts",
    ]
    assert account.stores() == (set(), set())
    assert account.refused("destroy", EMPTY="yes") == (
        "there is no stack 'tickertape' in us-east-1 of account 123456789012, and nothing that one has left"
    )


def test_every_version_goes(account: Account) -> None:
    """With EMPTY=yes bucket and tables go, too, however many versions and delete markers the bucket has."""
    account.done("deploy", IMAGE="tickertape:1-x86_64")
    s3 = account.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for key in ("ticks/a", "ticks/a", "ticks/b"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")
    s3.delete_object(Bucket=BUCKET, Key="ticks/b")
    account.client("dynamodb").delete_table(TableName="stock-alerts")
    lines = account.done("destroy", EMPTY="yes")
    assert lines[-3:] == [
        f"Deleted bucket {BUCKET} with 4 versions of objects",
        "Deleted table stock-market-data",
        "There is no table stock-alerts",
    ]
    assert account.stores() == (set(), set())


def test_a_failed_creation_is_removed(account: Account) -> None:
    """A stack whose first creation failed takes no update: it goes first, and that is said."""
    glue = account.client("glue")
    glue.create_database(DatabaseInput={"Name": "tickertape"})
    failed = account.refused("deploy", IMAGE="tickertape:1-x86_64")
    assert failed.startswith(f"stack {NAME} is ROLLBACK_COMPLETE: Catalog (AWS::Glue::Database): ")
    described = account.stack(NAME)
    assert described is not None
    assert described["StackStatus"] == "ROLLBACK_COMPLETE"
    glue.delete_database(Name="tickertape")
    lines = account.done("deploy", IMAGE="tickertape:1-x86_64")
    assert lines[0] == f"Removing stack {NAME}: its creation had failed (ROLLBACK_COMPLETE)"
    assert account.stack(f"{NAME}-services") is not None


def test_there_may_be_several(account: Account) -> None:
    """Another name of the stack is all that a second deployment needs; the first one's names are refused to it."""
    account.done("deploy", IMAGE="tickertape:1-x86_64")
    account.done("deploy", IMAGE="tickertape:1-x86_64", STACK="other-one")
    one, other = account.parameters(NAME), account.parameters("other-one")
    assert {name for name in NAMES if one[name] == other[name]} == set()
    assert len(account.stores()[0]) == 2
    for taken in ("TicksTableName=stock-market-data", f"ArchiveBucketName={BUCKET}", "StreamName=other-one-stream"):
        parameter, _, name = taken.partition("=")
        whose = "other-one" if parameter == "StreamName" else NAME
        assert account.refused("deploy", IMAGE="tickertape:1-x86_64", STACK="third", STORES=taken) == (
            f"{name} is there already and belongs to stack {whose}: choose another name, STORES={parameter}=..."
        )
    assert account.stack("third") is None

    account.done("destroy", STACK="other-one", EMPTY="yes")
    assert account.stores() == ({BUCKET}, {"stock-market-data", "stock-alerts"})


def test_what_belongs_to_another_stack_is_never_deleted(account: Account) -> None:
    """Names that were mixed up cost nobody his records."""
    account.done("deploy", IMAGE="tickertape:1-x86_64")
    mixed_up = f"ArchiveBucketName={BUCKET} TicksTableName=stock-market-data"
    lines = account.done("destroy", STACK="other", STORES=mixed_up, EMPTY="yes")
    assert f"Kept {BUCKET}: it belongs to stack {NAME}" in lines
    assert f"Kept stock-market-data: it belongs to stack {NAME}" in lines
    assert account.stores() == ({BUCKET}, {"stock-market-data", "stock-alerts"})


def test_fan_out_ends_with_its_use(account: Account) -> None:
    """A registered consumer is paid for and keeps the stream: it goes with a switch to polling, and with the stream."""
    account.done("deploy", IMAGE="tickertape:1-x86_64", STORES="RetrievalMode=FANOUT")
    kinesis = account.client("kinesis")

    def registered() -> set[str]:
        return {c["ConsumerName"] for c in kinesis.list_stream_consumers(StreamARN=stream)["Consumers"]}

    stream = kinesis.describe_stream_summary(StreamName="stock-market-stream")["StreamDescriptionSummary"]["StreamARN"]
    for consumer in ("tickertape-consumer", "somebody-else"):
        kinesis.register_stream_consumer(StreamARN=stream, ConsumerName=consumer)
    account.done("deploy", IMAGE="tickertape:1-x86_64")
    assert registered() == {"tickertape-consumer", "somebody-else"}
    lines = account.done("deploy", IMAGE="tickertape:1-x86_64", STORES="RetrievalMode=POLLING")
    assert "Deregistered tickertape-consumer from enhanced fan-out of stock-market-stream" in lines
    assert registered() == {"somebody-else"}
    lines = account.done("destroy")
    assert lines.index("Deregistered somebody-else from enhanced fan-out of stock-market-stream") < lines.index(
        f"Deleted stack {NAME}"
    )


def test_no_budget_is_no_failure(account: Account) -> None:
    """Where there can be no budget, one line says so, and all else is deployed; a later deployment is quiet."""
    lines = account.done("deploy", IMAGE="tickertape:1-x86_64", STORES="OperatorEmail=me@example.org")
    (said,) = (line for line in lines if line.startswith("Nobody will be warned of costs: "))
    assert said.endswith("this region has no AWS::Budgets::Budget; create a budget in the Billing console")
    assert account.stack(f"{NAME}-services") is not None
    assert account.stack(f"{NAME}-budget") is None
    assert len(account.done("deploy", IMAGE="tickertape:1-x86_64")) == 1


def test_the_stream_keeps_its_leases_to_itself(account: Account) -> None:
    """Leases of one stream are no use for another: it comes with another application."""
    account.done("deploy", IMAGE="tickertape:1-x86_64")
    assert account.refused("deploy", IMAGE="tickertape:1-x86_64", STORES="StreamName=another") == (
        "another StreamName needs another ApplicationName: the consumer's leases are of one stream"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SERVICES": "MinTasks=5 MaxTasks=2"}, "MinTasks may not be more than MaxTasks"),
        ({"SERVICES": "MinTasks=many"}, "MinTasks may not be 'many'"),
        ({"SERVICES": "Feed=yahoo"}, "Yahoo's feeds need Symbols"),
        ({"SERVICES": "PriceLevels={KO: 60}"}, "SERVICES: PriceLevels= is not followed by JSON"),
        (
            {"SERVICES": 'PriceLevels={"KO": -60}'},
            "`consume` would not start with these SERVICES: PRICE_LEVELS: a price",
        ),
        ({"SERVICES": 'FieldMap={"TICKER": "ticker"}'}, "FIELD_MAP: 'ticker' is no field of a tick"),
        ({"SERVICES": "Symbols=KO,KO"}, "`produce` would not start with these SERVICES: SYMBOLS: KO is there"),
        ({"SERVICES": "AlertThreshold=0", "SIZE": "small"}, "ALERT_THRESHOLD: a price is not above 0"),
        ({"SERVICES": "ShardCount=2"}, "SERVICES has no parameter ShardCount, but in STORES there is"),
        ({"STORES": "Symbols=KO"}, "STORES has no parameter Symbols, but in SERVICES there is"),
        ({"STORES": "Shards=2"}, "STORES has no parameter Shards: docs/deploy.md"),
        ({"STORES": "ShardCount=0"}, "ShardCount may not be '0'"),
        ({"STORES": "ShardCount"}, "STORES holds parameters"),
        ({"STORES": "'"}, "STORES cannot be read"),
        ({"STORES": "MonthlyBudget=50"}, "MonthlyBudget needs somebody to warn: STORES=OperatorEmail="),
        ({"STORES": "NotifyUrls=/nowhere"}, "there is no parameter /nowhere in SSM in us-east-1: first `aws ssm put-p"),
        ({"STORES": "NotifyUrls=slack://a/b/c"}, "NotifyUrls may not be 'slack://a/b/c'"),
        ({"STORES": "MonthlyBudget=x OperatorEmail=a@b.example"}, "MonthlyBudget may not be 'x'"),
        ({"STACK": "-x"}, "STACK is 1 to 35 letters"),
        ({"SIZE": "tiny"}, "SIZE is full or small or large, not 'tiny'"),
        ({"IMAGE": "a b"}, "Image may not be 'a b'"),
        (
            {"IMAGE": "999999999999.dkr.ecr.us-east-1.amazonaws.com/own:1"},
            "is not in 123456789012.dkr.ecr.us-east-1.amazonaws.com",
        ),
        (
            {"IMAGE": "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1"},
            "there is no image 123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1: `make push`",
        ),
    ],
    ids=str,
)
def test_nonsense_is_refused_before_anything_is_created(
    account: Account,
    settings: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What cannot be meant so is refused in one line, with nothing in the account."""
    for name, value in {"IMAGE": "tickertape:1-x86_64", **account.settings, **settings}.items():
        monkeypatch.setenv(name, value)
    assert main(["deploy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("make deploy: ")
    assert said in line
    assert account.stack(NAME) is None
    assert account.stores() == (set(), set())


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({}, ["region", "image"]),
        ({"IMAGE": "tickertape:1"}, ["region"]),
        ({"AWS_REGION": "eu-central-1"}, ["image", "credentials"]),
        ({"AWS_REGION": "eu-central-1", "IMAGE": "tickertape:1"}, ["credentials"]),
    ],
    ids=str,
)
def test_what_is_missing_is_said_in_one_line(settings: dict[str, str], missing: list[str], tmp_path: Path) -> None:
    """Region, image and credentials that are missing are named in one line, each with what to do."""
    line = Account(tmp_path).refused("deploy", **settings)
    assert line.startswith("missing: ")
    assert [word for word in ("region", "image", "credentials") if word in line] == missing


def test_a_repository_may_deploy_without_keys(account: Account) -> None:
    """An administrator creates the role once; all roles that are deployed then are within its boundary."""
    iam = account.client("iam")
    iam.create_open_id_connect_provider(Url="https://token.actions.githubusercontent.com")
    (line,) = account.done("bootstrap", GITHUB="me/tickertape")
    assert account.parameters(f"{NAME}-bootstrap")["OidcProvider"] == "EXISTING"
    role = line.removeprefix("AWS_ROLE_ARN=").rpartition("/")[2]
    (trust,) = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"]["StringEquals"] == {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": "repo:me/tickertape:environment:production",
    }
    assert account.done("bootstrap", GITHUB="me/tickertape") == [line]
    account.done("deploy", IMAGE="tickertape:1-arm64", SIZE="small")
    boundary = account.parameters(NAME)["RolesBoundary"]
    # MiniStack makes roles without their boundary: what the template says of it must do.
    roles = Template(STACK, {"RolesBoundary": boundary, "NotifyUrls": "/urls"}).of_type("IAM::Role").values()
    limit = f"arn:aws:iam::123456789012:policy/{boundary}"
    assert {role["PermissionsBoundary"] for role in roles} == {limit}
    assert iam.get_policy(PolicyArn=limit)["Policy"]["PolicyName"] == boundary
    assert account.refused("bootstrap", GITHUB="tickertape") == (
        "GITHUB is OWNER/REPOSITORY, not 'tickertape': make bootstrap GITHUB=me/tickertape"
    )


def test_a_small_one_stays_small_until_it_is_said_otherwise(account: Account) -> None:
    """SIZE=small is one task and one shard, with a notifier if one is wanted, is remembered, and can be given up."""
    lines = account.done("deploy", IMAGE="tickertape:1-arm64", SIZE="small")
    assert "logsV2:live-tail" in lines[-1]
    stores = account.parameters(NAME)
    assert (stores["ShardCount"], stores["LogMetrics"]) == ("1", "FEW")
    account.client("ssm").put_parameter(Name="/urls", Type="SecureString", Value="ntfy://a-topic")
    account.done("deploy", IMAGE="tickertape:2-arm64", SERVICES="Capacity=FARGATE_SPOT", STORES="NotifyUrls=/urls")
    assert len(account.client("sqs").list_queues()["QueueUrls"]) == 1
    services = account.client("ecs").list_services(cluster=f"{NAME}-services")["serviceArns"]
    assert [arn.rpartition("/")[2] for arn in services] == ["tickertape"]
    told = account.parameters(f"{NAME}-services")
    assert (told["Capacity"], told["ArchiveSeconds"]) == ("FARGATE_SPOT", "300")
    assert "SERVICES has no parameter MinTasks" in account.refused(
        "deploy", IMAGE="tickertape:2-arm64", SERVICES="MinTasks=2"
    )
    account.done("deploy", IMAGE="tickertape:3-arm64", SIZE="full", STORES="LogMetrics=ALL ShardCount=2")
    services = account.client("ecs").list_services(cluster=f"{NAME}-services")["serviceArns"]
    assert {arn.rpartition("/")[2] for arn in services} == {"producer", "consumer", "notifier"}
    account.done("deploy", IMAGE="tickertape:3-arm64", STORES="NotifyUrls=")
    services = account.client("ecs").list_services(cluster=f"{NAME}-services")["serviceArns"]
    assert {arn.rpartition("/")[2] for arn in services} == {"producer", "consumer"}
    assert not account.client("sqs").list_queues().get("QueueUrls")
    account.done("destroy", EMPTY="yes")
    assert account.stores() == (set(), set())


def test_a_large_one_is_what_the_bill_says(account: Account) -> None:
    """SIZE=large deploys the parameters of which README's bill is made; those of one's own stay, then and later."""
    account.done("deploy", IMAGE="tickertape:1-arm64", STORES="StreamRetentionHours=48")
    account.done("deploy", IMAGE="tickertape:2-arm64", SIZE="large", SERVICES="BehindSeconds=90")
    stores, services = account.parameters(NAME), account.parameters(f"{NAME}-services")
    assert (stores["StreamRetentionHours"], services["BehindSeconds"]) == ("48", "90")
    deployed = replace(ONE_LARGE, stores=known(STACK, stores), services=known(SERVICES, services))
    assert Bill(deployed).lines() == Bill(ONE_LARGE).lines()
    assert Bill(deployed).total() < 1000

    account.done("deploy", IMAGE="tickertape:2-arm64", SERVICES="RowSeconds=10")
    account.done("deploy", IMAGE="tickertape:3-arm64", SIZE="large")
    assert account.parameters(f"{NAME}-services")["RowSeconds"] == "10"


def known(path: Path, parameters: dict[str, str]) -> dict[str, str]:
    """What was set, without what names something of this account."""
    names = {"ArchiveBucketName", "Image"} | {name for name in parameters if name.endswith(("Arn", "Logs"))}
    declared = TemplateFile.read(path).parameters
    return {name: value for name, value in parameters.items() if name in declared and name not in names}


def test_it_pushes_what_is_checked_out(account: Account) -> None:
    """The image is built once, without attestations, with its revision, into a repository that forgets old ones."""
    subprocess.run(["git", "init", "--quiet", "."], cwd=account.project, check=True)
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run(["git", *who, "commit", "--quiet", "--allow-empty", "-m", "x"], cwd=account.project, check=True)
    (account.project / ".git" / "info" / "exclude").write_text("*\n")
    docker = account.tools / "docker"  # a registry is the one thing that no emulator has
    docker.write_text('#!/bin/sh\necho "$BUILDX_NO_DEFAULT_ATTESTATIONS $*" >> "$HOME/docker.log"\necho done\n')
    docker.chmod(0o755)
    lines = account.done("push", ARCH="ARM64", REPOSITORY="mine")
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=account.project, capture_output=True, text=True, check=True
    ).stdout.strip()
    image = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:{revision[:7]}-arm64"
    assert lines == [f"IMAGE={image}"]
    login, build, push = (account.tools.parent / "docker.log").read_text().splitlines()
    assert login.endswith("login --username AWS --password-stdin 123456789012.dkr.ecr.us-east-1.amazonaws.com")
    assert build == f"1 build --platform linux/arm64 --build-arg REVISION={revision} --tag {image} ."
    assert push.strip() == f"push {image}"
    ecr = account.client("ecr")
    policy = json.loads(ecr.get_lifecycle_policy(repositoryName="mine")["lifecyclePolicyText"])
    assert [rule["selection"]["tagStatus"] for rule in policy["rules"]] == ["untagged", "any"]
    (repository,) = ecr.describe_repositories(repositoryNames=["mine"])["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"

    ecr.put_image(repositoryName="mine", imageTag=f"{revision[:7]}-arm64", imageManifest="{}")
    assert account.done("push", ARCH="ARM64", REPOSITORY="mine") == lines
    assert len((account.tools.parent / "docker.log").read_text().splitlines()) == 3
    account.done("deploy", IMAGE=image, SIZE="small")
    assert account.parameters(NAME)["ImageRepositoryName"] == "mine"
