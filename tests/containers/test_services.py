"""The image as ecs/services.yaml runs it, so that the two cannot drift apart."""

from collections.abc import Iterator

import pytest

from common import aws
from tests.containers.docker import Compose, docker, inspect, wait_until
from tests.templates import Template, services

_TRANSLATED = {
    "Command",
    "Environment",
    "Essential",
    "HealthCheck",
    "Image",
    "LinuxParameters",
    "LogConfiguration",  # where to, not what
    "MountPoints",
    "Name",
    "ReadonlyRootFilesystem",
    "StopTimeout",
    "User",
}
_WHAT_ECS_GIVES = {  # here an emulator's region, and keys instead of a role
    "AWS_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "http://aws:4566",
    "AWS_ACCESS_KEY_ID": "embedded",
    "AWS_SECRET_ACCESS_KEY": "embedded",
    "CBOR_ENABLED": "false",
}


@pytest.fixture
def system() -> Iterator[Compose]:
    """The embedded AWS with the first stack, and no task yet."""
    compose = Compose("tickertape-tasks")
    try:
        compose.run("run", "--rm", "deploy")
        yield compose
    finally:
        compose.down("--volumes")


@pytest.mark.timeout(400)
def test_tasks_run_as_they_are_defined(system: Compose) -> None:
    """With each task's command, environment and limits ticks get to the table, and both tasks stop in time."""
    system.stores()
    outputs = aws.client("cloudformation").describe_stacks()["Stacks"][0]["Outputs"]
    passed = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    template = services(**passed, Image="tickertape:latest", FeedIntervalSeconds=1)
    consumer, producer = (_run(template, task, system) for task in ("ConsumerTask", "ProducerTask"))
    try:
        wait_until(lambda: system.stores().count_ticks() > 0, 150, "rows are being written")
        wait_until(lambda: inspect(consumer, ".State.Health.Status") == "healthy", 60, "the task is healthy")
        docker("stop", producer, consumer)
        for container in (producer, consumer):
            assert (inspect(container, ".State.ExitCode"), inspect(container, ".State.OOMKilled")) == (0, False)
    finally:
        docker("rm", "--force", "--volumes", producer, consumer)


def _run(template: Template, name: str, system: Compose) -> str:
    """Start a task's container with what its definition says; gives its id."""
    task, container = template.of_type("ECS::TaskDefinition")[name], template.container(name)
    assert container.keys() <= _TRANSLATED, "the definition says more than this test translates"
    assert container["ReadonlyRootFilesystem"]
    flags = ["--read-only", "--network", system.network, "--user", container["User"]]
    flags += [
        "--cpus",
        str(int(task["Cpu"]) / 1024),
        "--memory",
        f"{task['Memory']}m",
        "--memory-swap",
        f"{task['Memory']}m",
    ]
    flags += ["--stop-timeout", str(container["StopTimeout"])]
    for capability in container["LinuxParameters"]["Capabilities"]["Drop"]:
        flags += ["--cap-drop", capability]
    for mount in container["MountPoints"]:
        flags += ["--volume", mount["ContainerPath"]]
    if health := container.get("HealthCheck"):
        _, *command = health["Command"]
        flags += ["--health-cmd", " ".join(command), "--health-interval", f"{health['Interval']}s"]
        flags += ["--health-timeout", f"{health['Timeout']}s", "--health-retries", str(health["Retries"])]
        flags += ["--health-start-period", f"{health['StartPeriod']}s"]
    for variable, value in (template.environment(name) | _WHAT_ECS_GIVES).items():
        flags += ["--env", f"{variable}={value}"]
    return docker("run", "--detach", *flags, container["Image"], *container["Command"])
