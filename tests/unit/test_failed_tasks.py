"""The rule that tells operators of tasks that fail, asked in moto's EventBridge: which events, in which words."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.templates import SERVICES, SMALL, STACK, Template, deployable

ACCOUNT = "arn:aws:ecs:eu-central-1:123456789012"
CLUSTER = f"{ACCOUNT}:cluster/tickertape-services"
TASK = f"{ACCOUNT}:task/tickertape-services/0123456789abcdef0123456789abcdef"
DEPLOYMENT = "Scaling activity initiated by (deployment ecs-svc/0123456789012345678)"

FAILED = {
    "a crash": ("EssentialContainerExited", "Essential container in task exited"),
    "out of memory": ("EssentialContainerExited", "OutOfMemoryError: Container killed due to memory usage"),
    "no image": ("TaskFailedToStart", "CannotPullContainerError: tickertape:1 not found"),
    "stuck": ("ServiceSchedulerInitiated", "Task failed container health checks"),
}
"""Stop code and reason of tasks that nobody wanted to end."""

ENDED = {
    "a deployment": ("ServiceSchedulerInitiated", DEPLOYMENT),
    "a scale-in": ("ServiceSchedulerInitiated", "Scaling activity initiated by deployment ecs-svc/1"),
    "a person": ("UserInitiated", "Task stopped by user"),
    "Spot": ("SpotInterruption", "Your Spot Task was interrupted."),
    "maintenance": ("TerminationNotice", "ECS is performing maintenance on the underlying infrastructure"),
}
"""The same of tasks that were ended on purpose."""


class Bus:
    """A rule at work, whose target is a queue in place of the topic."""

    def __init__(self, rule: Mapping[str, Any]) -> None:
        self._events: Any = boto3.client("events", region_name="eu-central-1")
        self._sqs: Any = boto3.client("sqs", region_name="eu-central-1")
        self._queue = self._sqs.create_queue(QueueName="operators")["QueueUrl"]
        (target,) = rule["Targets"]
        arn = "arn:aws:sqs:eu-central-1:123456789012:operators"
        self._events.put_rule(Name="failed", EventPattern=json.dumps(rule["EventPattern"]))
        self._events.put_targets(Rule="failed", Targets=[{**target, "Arn": arn}])

    def told(self, detail: Mapping[str, Any], **more: str) -> list[str]:
        """What the target gets of an event."""
        event = {"Source": "aws.ecs", "DetailType": "ECS Task State Change", "Detail": json.dumps(detail), **more}
        self._events.put_events(Entries=[event])
        received = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in received]


def rule_of(path: Path) -> dict[str, Any]:
    """The one rule of a template."""
    (rule,) = deployable(path).of_type("Events::Rule").values()
    return rule


@pytest.fixture(params=[SERVICES, SMALL], ids=lambda path: path.stem)
def bus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """The rule of each size."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "embedded")
    with mock_aws():
        yield Bus(rule_of(request.param))


def stopped(code: str, reason: str, **more: str) -> dict[str, Any]:
    """What ECS says of a task that has stopped."""
    return {
        "clusterArn": CLUSTER,
        "taskArn": TASK,
        "group": "service:consumer",
        "launchType": "FARGATE",
        "desiredStatus": "STOPPED",
        "lastStatus": "STOPPED",
        "stopCode": code,
        "stoppedReason": reason,
        "containers": [{"name": "consumer", "lastStatus": "STOPPED", "exitCode": 1}],
        **more,
    }


@pytest.mark.parametrize("what", FAILED)
def test_operators_are_told_of_a_failed_task(bus: Bus, what: str) -> None:
    """Once, in one sentence: which service's, why, where to read on, and which task it was."""
    code, reason = FAILED[what]
    (told,) = bus.told(stopped(code, reason))
    assert f'a task of service:consumer has failed ({reason}). See "Failed tasks" in docs/operate.md. {TASK}' in told


@pytest.mark.parametrize("what", ENDED)
def test_nobody_is_told_of_a_task_that_was_ended(bus: Bus, what: str) -> None:
    """Deployments, scaling, people and Spot end tasks as well: that is no failure."""
    assert bus.told(stopped(*ENDED[what])) == []


@pytest.mark.parametrize(
    "more", [{"clusterArn": f"{ACCOUNT}:cluster/other"}, {"lastStatus": "DEPROVISIONING"}, {"lastStatus": "RUNNING"}]
)
def test_other_events_are_passed_over(bus: Bus, more: dict[str, str]) -> None:
    """Tasks of other clusters, and those that have not stopped yet, are nobody's business."""
    assert bus.told(stopped(*FAILED["a crash"], **more)) == []


@pytest.mark.parametrize(
    "more", [{"Source": "aws.batch"}, {"DetailType": "ECS Service Action"}, {"DetailType": "ECS Container Instance"}]
)
def test_events_of_other_kinds_are_passed_over(bus: Bus, more: dict[str, str]) -> None:
    """Only ECS's changes of a task's state count."""
    assert bus.told(stopped(*FAILED["a crash"]), **more) == []


@pytest.mark.parametrize("path", [SERVICES, SMALL], ids=lambda path: path.stem)
@pytest.mark.parametrize("key", ["OWN", "NONE"])
def test_events_can_reach_the_operators(path: Path, key: str) -> None:
    """EventBridge may publish to the topic that it is told, and use its key; it meets no condition on its source."""
    stack = Template(STACK, {"OperatorTopicKey": key})
    (target,) = deployable(path, stores=stack).of_type("Events::Rule").popitem()[1]["Targets"]
    (policy,) = (p for p in stack.of_type("SNS::TopicPolicy").values() if p["Topics"] == [target["Arn"]])
    statements = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"]}
    assert statements["EventsPublish"] == {
        "Sid": "EventsPublish",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": target["Arn"],
    }
    users = [s for key in stack.of_type("KMS::Key").values() for s in key["KeyPolicy"]["Statement"][1:]]
    assert len(users) == (key == "OWN")
    for use in users:
        assert "events.amazonaws.com" in use["Principal"]["Service"]
        assert use["Condition"].keys() == {"ArnLike"}  # of the topic: EventBridge names neither account nor rule
