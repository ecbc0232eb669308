"""Objects are read past the client where that succeeds at once, and by the client where it does not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from common import aws
from common.errors import UserError
from desk import archive
from desk.download import Download
from desk.system import System
from tests.chaos.faulty_proxy import Fault, FaultyProxy

KEYS = ("ticks/dt=2026-01-02/hour=03/a.parquet", "quarantine/dt=2026-01-02/b c+d&e%41~é.gz", "bars/empty")


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultyProxy]:
    """A proxy in front of an embedded AWS with three objects of 200 kB, of a few bytes and of none."""
    command = [sys.executable, "-m", "infra.local.embedded_aws"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with FaultyProxy(process.stdout.readline().strip()) as proxy:
            yield proxy
        process.terminate()


@pytest.fixture
def system(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> System:
    """The system behind the proxy."""
    proxy.inject()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    credentials = {"AWS_ACCESS_KEY_ID": "embedded", "AWS_SECRET_ACCESS_KEY": "embedded"}
    for name, value in {"AWS_ENDPOINT_URL": proxy.url, "AWS_REGION": "us-east-1", **credentials}.items():
        monkeypatch.setenv(name, value)
    aws._session.cache_clear()
    system = System(False, "stream", "ticks", "alerts", "application", "archive")
    system.s3.create_bucket(Bucket="archive")
    for key, body in _bodies().items():
        system.s3.put_object(Bucket="archive", Key=key, Body=body)
    return system


def _bodies() -> dict[str, bytes]:
    return dict(zip(KEYS, (bytes(range(256)) * 800, b"few", b""), strict=True))


def test_objects_are_read_without_the_client(system: System) -> None:
    """Whatever characters its key has, an object comes by the shorter way, in as many threads as there are."""
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(Download(system.s3, "archive"), KEYS * 8)] == [*_bodies().values()] * 8


@pytest.mark.parametrize("kind", ["throttle", "error", "reset", "reset_after"])
def test_what_fails_is_tried_by_the_client(proxy: FaultyProxy, system: System, kind: str) -> None:
    """Throttling, errors and connections that break in the middle of a body cost another call, and no byte."""
    proxy.inject(Fault(kind, probability=0.5, services=frozenset({"s3"}), operations=frozenset({"GetObject"})))  # type: ignore[arg-type]  # a kind
    assert {key: archive.get(system, key) for key in KEYS * 4} == _bodies()


def test_what_is_denied_or_missing_is_told_by_the_client(proxy: FaultyProxy, system: System) -> None:
    """The line names the object, and what to do."""
    with pytest.raises(UserError, match=r"object ticks/nothing of bucket archive.*NoSuchKey"):
        archive.get(system, "ticks/nothing")
    proxy.inject(Fault("deny", services=frozenset({"s3"}), operations=frozenset({"GetObject"})))
    with pytest.raises(UserError, match=r"AWS refused GetObject.*grant this action"):
        archive.get(system, KEYS[0])
