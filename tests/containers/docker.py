"""The docker command, and a project of compose.yaml driven with it."""

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from infra.local.once import Summary, is_complete
from infra.local.stack import deployed, use_endpoint
from infra.local.stores import Stores

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SAFELY = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]  # noqa: S108  (the container's own)
_APPLICATION = "tickertape-consumer"


def docker(*arguments: str, **environment: str) -> str:
    """Run a command of docker's and give its stdout."""
    run = docker_run(*arguments, **environment)
    assert run.returncode == 0, f"docker {' '.join(arguments)}: {run.stderr[-3000:]}"
    return run.stdout.strip()


def docker_run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of docker's, whatever comes of it."""
    return subprocess.run(
        ["docker", *arguments], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def inspect(container: str, field: str) -> Any:  # noqa: ANN401  (JSON)
    """Look at one field of a container or an image."""
    return json.loads(docker("inspect", "--format", f"{{{{json {field}}}}}", container))


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Fail if it does not become true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(number)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


class Compose:
    """A project of compose.yaml with a name of its own, on free ports of loopback.

    Parameters
    ----------
    name
        The project's name.
    settings
        Variables that compose.yaml reads.

    """

    def __init__(self, name: str, **settings: str) -> None:
        port, dashboard_port = _free_ports(2)
        self.name = name
        self.network = f"{name}_default"
        self._url = f"http://127.0.0.1:{port}"
        ports = {"AWS_PORT": str(port), "DASHBOARD_PORT": str(dashboard_port)}
        self._environment = {"COMPOSE_PROJECT_NAME": name, "COMPOSE_PROFILES": "", **ports, **settings}

    def run(self, *arguments: str) -> str:
        """Run a command of compose's."""
        return docker("compose", *arguments, **self._environment)

    def up(self, *services: str, consumers: int = 0) -> None:
        """Start services and what they depend on."""
        scale = ["--scale", f"consumer={consumers}"] if consumers else []
        self.run("up", "--detach", "--no-build", "--quiet-pull", *scale, *services)

    def containers(self, service: str) -> list[str]:
        """Ids of the running containers of a service."""
        return self.run("ps", "--quiet", "--status", "running", service).split()

    def replay(self, file: str, *flags: str) -> Summary:
        """Publish a file of tests/data, and give what the producer says at its end."""
        command = ["produce", "--feed", "replay", "--replay-file", f"/data/{file}", "--replay-speed", "max", *flags]
        output = self.run("run", "--rm", "--no-deps", "--volume", f"{DATA}:/data:ro", "producer", *command)
        summary: Summary = json.loads(re.findall(r"^\{.*\}$", output, flags=re.MULTILINE)[-1])
        return summary

    def stores(self) -> Stores:
        """Read the stores from outside; from here on this process talks to them."""
        use_endpoint(self._url)
        return Stores(deployed(), _APPLICATION)

    def await_end(self, summary: Summary, seconds: float) -> None:
        """Wait until all that was published is processed and archived."""
        stores = self.stores()
        wait_until(
            lambda: is_complete(summary["last_sequence_numbers"], stores.leases()), seconds, f"{self.name} is done"
        )

    def down(self, *flags: str) -> None:
        """Stop and remove everything; the volume only with a flag."""
        self.run("--profile", "*", "down", "--timeout", "30", *flags)
