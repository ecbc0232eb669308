"""`tickertape health`: alive and progressing, or stuck."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import health

SHARD = "shardId-000000000000"


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A living process that stands for the daemon, and a temporary folder of its own for what runs here."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        yield sleeper
        sleeper.kill()


def _folder_of(pid: int, folder: Path) -> Path:
    made = folder / f"tickertape-consumer-{pid}-x"
    made.mkdir()
    return made


def _said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    return health.main(list(arguments)), capsys.readouterr().out.strip()


def test_without_a_consumer_it_is_unhealthy(tmp_path: Path, parent: object, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no consumer runs, or only a dead one's folder is left, that is said, exit code 1."""
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    _folder_of(dead.pid, tmp_path)
    assert _said(capsys) == (1, "unhealthy: no consumer, producer or notifier runs here")


def test_without_a_lease_it_is_healthy(
    tmp_path: Path, parent: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """A task more than there are shards has nothing to do, and that is fine."""
    _folder_of(parent.pid, tmp_path)
    assert _said(capsys) == (0, "healthy: 0 shards")


def test_a_shard_lives_from_beat_to_beat(
    tmp_path: Path, parent: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a beat for longer than the limit a shard is stuck; a beat mends it; an ended one is nobody's concern."""
    monkeypatch.setattr(os, "getppid", os.getpid)  # this process is its own daemon
    health.run_folder()
    pulse = health.Pulse()
    pulse.begin(SHARD)
    assert _said(capsys) == (0, "healthy: 1 shards")
    time.sleep(0.2)
    assert _said(capsys, "--stuck-after-seconds", "0.1") == (1, f"unhealthy: {SHARD} has made no progress for 0 s")
    pulse.beat()
    assert _said(capsys, "--stuck-after-seconds", "0.1") == (0, "healthy: 1 shards")
    time.sleep(0.2)
    pulse.end()
    assert _said(capsys, "--stuck-after-seconds", "0.1") == (0, "healthy: 0 shards")


def test_a_new_life_does_not_inherit_a_silence(
    tmp_path: Path, parent: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a consumer with the same process id left behind, as in a restarted container, is removed at the start."""
    old = _folder_of(os.getpid(), tmp_path) / f"{SHARD}.shard"
    old.touch()
    os.utime(old, ns=(0, 0))
    assert _said(capsys, "--stuck-after-seconds", "0.001")[0] == 1
    health.run_folder()
    assert _said(capsys, "--stuck-after-seconds", "0.001") == (0, "healthy: 0 shards")


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan"])
def test_a_wrong_limit_is_named(value: str) -> None:
    """A limit that is no positive number: it is named, exit code 2."""
    run = subprocess.run(
        [sys.executable, "-m", "tickertape", "health"],
        env=os.environ | {"STUCK_AFTER_SECONDS": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "stuck-after-seconds" in run.stderr
