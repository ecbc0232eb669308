"""The whole system of compose.yaml on real data, harmed, and compared with the oracle."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.local.export import Export
from tests.compare import compare
from tests.containers.docker import DATA, Compose, docker, docker_run, inspect, wait_until
from tests.oracle import expect_replay

_FILE = "sp500_daily.csv"
_STUCK_SECONDS = 10


@pytest.fixture(scope="module")
def system() -> Iterator[Compose]:
    """Four shards and three consumers, with nothing in the stream yet."""
    files = "compose.yaml:tests/containers/often.yaml"
    settings = {"SHARDS": "4", "ARCHIVE_SECONDS": "3", "STUCK_AFTER_SECONDS": str(_STUCK_SECONDS)}
    compose = Compose("tickertape-test", COMPOSE_FILE=files, **settings)
    try:
        compose.up("consumer", consumers=3)
        yield compose
    finally:
        compose.down("--volumes")


@pytest.mark.timeout(600, func_only=True)  # the first test also waits for the images
def test_consumers_that_are_killed_and_stopped_lose_nothing(system: Compose, tmp_path: Path) -> None:
    """One killed and one stopped under load: the stop is orderly, and each row, object and message is right."""
    wait_until(lambda: _owners(system) == 3, 120, "each of three consumers has a shard")
    summary = system.replay(_FILE)
    wait_until(lambda: system.stores().count_ticks() > 0, 60, "rows are being written")
    killed, stopped, _ = system.containers("consumer")
    docker("kill", killed)
    started = time.monotonic()
    docker("stop", "--time", "60", stopped)
    assert time.monotonic() - started < 30
    assert inspect(stopped, ".State.ExitCode") == 0
    assert inspect(killed, ".State.ExitCode") == 137
    assert system.stores().count_ticks() < summary["published"], "it was over before anybody was harmed"
    system.up("consumer", consumers=3)
    system.await_end(summary, 240)

    stores = system.stores()
    export = Export(tmp_path / "out")
    export.add_messages(stores.take_messages())
    export.finish(stores)
    compare(tmp_path / "out", expect_replay(DATA / _FILE), same_bytes=False, repeats_allowed=True)


def test_each_line_is_an_event(system: Compose) -> None:
    """All that consumers have written, through all harm, is one JSON object a line."""
    logs = [docker_run("logs", container) for container in system.run("ps", "--all", "--quiet", "consumer").split()]
    assert [log.stdout for log in logs] == [""] * 3
    events = {json.loads(line)["event"] for log in logs for line in log.stderr.splitlines()}
    assert {"shard_started", "archived"} <= events


def test_a_stuck_shard_makes_the_container_unhealthy(system: Compose) -> None:
    """A container is healthy while it makes progress, and unhealthy when the process of a shard stands still."""
    wait_until(lambda: _owners(system) == 3, 120, "each of three consumers has a shard")
    consumer = next(id_ for id_ in system.containers("consumer") if _shards_of(id_))
    wait_until(lambda: inspect(consumer, ".State.Health.Status") == "healthy", 120, "it is healthy")
    docker("exec", consumer, "sh", "-c", f"kill -STOP {_shards_of(consumer)[0]}")
    wait_until(lambda: docker_run("exec", consumer, "tickertape", "health").returncode == 1, 60, "a shard is stuck")
    assert "has made no progress" in docker_run("exec", consumer, "tickertape", "health").stdout
    wait_until(lambda: inspect(consumer, ".State.Health.Status") == "unhealthy", 120, "Docker knows it too")


def test_the_dashboard_shows_the_system(system: Compose) -> None:
    """Its log has an address that works on this machine; without the token in it nothing is shown."""
    if not system.stores().count_ticks():
        system.replay(_FILE)
    system.up("dashboard")
    found = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")
    wait_until(lambda: bool(found.search(system.run("logs", "dashboard"))), 60, "the dashboard has told its address")
    address = found.findall(system.run("logs", "dashboard"))[-1]
    with httpx.Client(follow_redirects=True) as client:
        assert client.get(address.partition("?")[0]).status_code == 401
        assert "<title>Tickertape</title>" in client.get(address).text
        with client.stream("GET", f"{address.partition('?')[0]}events") as events:
            assert any('"price":' in line for line in events.iter_lines())


@pytest.mark.timeout(300)
def test_what_is_stored_survives_down_and_up(system: Compose) -> None:
    """Tables, archive and the stream's records are there again after `down` and `up`."""
    before = _contents(system)
    system.down()
    system.up("deploy")
    assert _contents(system) == before


@pytest.mark.parametrize(
    ("flags", "producers"), [([], {"producer"}), (["--profile", "yahoo"], {"yahoo"})], ids=["simulated", "yahoo"]
)
def test_one_producer_is_chosen(flags: list[str], producers: set[str]) -> None:
    """`docker compose up` starts the simulated market, with `--profile yahoo` live quotes instead."""
    services = set(docker("compose", *flags, "config", "--services").split())
    assert services & {"producer", "yahoo"} == producers


def _contents(system: Compose) -> tuple[int, int, list[str]]:
    stores = system.stores()
    return stores.count_ticks(), stores.count_alerts(), stores.object_keys()


def _owners(system: Compose) -> int:
    return len({lease.owner for lease in system.stores().leases() if lease.owner})


def _shards_of(container: str) -> list[str]:
    """Process ids, as the container counts, of the shards in a container."""
    script = r"""
for process in /proc/[0-9]*; do
    tr '\0' ' ' <$process/cmdline | grep -q -- '-m[ ]consumer' && echo ${process#/proc/}
done
true"""
    return docker("exec", container, "sh", "-c", script).split()
