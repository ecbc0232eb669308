"""The real consumer and its daemon on the embedded AWS: bad records, bad settings, stop and restart."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.compare import compare
from tests.integration.pipeline import Pipeline
from tests.integration.processes import marked
from tests.integration.traffic import traffic
from tests.oracle import Settings, expect

CONSUMER = {
    "PRICE_LEVELS": '{"inda": 44.2, "KMB": 130}',
    "ALERT_THRESHOLD": "100",
    "ALERT_COOLDOWN_SECONDS": "900",
    "RETENTION_DAYS": "7",
}
SETTINGS = Settings(
    alert_cooldown_seconds=900,
    price_levels={"INDA": Decimal("44.2"), "KMB": Decimal(130)},
    alert_threshold=Decimal(100),
)
_STOP_SECONDS = 30


@pytest.mark.timeout(300)
@pytest.mark.parametrize("row_seconds", [0, 2])
def test_whatever_comes_the_stores_equal_the_oracle(tmp_path: Path, row_seconds: int) -> None:
    """Duplicates, late ticks, poison and aggregated records: each row, object, message and reject is as it must be."""
    with Pipeline(tmp_path, shards=2) as pipeline:
        pipeline.create_leases()
        consumer = pipeline.start_consumer(CONSUMER | {"ROW_SECONDS": str(row_seconds)})
        puts = traffic(seed=3)
        half = len(puts) // 2
        pipeline.put(puts[:half])
        pipeline.drain(consumer)  # so that the rest falls into other archive windows
        pipeline.put(puts[half:])
        pipeline.drain(consumer)
        expected = expect(pipeline.records(), replace(SETTINGS, row_seconds=row_seconds))
        assert expected.late
        assert expected.duplicates
        assert expected.conflicts
        assert expected.suppressed
        compare(pipeline.export(tmp_path / "export"), expected, retention_days=7)
        events = pipeline.events(0)
    archived = Counter[str]()
    for event in events:
        if event["event"] == "archived":
            archived.update({name: event[name] for name in ("records", "ticks", *_COUNTS)})
    assert archived == {
        "records": len(expected.archived) + len(expected.quarantined),
        "ticks": len(expected.ticks) + len(expected.late_only),
        "duplicates": expected.duplicates,
        "conflicts": len(expected.conflicts),
        "late": expected.late,
        "quarantined": len(expected.quarantined),
        "alerts": len(expected.alerts),
        "suppressed": expected.suppressed,
    }


_COUNTS = ("duplicates", "conflicts", "late", "quarantined", "alerts", "suppressed")


@pytest.mark.timeout(300)
def test_a_stop_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    """SIGTERM ends a consumer within 30 s, children included; the next one goes on as if nothing had happened."""
    with Pipeline(tmp_path, shards=2) as pipeline:
        pipeline.create_leases()
        puts = traffic(seed=5)
        first = pipeline.start_consumer(CONSUMER)
        half = len(puts) // 2
        pipeline.put(puts[:half])
        _wait_for_rows(pipeline, first)
        pipeline.put(puts[half : half + 300])
        first.send_signal(signal.SIGTERM)
        stopped = time.monotonic()
        first.wait(_STOP_SECONDS)
        assert _children_after(pipeline, _STOP_SECONDS - (time.monotonic() - stopped)) == []

        second = pipeline.start_consumer(CONSUMER)
        pipeline.put(puts[half + 300 :])
        pipeline.drain(second)
        compare(pipeline.export(tmp_path / "export"), expect(pipeline.records(), SETTINGS), retention_days=7)


def _wait_for_rows(pipeline: Pipeline, consumer: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while not pipeline.count_rows():
        assert consumer.poll() is None
        assert time.monotonic() < deadline, "no row was written"
        time.sleep(0.1)


def _children_after(pipeline: Pipeline, seconds: float) -> list[str]:
    """List what of a stopped consumer is still there when its time is up."""
    deadline = time.monotonic() + seconds
    while (left := _consumer_processes(pipeline)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _consumer_processes(pipeline: Pipeline) -> list[str]:
    return [command for command in marked(pipeline.mark).values() if "embedded_aws" not in command]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """An embedded AWS with nothing wrong in it."""
    with Pipeline(tmp_path_factory.mktemp("stack"), shards=1) as pipeline:
        yield pipeline


def _refusal(stack: Pipeline, changes: dict[str, str], expected_code: int) -> str:
    """Start a consumer that must refuse and return the one line that it says."""
    run = subprocess.run(
        [sys.executable, "-m", "tickertape", "consume"],
        env=stack.environment() | changes,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == expected_code, run.stderr
    assert run.stdout == ""
    said = [line for line in run.stderr.splitlines() if '"aws_retry"' not in line]
    assert len(said) == 1, run.stderr
    return said[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"STREAM_NAME": "nowhere"}, ("STREAM_NAME", "nowhere")),
        ({"TICKS_TABLE": "nowhere"}, ("TICKS_TABLE", "nowhere")),
        ({"ALERTS_TABLE": "nowhere"}, ("ALERTS_TABLE", "nowhere")),
        ({"ARCHIVE_BUCKET": "nowhere"}, ("ARCHIVE_BUCKET", "nowhere")),
        (
            {"ALERT_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:nowhere"},
            ("ALERT_TOPIC_ARN", "nowhere"),
        ),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, ("127.0.0.1:9",)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_missing_is_named(stack: Pipeline, changes: dict[str, str], words: tuple[str, ...]) -> None:
    """A missing stream, table, bucket or topic, or no AWS at all: one line that names it, exit code 1."""
    said = _refusal(stack, changes, 1)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARCHIVE_BUCKET", ""),
        ("ALERT_TOPIC_ARN", "stock-alerts"),
        ("ARCHIVE_SECONDS", "0"),
        ("RETENTION_DAYS", "soon"),
        ("SMA_FAST", "20"),
        ("PRICE_MOVE_PERCENT", "-5"),
        ("Z_SCORE_THRESHOLD", "NaN"),
        ("PRICE_LEVELS", "{"),
        ("PRICE_LEVELS", '{"AAPL": -1}'),
        ("PRICE_LEVELS", '{"N:A": 1}'),
        ("ALERT_THRESHOLD", "1e99"),
        ("ALERT_COOLDOWN_SECONDS", "-1"),
    ],
)
def test_wrong_settings_are_named(stack: Pipeline, name: str, value: str) -> None:
    """A setting that makes no sense: one line that names it, exit code 2."""
    assert name.lower() in _refusal(stack, {name: value}, 2).lower()


def test_missing_jars_are_named(stack: Pipeline, tmp_path: Path) -> None:
    """Without the Kinesis Client Library's jars the consumer says how to get them, exit code 1."""
    (tmp_path / "amazon_kclpy").mkdir()
    (tmp_path / "amazon_kclpy" / "__init__.py").touch()
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    said = _refusal(stack, {"PYTHONPATH": path}, 1)
    assert "jars" in said
    assert "amazon-kclpy" in said


def test_missing_java_is_named(stack: Pipeline, tmp_path: Path) -> None:
    """A JAVA_HOME without a Java is told, exit code 1."""
    said = _refusal(stack, {"JAVA_HOME": str(tmp_path)}, 1)
    assert "JAVA_HOME" in said
