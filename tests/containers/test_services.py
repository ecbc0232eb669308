"""The image as ecs/services.yaml and ecs/small.yaml run it, so that they cannot drift apart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common import aws
from ecs.template import TemplateFile
from infra.templates import SERVICES, SMALL, deployable
from tests.containers.docker import Compose, docker, inspect, wait_until

_TRANSLATED = {
    "Command",
    "Environment",
    "Essential",
    "HealthCheck",
    "Image",
    "LinuxParameters",
    "LogConfiguration",  # where to, not what
    "Memory",
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
@pytest.mark.parametrize("path", [SERVICES, SMALL], ids=lambda path: path.stem)
def test_tasks_run_as_they_are_defined(path: Path, system: Compose) -> None:
    """With each container's command, environment and limits ticks get to the table, and both stop in time."""
    system.stores()
    outputs = aws.client("cloudformation").describe_stacks()["Stacks"][0]["Outputs"]
    passed = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    declared = {name: value for name, value in passed.items() if name in TemplateFile.read(path).parameters}
    template = deployable(path, {**declared, "Image": "tickertape:latest", "FeedIntervalSeconds": 1})
    started = {
        container["Name"]: _run(task, container, system)
        for task in template.of_type("ECS::TaskDefinition").values()
        for container in task["ContainerDefinitions"]
    }
    try:
        wait_until(lambda: system.stores().count_ticks() > 0, 150, "rows are being written")
        wait_until(lambda: inspect(started["consumer"], ".State.Health.Status") == "healthy", 60, "it is healthy")
        docker("stop", *started.values())
        for container in started.values():
            assert (inspect(container, ".State.ExitCode"), inspect(container, ".State.OOMKilled")) == (0, False)
    finally:
        docker("rm", "--force", "--volumes", *started.values())


def _run(task: dict[str, Any], container: dict[str, Any], system: Compose) -> str:
    """Start a container with what its definition says; gives its id. Each gets all of the task's processor."""
    assert container.keys() <= _TRANSLATED, "the definition says more than this test translates"
    assert container["ReadonlyRootFilesystem"]
    flags = ["--read-only", "--network", system.network, "--user", container["User"]]
    memory = f"{container.get('Memory', task['Memory'])}m"
    flags += ["--cpus", str(int(task["Cpu"]) / 1024), "--memory", memory, "--memory-swap", memory]
    flags += ["--stop-timeout", str(container["StopTimeout"])]
    for capability in container["LinuxParameters"]["Capabilities"]["Drop"]:
        flags += ["--cap-drop", capability]
    for mount in container["MountPoints"]:
        flags += ["--volume", mount["ContainerPath"]]
    if health := container.get("HealthCheck"):
        _, *command = health["Command"]
        how_often = "5s"  # we wait for it, and ECS may take its time
        flags += ["--health-cmd", " ".join(command), "--health-interval", how_often]
        flags += ["--health-timeout", f"{health['Timeout']}s", "--health-retries", str(health["Retries"])]
        flags += ["--health-start-period", f"{health['StartPeriod']}s"]
    environment = {variable["Name"]: variable["Value"] for variable in container["Environment"]}
    for variable, value in (environment | _WHAT_ECS_GIVES).items():
        flags += ["--env", f"{variable}={value}"]
    return docker("run", "--detach", *flags, container["Image"], *container["Command"])
