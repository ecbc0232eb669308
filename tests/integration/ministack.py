"""MiniStack: an AWS whose IAM says no, in an environment of its own, as it pins libraries that we use, too."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml

from tests.integration.pipeline import Pipeline

_FOLDER = Path(__file__).parents[1] / "ministack"
_CACHE = Path(__file__).parents[2] / ".venv" / "ministack"
_INSTALL_SECONDS = 120
_UNKNOWN_TYPES = {
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Athena::NamedQuery",
    "AWS::Budgets::Budget",
}


def command() -> list[str]:
    """Give the command that starts it and prints its URL; the first time, install it."""
    lock = _FOLDER / "requirements.lock"
    installed = _CACHE / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if not installed.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            made = Path(scratch) / "venv"
            _uv("venv", "--python", sys.executable, str(made))
            _uv("pip", "install", "--python", str(made / "bin" / "python"), "--require-hashes", "-r", str(lock))
            try:
                made.rename(installed)  # whole or not at all: others may be installing it too
            except OSError:
                if not installed.exists():
                    raise
    return [str(installed / "bin" / "python"), str(_FOLDER / "serve.py")]


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    ended = subprocess.run([str(uv), *arguments], capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    assert ended.returncode == 0, f"MiniStack could not be installed, is there a network? {ended.stderr}"


def refuses(resource: Mapping[str, Any]) -> bool:
    """Tell whether it creates nothing of a stack that has such a resource; docs/deploy.md says which these are."""
    has_metric_math = resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
    return resource["Type"] in _UNKNOWN_TYPES or has_metric_math


def understood(path: Path) -> str:
    """Give a template without what it refuses."""
    template = cfn_yaml.load(str(path))
    kept = {name: resource for name, resource in template["Resources"].items() if not refuses(resource)}
    for resource in kept.values():
        if "DesiredCount" in resource.get("Properties", {}):
            resource["Properties"]["DesiredCount"] = 1  # it would take the parameter's number for text
    return json.dumps({**template, "Resources": kept})


def take_role(pipeline: Pipeline, role: str) -> dict[str, str]:
    """Give the environment of a task with this role, which the account may take from now on, too: we are not ECS."""
    arn = pipeline.outputs[role]
    trust = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    pipeline.client("iam").update_assume_role_policy(RoleName=arn.rpartition("/")[2], PolicyDocument=document)
    taken = pipeline.client("sts").assume_role(RoleArn=arn, RoleSessionName="task")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": taken["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": taken["SecretAccessKey"],
        "AWS_SESSION_TOKEN": taken["SessionToken"],
    }
