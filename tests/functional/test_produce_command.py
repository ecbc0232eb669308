"""`tickertape produce` as a process: what it prints, where, and with which exit code it leaves."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from infra.templates import services
from producer.settings import ProducerSettings
from tests.functional.kinesis_stub import KinesisStub, RefusedError
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
BARS = """Date,Close,Volume,Symbol
2016-01-04,10.5,100,KO
2016-01-04,20,100,PEP
2016-01-05,11,100,KO
"""

REFUSED_TO_DESCRIBE = "tickertape: stream stock-market-stream (STREAM_NAME): AWS refused DescribeStreamSummary"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Give an environment with credentials and a region, and nothing else that the command reads."""
    ours = {field.upper() for field in ProducerSettings.model_fields}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and name not in ours}
    return kept | {
        "HOME": str(tmp_path),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture
def stub(environment: dict[str, str]) -> Iterator[KinesisStub]:
    """Run a stub that the command's environment points to."""
    with KinesisStub().running() as stub:
        environment["AWS_ENDPOINT_URL"] = stub.url
        yield stub


@pytest.fixture
def moto(environment: dict[str, str]) -> Iterator[str]:
    """Run moto's server, which the command's environment points to."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    yield environment["AWS_ENDPOINT_URL"]
    server.stop()


def command(*arguments: str | Path) -> list[str]:
    """Write the command line, as a module of the checkout."""
    return [sys.executable, "-m", "producer", *map(str, arguments)]


def produce(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments), env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def start(environment: dict[str, str], *arguments: str | Path) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        command(*arguments),
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def complaint(stderr: str) -> str:
    """Give the only line of stderr that is no log event."""
    (line,) = [line for line in stderr.splitlines() if not line.startswith("{")]
    return line


def events(stderr: str) -> list[dict[str, Any]]:
    """Give the log events."""
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def test_a_replay_ends_by_itself_with_a_summary(environment: dict[str, str], moto: str, tmp_path: Path) -> None:
    """A replayed file is in the stream when the command ends; stdout is one JSON line that says what and where."""
    kinesis = boto3.client(
        "kinesis",
        endpoint_url=moto,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  (moto's)
    )
    kinesis.create_stream(StreamName="quotes", ShardCount=2)
    path = tmp_path / "bars.csv"
    path.write_text(BARS)

    run = produce(
        environment | {"STREAM_NAME": "quotes", "REPLAY_FILE": str(path)}, "--feed", "replay", "--replay-speed", "max"
    )

    assert run.returncode == 0, run.stderr
    records, last = [], {}
    for shard in kinesis.list_shards(StreamName="quotes")["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName="quotes", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        for record in kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]:
            records.append(json.loads(record["Data"]))
            last[shard["ShardId"]] = record["SequenceNumber"]
    assert json.loads(run.stdout) == {"published": 3, "skipped": 0, "last_sequence_numbers": last}
    assert run.stdout.count("\n") == 1
    assert sorted(records, key=lambda tick: (tick["symbol"], tick["timestamp"])) == [
        {"symbol": "KO", "timestamp": "2016-01-04T00:00:00.000000Z", "price": 10.5, "volume": 100, "source": "replay"},
        {
            "symbol": "KO",
            "timestamp": "2016-01-05T00:00:00.000000Z",
            "price": 11,
            "previous_close": 10.5,
            "volume": 100,
            "source": "replay",
        },
        {"symbol": "PEP", "timestamp": "2016-01-04T00:00:00.000000Z", "price": 20, "volume": 100, "source": "replay"},
    ]
    assert [event["event"] for event in events(run.stderr)] == ["producer_started", "published", "producer_stopped"]


def test_the_report_is_a_log_line_and_cloudwatch_metrics(
    environment: dict[str, str], stub: KinesisStub, tmp_path: Path
) -> None:
    """The publisher's report has its figures as fields, and the embedded metric format's description of them."""
    path = tmp_path / "bars.csv"
    path.write_text(BARS)
    run = produce(environment, "--feed", "replay", "--replay-file", path, "--replay-speed", "max")
    (report,) = [event for event in events(run.stderr) if event["event"] == "published"]

    assert stub.count == report["published"] == 3
    assert [report[name] for name in ("retried", "throttled", "dropped", "waiting")] == [0, 0, 0, 0]
    assert report["feed_lag_seconds"] > 300_000_000  # since 2016
    assert (report["level"], report["StreamName"]) == ("INFO", "stock-market-stream")
    (directive,) = report["_aws"]["CloudWatchMetrics"]
    assert abs(report["_aws"]["Timestamp"] / 1000 - time.time()) < 60
    assert (directive["Namespace"], directive["Dimensions"]) == ("Tickertape", [["StreamName"]])
    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == {
        "published": "Count",
        "retried": "Count",
        "throttled": "Count",
        "dropped": "Count",
        "waiting": "Count",
        "feed_lag_seconds": "Seconds",
    }
    (dashboard,) = services().of_type("CloudWatch::Dashboard").values()
    shown = set(re.findall(r'\["Tickertape", "(\w+)", "StreamName"', dashboard["DashboardBody"]))
    assert shown
    assert shown <= {metric["Name"] for metric in directive["Metrics"]}


def test_aggregated_ticks_arrive(environment: dict[str, str], stub: KinesisStub, tmp_path: Path) -> None:
    """With AGGREGATE=true a symbol's bars share a record, and all are there in order."""
    path = tmp_path / "bars.csv"
    path.write_text("Date,Close\n" + "".join(f"2016-01-04 10:{minute:02},{minute + 1}\n" for minute in range(60)))
    environment |= {"AGGREGATE": "true", "FEED": "replay", "REPLAY_FILE": str(path), "REPLAY_SPEED": "max"}
    run = produce(environment, "--symbol", "KO", "--publish-linger-milliseconds", "1000")
    assert json.loads(run.stdout)["published"] == 60
    assert [tick["price"] for tick in stub.accepted["KO"]] == list(range(1, 61))
    assert [records for records, _ in stub.requests] == [1]


def test_a_missing_stream_is_one_line(environment: dict[str, str], moto: str) -> None:
    """Without the stream, the command leaves with 1 and says what to create."""
    run = produce(environment)
    assert run.returncode == 1
    assert complaint(run.stderr).startswith(f"{REFUSED_TO_DESCRIBE} (ResourceNotFoundException)")
    assert "create it (infra/stack.yaml)" in run.stderr


def test_denied_access_is_one_line(environment: dict[str, str], stub: KinesisStub) -> None:
    """Without the permission to look at the stream, the command leaves with 1 and says what to grant."""
    stub.refusals["DescribeStreamSummary"] = RefusedError(400, "AccessDeniedException")
    run = produce(environment)
    assert run.returncode == 1
    assert complaint(run.stderr).startswith(f"{REFUSED_TO_DESCRIBE} (AccessDeniedException)")


def test_no_region_is_one_line(environment: dict[str, str]) -> None:
    """Without a region, the command leaves with 1 and says how to set it."""
    del environment["AWS_DEFAULT_REGION"]
    run = produce(environment)
    assert run.returncode == 1
    assert complaint(run.stderr).startswith("tickertape: no AWS region is set")


def test_no_credentials_is_one_line(environment: dict[str, str], stub: KinesisStub) -> None:
    """Without credentials, the command leaves with 1 and says where they come from."""
    del environment["AWS_ACCESS_KEY_ID"]
    run = produce(environment)
    assert run.returncode == 1
    assert complaint(run.stderr).startswith("tickertape: no AWS credentials were found")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--feed", "replay"], "tickertape: FEED=replay needs a file: set REPLAY_FILE"),
        (["--feed-interval-seconds", "-1"], "tickertape: FEED_INTERVAL_SECONDS: Input should be greater than 0"),
        (["--feed", "replay", "--replay-file", "/no/such.csv"], "tickertape: REPLAY_FILE: /no/such.csv cannot be read"),
    ],
)
def test_wrong_settings_are_one_line(environment: dict[str, str], arguments: list[str], message: str) -> None:
    """Wrong settings leave with 2 and one line, before anything is asked of AWS."""
    environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    run = produce(environment, *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(message)
    assert run.stderr.count("\n") == 1


def test_rows_before_an_unreadable_one_are_published(
    environment: dict[str, str], stub: KinesisStub, tmp_path: Path
) -> None:
    """An unreadable row ends the replay with 1 and its line number; what came before it is in the stream."""
    path = tmp_path / "bars.csv"
    path.write_text(BARS + "2016-01-06,?,100,KO\n")
    run = produce(environment, "--feed", "replay", "--replay-file", path, "--replay-speed", "max")
    assert run.returncode == 1
    assert complaint(run.stderr) == f"tickertape: {path}, line 5: column Close: '?' is not a number"
    assert json.loads(run.stdout)["published"] == stub.count == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_feed_and_publishes_what_is_queued(
    environment: dict[str, str], stub: KinesisStub, number: signal.Signals
) -> None:
    """After a signal in the middle of a long interval, what was queued is published, and 0 returned."""
    process = start(environment, "--feed-interval-seconds", "600", "--symbols", "KO,PEP")
    wait_for(lambda: stub.count == 2)
    stopped = time.monotonic()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert time.monotonic() - stopped < 5
    assert process.returncode == 0, stderr
    assert json.loads(stdout) == {"published": 2, "last_sequence_numbers": stub.last_sequence_numbers}


def test_a_signal_waits_for_requests_under_way(environment: dict[str, str], stub: KinesisStub) -> None:
    """Ticks that are queued when the signal comes are published before the command ends, and counted."""
    stub.open.clear()
    process = start(environment, "--feed-interval-seconds", "0.05", "--symbols", "KO,PEP")
    wait_for(lambda: "producer_started" in (process.stderr.readline() if process.stderr else ""))
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    stub.open.set()
    stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(stdout)["published"] == stub.count > 10
    assert [tick["volume"] for tick in stub.accepted["KO"]] == sorted(tick["volume"] for tick in stub.accepted["KO"])


def test_a_signal_is_obeyed_while_the_stream_is_away(environment: dict[str, str], stub: KinesisStub) -> None:
    """When the stream takes nothing for as long as a stop may last, the command says how many ticks it kept, and 1."""
    script = "import sys, producer.__main__ as command; command._STOP_SECONDS = 1; sys.exit(command.main([]))"
    stub.refusals["PutRecords"] = RefusedError(503, "ServiceUnavailable")
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment | {"SYMBOLS": "KO,PEP"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: "aws_retry" in (process.stderr.readline() if process.stderr else ""))
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 1
    assert complaint(stderr).startswith("tickertape: stopped with 2 ticks unpublished")
    assert json.loads(stdout) == {"published": 0, "last_sequence_numbers": {}}


def test_refused_publishing_ends_the_command_at_once(environment: dict[str, str], stub: KinesisStub) -> None:
    """When publishing is denied, the command does not wait for the feed's next tick to say so."""
    stub.refusals["PutRecords"] = RefusedError(400, "AccessDeniedException")
    run = produce(environment, "--feed-interval-seconds", "600")
    assert run.returncode == 1
    assert complaint(run.stderr).startswith(
        "tickertape: stream stock-market-stream: AWS refused PutRecords (AccessDeniedException)"
    )


def test_health_tells_whether_the_stream_takes_ticks(
    environment: dict[str, str], stub: KinesisStub, tmp_path: Path
) -> None:
    """A producer is healthy while it publishes, or has nothing to publish; not while all its requests fail."""
    environment["TMPDIR"] = str(tmp_path)
    assert health(environment) == (1, "unhealthy: no consumer, producer or notifier runs here")
    process = start(environment, "--feed-interval-seconds", "600")
    try:
        wait_for(lambda: stub.count > 0, 30)
        time.sleep(_STUCK_AFTER_SECONDS + 2)  # nothing to publish
        wait_for(lambda: health(environment) == (0, "healthy: publisher"), 30, pause_seconds=1)
    finally:
        process.kill()
        process.communicate()
    stub.refusals["PutRecords"] = RefusedError(500, "InternalFailure")
    process = start(environment, "--feed-interval-seconds", "1")
    try:
        wait_for(lambda: health(environment)[0] == 0, 30, pause_seconds=1)
        wait_for(lambda: "publisher has made no progress" in health(environment)[1], 60, pause_seconds=1)
        stub.refusals.clear()
        wait_for(lambda: health(environment) == (0, "healthy: publisher"), 60, pause_seconds=1)
    finally:
        process.kill()
        process.communicate()
    assert health(environment)[0] == 1


_STUCK_AFTER_SECONDS = 15


def health(environment: dict[str, str]) -> tuple[int, str]:
    """Ask how it is: exit code, and what is said."""
    run = subprocess.run(
        [sys.executable, "-m", "tickertape", "health", "--stuck-after-seconds", str(_STUCK_AFTER_SECONDS)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout.strip()


def test_a_stream_that_cannot_be_reached_yet_is_waited_for(
    environment: dict[str, str], stub: KinesisStub, tmp_path: Path
) -> None:
    """A stream that cannot be reached at first is waited for, for a while, instead of complained about."""
    path = tmp_path / "bars.csv"
    path.write_text(BARS)
    stub.refusals["DescribeStreamSummary"] = RefusedError(500, "InternalFailure")
    process = start(environment, "--feed", "replay", "--replay-file", path, "--replay-speed", "max")
    wait_for(lambda: "aws_retry" in (process.stderr.readline() if process.stderr else ""))
    stub.refusals.clear()
    stdout, _ = process.communicate(timeout=40)
    assert process.returncode == 0
    assert json.loads(stdout)["published"] == 3


def test_a_stream_in_the_making_is_waited_for_patiently(environment: dict[str, str], stub: KinesisStub) -> None:
    """The patience with an AWS that does not answer is not for one that does: a stream takes the time it takes."""
    script = "import sys; from common import aws; from producer.__main__ import main; "
    script += "aws._START_SECONDS = 0; sys.exit(main([]))"
    stub.status = "CREATING"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: "aws_retry" in (process.stderr.readline() if process.stderr else ""))
    stub.status = "ACTIVE"
    wait_for(lambda: "producer_started" in (process.stderr.readline() if process.stderr else ""))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=40)
    assert process.returncode == 0


def test_the_console_command_runs_it(environment: dict[str, str]) -> None:
    """`tickertape produce --help` explains every setting."""
    run = subprocess.run(
        [sys.executable, "tickertape.py", "produce", "--help"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for field in ProducerSettings.model_fields:
        assert f"--{field.replace('_', '-')}" in run.stdout
