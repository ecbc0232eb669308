"""An engine and the images, once for all tests."""

import os
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.containers.docker import ROOT, docker, docker_run

_ENGINE = ROOT.parent / "shared" / "docker-engine"
_BASE = "debian:trixie-slim"
CANARY = "tickertape-canary-4f1c9a7e"
"""A line in the file that the build gets as its secret."""


@pytest.fixture(scope="session", autouse=True)
def engine() -> Iterator[None]:
    """A Docker Engine: the one that runs, else the one that a developer's machine without a registry has beside us."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_BUILDKIT", "1")
        if _ENGINE.exists():
            patch.setenv("PATH", "/usr/bin", prepend=os.pathsep)
        if _answers():
            yield
            return
        if not _ENGINE.exists():
            pytest.exit("the container tests need Docker: start its engine", 1)
        subprocess.run([_ENGINE, "start"], check=True)
        try:
            yield
        finally:
            subprocess.run([_ENGINE, "stop"], check=True)


def _answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session", autouse=True)
def images(engine: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Both images, built from this tree as the documents say."""
    secret = tmp_path_factory.mktemp("build") / "ca.crt"
    authorities = Path(os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or os.devnull)
    secret.write_bytes(authorities.read_bytes() + f"\n# {CANARY}\n".encode())
    base = ["--build-arg", f"BASE={_BASE}"] if _base_is_of_no_registry() else []
    build = ["build", "--secret", f"id=ca,src={secret}", *base, "--target"]
    with ThreadPoolExecutor() as both:  # the engine does once what they have in common
        production = both.submit(docker, *build, "production", "--tag", "tickertape", ".")
        local = both.submit(docker, *build, "local", "--tag", "tickertape:local", ".")
    production.result()
    local.result()


def _base_is_of_no_registry() -> bool:
    """Tell whether the engine has a Debian that was made on this machine: the Dockerfile's digest is a registry's."""
    run = docker_run("image", "inspect", "--format", "{{len .RepoDigests}}", _BASE)
    return run.returncode == 0 and run.stdout.strip() == "0"


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """What a test says in the environment ends with it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
