"""`make deploy` and its kin: what they say where something is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "dirname", "git")
needs_aws_cli = pytest.mark.skipif(shutil.which("aws") is None, reason="the AWS CLI is not installed")


def make(target: str, folder: Path, *tools: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a target where only these tools and settings are, as on a machine that knows nothing of AWS."""
    for tool in (*TOOLS, *tools):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    alone = {"PATH": str(folder), "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true", **nothing}
    make = shutil.which("make")
    assert make is not None
    return subprocess.run(
        [make, target], cwd=ROOT, env={**alone, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("target", ["push", "scan-image", "deploy", "destroy"])
def test_without_the_aws_cli_it_says_so(target: str, tmp_path: Path) -> None:
    """Without the AWS CLI there is one line that says so."""
    result = make(target, tmp_path)
    assert result.returncode != 0
    assert result.stderr.splitlines()[0] == f"make {target}: the AWS CLI is missing: see https://aws.amazon.com/cli/"


@needs_aws_cli
@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, ["region", "image"]),
        ({"IMAGE": "tickertape:1"}, ["region"]),
        ({"AWS_REGION": "eu-central-1"}, ["image", "credentials"]),
        ({"AWS_REGION": "eu-central-1", "IMAGE": "tickertape:1"}, ["credentials"]),
    ],
    ids=str,
)
def test_what_is_missing_is_said_in_one_line(environment: dict[str, str], missing: list[str], tmp_path: Path) -> None:
    """Region, image and credentials that are missing are named in one line, each with what to do."""
    result = make("deploy", tmp_path, "aws", **environment)
    assert result.returncode != 0
    line = result.stderr.splitlines()[0]
    assert line.startswith("make deploy: missing: ")
    assert [word for word in ("region", "image", "credentials") if word in line] == missing
