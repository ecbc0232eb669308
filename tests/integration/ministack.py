"""MiniStack: an AWS whose IAM says no."""

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from infra.templates import read
from tests.integration.pipeline import Pipeline
from tests.ministack import environment

_SERVE = Path(environment.__file__).with_name("serve.py")
_UNKNOWN_TYPES = {
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Athena::NamedQuery",
    "AWS::IAM::OIDCProvider",
}


def command() -> list[str]:
    """Give the command that starts it and prints its URL."""
    return [str(environment.python()), str(_SERVE)]


def refuses(resource: Mapping[str, Any]) -> bool:
    """Tell whether it creates nothing of a stack that has such a resource; docs/deploy.md says which these are."""
    has_metric_math = resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
    return resource["Type"] in _UNKNOWN_TYPES or has_metric_math


@cache
def understood(path: Path) -> str:
    """Give a template without what it refuses."""
    template = deepcopy(read(path))
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
