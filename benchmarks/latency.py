"""Prints how long it takes from a tick to its alert in the queue: `python -m benchmarks.latency`, some three minutes.

The producer, the real KCL and the embedded AWS run as in `make run`, with a simulated market. What is set for producer
and consumer counts here, too: `KCL_IDLE_TIME_BETWEEN_READS_IN_MILLIS=200 python -m benchmarks.latency`. Times depend on
the machine and on what else it does, so its load average is printed with them.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.latency_shard import FOLDER, Note
from common import aws
from common.errors import UserError, run_command
from common.settings import read_settings
from consumer.daemon import kcl_properties
from consumer.rule_settings import read_with_numbers
from consumer.settings import ConsumerSettings
from infra.local.leases import create_leases
from infra.local.processes import Child, Processes, await_line
from infra.local.stack import Stack, deploy, use_endpoint
from producer.settings import ProducerSettings

ALERTS = 1000
APPLICATION = "tickertape-latency"
SETTINGS = {
    "APPLICATION_NAME": APPLICATION,
    "FEED_INTERVAL_SECONDS": "0.19",  # no fraction of what is between two reads, so that ticks come at any moment of it
    "SIMULATION_SEED": "1",
    "ALERT_COOLDOWN_SECONDS": "0",  # each alert is sent
    "KCL_METRICS_LEVEL": "NONE",
    "KCL_SHARD_SYNC_INTERVAL_MILLIS": "1000",
    "KCL_EXECUTABLE_NAME": "python -m benchmarks.latency_shard",
}
SHARDS = 2
START_SECONDS, WARM_UP_SECONDS, LONGEST_SECONDS = 60, 10, 600
LOOK_SECONDS = 2  # seldom: the embedded AWS has other things to do
LINES_EVERY_SECONDS = 20


class Alert(NamedTuple):
    """An alert in the queue: its tick, and when it was sent there, in epoch milliseconds."""

    symbol: str
    timestamp: str
    queued: float

    @property
    def tick(self) -> tuple[str, str]:
        """What its tick is known by."""
        return self.symbol, self.timestamp

    @property
    def ticked(self) -> float:
        """When its tick was, in epoch milliseconds."""
        return datetime.fromisoformat(self.timestamp).timestamp() * 1000


class Split(NamedTuple):
    """Where an alert's milliseconds went."""

    request: float
    polling: float
    processing: float

    @classmethod
    def of(cls, alert: Alert, note: Note) -> "Split":
        """Take what is known of an alert's tick."""
        return cls(note.arrived - alert.ticked, note.given - note.arrived, alert.queued - note.given)


class Queue:
    """The queue that hears what the alert topic says."""

    def __init__(self, url: str) -> None:
        self._sqs = aws.client("sqs")
        self._url = url

    def take(self) -> Iterator[Alert]:
        """Take all that is in it."""
        while messages := self._receive():
            for message in messages:
                alert = msgspec.json.decode(message["Body"])
                yield Alert(alert["symbol"], alert["timestamp"], float(message["Attributes"]["SentTimestamp"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=0, MessageSystemAttributeNames=["SentTimestamp"]
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages


class Shown:
    """How far it is: a bar on a terminal, lines elsewhere; on stderr."""

    def __init__(self, alerts: int) -> None:
        console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("starting", total=alerts)
        self._line_due = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, phase: str, alerts: int = 0) -> None:
        """Tell what is being done, and how many alerts are measured."""
        self._bar.update(self._task, description=phase, completed=alerts)
        if self._bar.disable and time.monotonic() >= self._line_due:
            self._bar.console.print(f"{phase}: {alerts:,} alerts measured")
            self._line_due = time.monotonic() + LINES_EVERY_SECONDS


@contextmanager
def pipeline(folder: Path) -> Iterator[tuple[Stack, list[Child]]]:
    """Have the whole pipeline run."""
    processes = Processes(folder)
    try:
        embedded_aws = processes.start("embedded AWS", [sys.executable, "-m", "infra.local.embedded_aws"])
        use_endpoint(await_line(embedded_aws, START_SECONDS))
        stack = deploy(SHARDS)
        create_leases(
            aws.client("kinesis"), aws.client("dynamodb"), stream_name=stack.stream, application_name=APPLICATION
        )
        os.environ.update(stack.environment())
        command = [sys.executable, "-m", "tickertape"]
        children = [processes.start(name, [*command, name]) for name in ("consume", "produce")]
        yield stack, [embedded_aws, *children]
    finally:
        processes.kill()


def measure(count: int, folder: Path, shown: Shown) -> list[Split]:
    """Run the pipeline until so many alerts have come, after a while in which it warms up."""
    with pipeline(folder) as (stack, children):
        queue = Queue(stack.queue_url)
        alerts: list[Alert] = []
        warm = ended = float("inf")  # from when on ticks count, and when to give up
        deadline = time.monotonic() + LONGEST_SECONDS
        while len(alerts) < count:
            time.sleep(LOOK_SECONDS)
            _check(children, deadline)
            found = list(queue.take())
            if found and warm == ended:
                warm = time.time() * 1000 + WARM_UP_SECONDS * 1000
            alerts += [alert for alert in found if alert.ticked >= warm]
            shown.show("measuring" if alerts else "starting", len(alerts))
        while not {alert.tick for alert in alerts} <= (notes := _read_notes(folder)).keys():  # they come after the work
            time.sleep(LOOK_SECONDS)
            _check(children, deadline)
    return [Split.of(alert, notes[alert.tick]) for alert in alerts]


def _check(children: list[Child], deadline: float) -> None:
    for child in children:
        if child.exit_code is not None:
            raise UserError(f"{child.name} stopped: {child.last_error()}")
    if time.monotonic() > deadline:
        raise UserError(f"not so many alerts came within {LONGEST_SECONDS} s: ask for fewer with --alerts")


def _read_notes(folder: Path) -> dict[tuple[str, str], Note]:
    return {(note.symbol, note.timestamp): note for note in _notes(folder)}


def _notes(folder: Path) -> Iterator[Note]:
    decode = msgspec.json.Decoder(Note).decode
    for file in folder.glob("*.jsonl"):
        lines = file.read_bytes().split(b"\n")
        yield from map(decode, lines[:-1])  # what follows the last line's end was being written


def table(splits: list[Split]) -> str:
    """Write the quantiles; those of the parts do not add up to those of the whole."""
    parts = {
        "waiting for the request": [split.request for split in splits],
        "polling": [split.polling for split in splits],
        "processing": [split.processing for split in splits],
        "tick → alert in the queue": [sum(split) for split in splits],
    }
    lines = [f"{'ms':26} {'p50':>6} {'p90':>6} {'p99':>6}"]
    for name, times in parts.items():
        percentiles = statistics.quantiles(times, n=100)
        lines.append(f"{name:26} " + " ".join(f"{percentiles[percent - 1]:6.0f}" for percent in (50, 90, 99)))
    return "\n".join(lines)


def _measure_and_print(count: int) -> None:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="tickertape-latency-") as folder, Shown(count) as shown:
        os.environ.update({FOLDER: folder, "TMPDIR": folder})
        splits = measure(count, Path(folder), shown)
    linger = read_settings(ProducerSettings, [], "produce").publish_linger_milliseconds
    properties = kcl_properties(read_with_numbers(ConsumerSettings, [], "consume"), os.environ)
    read = properties["idleTimeBetweenReadsInMillis"]
    print(
        f"{len(splits):,} alerts, a read every {read} ms, linger {linger:.0f} ms, "
        f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores"
    )
    print(table(splits))


def main() -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__.partition("\n")[0])
    parser.add_argument("--alerts", type=int, default=ALERTS, help="how many to measure (default: %(default)s)")
    count = parser.parse_args().alerts
    if count < 2:
        parser.error("--alerts must be 2 or more")
    return run_command(lambda: _measure_and_print(count))


if __name__ == "__main__":
    sys.exit(main())
