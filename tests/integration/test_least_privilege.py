"""The roles against what a real run calls, as it was seen on the wire: nothing is missing, nothing is unused."""

import ast
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import httpx
import pytest

from infra.templates import SMALL, deployable, listed
from tests.chaos.calls import Call
from tests.chaos.faulty_proxy import FaultyProxy
from tests.functional.chat import Chat, running_chat
from tests.integration.pipeline import Pipeline, Put
from tests.integration.traffic import first_bars, traffic
from tests.waiting import wait_for

ROLES = {
    "producer": "ProducerRoleArn",
    "consumer": "ConsumerRoleArn",
    "notifier": "NotifierRoleArn",
    "reader": "ReaderRoleArn",
}
COMMAND = [sys.executable, "-m", "tickertape"]
_STOP_SECONDS = 30
NOT_IN_THIS_RUN = {
    ("HoldLeases", "dynamodb:DeleteItem"): "only minutes after a shard has ended are its leases removed",
}
"""By statement and action: granted, and rightly not called here. What fan-out needs is not granted here at all."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pipeline, set[Call]]]:
    """All that is done: a start, ticks and what is none, alerts, metrics, what is read back, a stop, and questions."""
    folder = tmp_path_factory.mktemp("run")
    symbol = "REAL"
    with (
        Pipeline(folder, shards=2, parameters={"NotifyUrls": "/urls"}) as pipeline,
        FaultyProxy(pipeline.url, record=True) as proxy,
        running_chat() as chat,
    ):
        pipeline.endpoint = proxy.url
        subscribe_notifier(pipeline)
        settings = {
            "AWS_ACCESS_KEY_ID": "consumer",
            "ALERT_COOLDOWN_SECONDS": "86400",  # longer than the ticks that are read back: so are the alerts
            "KCL_METRICS_LEVEL": "SUMMARY",
            "KCL_METRICS_BUFFER_TIME_MILLIS": "1000",
        }
        consumer = pipeline.start_consumer(settings)
        pipeline.put(traffic(seed=8)[:400])  # what is late and what is no tick are in it
        pipeline.produce({"AWS_ACCESS_KEY_ID": "producer", **first_bars(folder, symbol)})
        pipeline.drain(consumer)
        stop(consumer)
        successor = pipeline.start_consumer(settings)  # which goes on with the symbol
        later = {"symbol": symbol, "timestamp": "2023-07-12T00:00:00Z", "price": 44}
        pipeline.put([Put(symbol, json.dumps(later).encode())])
        pipeline.drain(successor)
        stop(successor)
        notify(pipeline, chat)
        look_and_ask(pipeline.environment() | {"AWS_ACCESS_KEY_ID": "reader"})
        yield pipeline, proxy.calls()


def subscribe_notifier(pipeline: Pipeline) -> None:
    """Subscribe its queue as the template does: moto passes over subscriptions."""
    name = pipeline.outputs["NotifyQueueUrl"].rpartition("/")[2]
    pipeline.client("sns").subscribe(
        TopicArn=pipeline.outputs["AlertTopicArn"],
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:us-east-1:123456789012:{name}",
        Attributes={"RawMessageDelivery": "true"},
    )


def notify(pipeline: Pipeline, chat: Chat) -> None:
    """Have the alerts passed on to a chat that takes them, and to one that does not."""
    chat.faults["/fails"] = 500
    settings = {
        "AWS_ACCESS_KEY_ID": "notifier",
        "NOTIFY_QUEUE_URL": pipeline.outputs["NotifyQueueUrl"],
        "NOTIFY_URLS": f"json://{chat.host}/well json://{chat.host}/fails",
    }
    notifier = subprocess.Popen([*COMMAND, "notify"], env=pipeline.environment() | settings)
    try:
        wait_for(lambda: chat.taken and chat.refused["/fails"])
        stop(notifier)
    finally:
        notifier.kill()


def look_and_ask(environment: dict[str, str]) -> None:
    """Do what readers do: ask each question, and open the page, also where nothing names the symbols but the table."""
    asked = (["latest"], ["history", "REAL"], ["alerts"], ["quarantine"], ["sql", "SELECT count(*) FROM raw_data"])
    for question in asked:
        subprocess.run([*COMMAND, *question, "--no-local"], check=True, stdout=subprocess.DEVNULL, env=environment)
    look(environment, "pipeline")
    look(environment | {"ARCHIVE_BUCKET": ""}, "quotes")


def look(environment: dict[str, str], event: str) -> None:
    """Open the view of the pipeline until the page is told of something."""
    command = [*COMMAND, "dashboard", "--no-local", "--port", "0"]
    dashboard = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert dashboard.stdout is not None
        address = dashboard.stdout.readline().strip()
        with httpx.stream("GET", f"{address}events?pipeline", timeout=60) as events:
            assert f"event: {event}" in events.iter_lines()
    finally:
        dashboard.terminate()
        dashboard.communicate(timeout=_STOP_SECONDS)


def stop(consumer: subprocess.Popen[bytes]) -> None:
    """Stop it as a container service does."""
    consumer.send_signal(signal.SIGTERM)
    consumer.wait(_STOP_SECONDS)


def test_a_stop_gives_the_leases_up(run: tuple[Pipeline, set[Call]]) -> None:
    """At a planned stop the shards' processes free the daemon's leases, which the consumer's role must allow."""
    pipeline, _ = run
    assert {shard: lease.owner for shard, lease in pipeline.leases().items()} == dict.fromkeys(pipeline.leases())


@pytest.mark.parametrize("task", ROLES)
def test_every_call_is_granted(run: tuple[Pipeline, set[Call]], task: str) -> None:
    """Whatever a task calls, its role allows on exactly that resource."""
    pipeline, calls = run
    statements = granted(pipeline, ROLES[task])
    made = {call for call in calls if call.access_key == task}
    assert made
    assert [call for call in sorted(made) if not any(allows(s, call) for s in statements)] == []


@pytest.mark.parametrize("task", ROLES)
def test_every_grant_is_used(run: tuple[Pipeline, set[Call]], task: str) -> None:
    """Whatever a role allows, its task calls on each of the resources, but for what is named with its reason."""
    pipeline, calls = run
    statements = granted(pipeline, ROLES[task])
    made = {call for call in calls if call.access_key == task}
    unused = [grant for grant in grants(statements) if not any(allows(grant, call) for call in made)]
    assert [grant for grant in unused if (grant["Sid"], grant["Action"]) not in NOT_IN_THIS_RUN] == []


def test_one_task_for_all_has_what_all_call(run: tuple[Pipeline, set[Call]]) -> None:
    """The small size's role is the consumer's and what the others need besides: all of it is called."""
    pipeline, calls = run
    told = ("StreamName", "ConsumerRoleArn", "NotifyUrlsArn", "NotifyQueueUrl", "NotifierLogs")
    names = {name: pipeline.outputs[name] for name in told}
    pseudo = {"AWS::Region": "us-east-1"}
    (policy,) = deployable(SMALL, names, pseudo=pseudo).of_type("IAM::Policy").values()
    assert policy["Roles"] == [pipeline.outputs["ConsumerRoleArn"].rpartition("/")[2]]
    besides = policy["PolicyDocument"]["Statement"]
    consumers = granted(pipeline, ROLES["consumer"])
    by_others = {call for call in calls if call.access_key in {"producer", "notifier"}}
    assert [call for call in by_others if not any(allows(s, call) for s in consumers + besides)] == []
    assert [g for g in grants(besides) if not any(allows(g, call) for call in by_others)] == []
    assert [
        g for g in grants(besides) if any(allows(s, call) for s in consumers for call in by_others if allows(g, call))
    ] == []


def test_what_is_not_called_is_granted(run: tuple[Pipeline, set[Call]]) -> None:
    """The list of exceptions has none that is over."""
    pipeline, calls = run
    for sid, action in NOT_IN_THIS_RUN:
        (grant,) = (g for g in grants(granted(pipeline, ROLES["consumer"])) if (g["Sid"], g["Action"]) == (sid, action))
        assert not any(allows(grant, call) for call in calls)


def granted(pipeline: Pipeline, role: str) -> list[dict[str, Any]]:
    """Read from the AWS what a role may do, as it was deployed."""
    iam, name = pipeline.client("iam"), pipeline.outputs[role].rpartition("/")[2]
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    statements = ast.literal_eval(document)["Statement"]  # moto tells it as Python writes it,
    return [statement for statement in statements if statement is not None]  # and AWS::NoValue as nothing


def allows(statement: dict[str, Any], call: Call) -> bool:
    """Tell whether a statement allows a call."""
    return (
        statement["Effect"] == "Allow"
        and call.action in listed(statement["Action"])
        and any(fnmatchcase(call.resource, pattern) for pattern in listed(statement["Resource"]))
        and is_met(statement.get("Condition"), call)
    )


def is_met(condition: dict[str, Any] | None, call: Call) -> bool:
    """Tell whether a call meets a condition, on metrics' namespaces or objects' prefixes."""
    match condition:
        case None:
            return True
        case {"StringEquals": {"cloudwatch:namespace": namespace}}:
            return bool(call.namespace == namespace)
        case {"StringLikeIfExists": {"s3:prefix": patterns}}:
            return not call.prefix or any(fnmatchcase(call.prefix, pattern) for pattern in listed(patterns))
    raise AssertionError(f"write down here what {condition} means")


def grants(statements: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Take statements apart: each with one action on one resource."""
    for statement in statements:
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                yield {**statement, "Action": action, "Resource": resource}
