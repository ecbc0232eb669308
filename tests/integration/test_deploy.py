"""`make deploy` and its kin, with the real AWS CLI: what they do, and what they say where something is missing."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import ministack
from tests.ministack import environment
from tests.templates import ROOT, SERVICES, STACK

TOOLS = ("bash", "cat", "dirname", "git", "make", "sh")
NAME = "tickertape"


class Account:
    """A clone of the project, the AWS CLI, and settings, as on a machine that has nothing else."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._project = folder / "project"
        for template in (STACK, SERVICES):  # MiniStack would refuse a few of the resources
            copy = self._project / template.relative_to(ROOT)
            copy.parent.mkdir(parents=True)
            copy.write_text(ministack.understood(template))
        for file in ("Makefile", "ecs/deploy.sh"):
            shutil.copy(ROOT / file, self._project / file)
        self.tools = folder / "bin"
        self.tools.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.tools / tool).symlink_to(found)
        cli = self.tools / "aws"
        cli.write_text(f'#!/bin/sh\nexec "{environment.python()}" -m awscli "$@"\n')
        cli.chmod(0o755)
        nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        alone = {"PATH": str(self.tools), "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true"}
        self._environment = {**alone, **nothing, **settings}

    def make(self, target: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a target."""
        return self._run(["make", "--silent", target], settings)

    def aws(self, *arguments: str) -> Any:  # noqa: ANN401  (what the CLI answers)
        """Ask the CLI; None where it says that there is nothing."""
        run = self._run(["aws", *arguments, "--output", "json"], {"AWS_DEFAULT_REGION": "us-east-1"})
        return json.loads(run.stdout) if run.returncode == 0 else None

    def _run(self, command: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self._project,
            env=self._environment | settings,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    """An account with nothing in it."""
    with subprocess.Popen(ministack.command(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        keys = {"AWS_ACCESS_KEY_ID": "embedded", "AWS_SECRET_ACCESS_KEY": "embedded"}
        yield Account(tmp_path, AWS_ENDPOINT_URL=url, AWS_REGION="us-east-1", **keys)
        server.terminate()


@pytest.mark.timeout(300)
def test_it_deploys_deploys_again_and_destroys(account: Account) -> None:
    """Parameters get there and stay; so does what was recorded, until it is said that it may go."""
    first = account.make("deploy", IMAGE="tickertape:1-arm64", STORES="ShardCount=3", SERVICES="MinTasks=2")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1].endswith(f"#dashboards:name={NAME}-services")
    again = account.make("deploy", IMAGE="tickertape:2-arm64")
    assert again.returncode == 0, again.stderr
    definition = account.aws("ecs", "describe-task-definition", "--task-definition", f"{NAME}-services-consumer")
    assert definition["taskDefinition"]["containerDefinitions"][0]["image"] == "tickertape:2-arm64"
    assert parameters(account, NAME)["ShardCount"] == "3"
    services = parameters(account, f"{NAME}-services")
    assert (services["MinTasks"], services["CpuArchitecture"]) == ("2", "ARM64")

    assert account.make("destroy").returncode == 0
    assert account.aws("cloudformation", "describe-stacks", "--stack-name", NAME) is None
    assert stores(account) == (1, {"stock-market-data", "stock-alerts"})
    nothing = account.make("destroy")
    assert nothing.returncode != 0
    assert nothing.stderr.startswith(f"make destroy: there is no stack '{NAME}' in us-east-1 of account 123456789012\n")


@pytest.mark.timeout(300)
def test_what_was_recorded_is_deleted_only_with_a_flag(account: Account) -> None:
    """With EMPTY=yes, bucket and tables go, too."""
    assert account.make("deploy", IMAGE="tickertape:1-x86_64").returncode == 0
    assert stores(account) == (1, {"stock-market-data", "stock-alerts"})
    destroyed = account.make("destroy", EMPTY="yes")
    assert destroyed.returncode == 0, destroyed.stderr
    assert stores(account) == (0, set())


def parameters(account: Account, stack: str) -> dict[str, str]:
    """What a stack was deployed with."""
    (described,) = account.aws("cloudformation", "describe-stacks", "--stack-name", stack)["Stacks"]
    return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in described["Parameters"]}


def stores(account: Account) -> tuple[int, set[str]]:
    """How many buckets there are, and which tables."""
    return len(account.aws("s3api", "list-buckets")["Buckets"]), set(
        account.aws("dynamodb", "list-tables")["TableNames"]
    )


@pytest.mark.parametrize("target", ["push", "scan-image", "deploy", "destroy"])
def test_without_the_aws_cli_it_says_so(target: str, tmp_path: Path) -> None:
    """Without the AWS CLI there is one line that says so."""
    account = Account(tmp_path)
    (account.tools / "aws").unlink()
    result = account.make(target)
    assert result.returncode != 0
    assert result.stderr.splitlines()[0] == f"make {target}: the AWS CLI is missing: see https://aws.amazon.com/cli/"


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
    result = Account(tmp_path).make("deploy", **settings)
    assert result.returncode != 0
    line = result.stderr.splitlines()[0]
    assert line.startswith("make deploy: missing: ")
    assert [word for word in ("region", "image", "credentials") if word in line] == missing
