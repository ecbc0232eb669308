"""How much memory the process of one shard takes: `python -m tests.chaos.memory`.

It is started as the daemon starts it, is told what the daemon would say, and talks to a loopback server that takes
everything: the process is the real one, and nothing but what it does takes its memory.
"""

import base64
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from common.tick import Tick, encode, timestamp_of
from consumer.config import ShardConfig
from consumer.daemon import MALLOC
from consumer.detection import Rules

BATCH = 1000
ROUNDS = 32
"""Ticks of each symbol: enough to fill every window, and to go on for a while."""

SECONDS_BETWEEN_TICKS = 10
STARTED_MS = 1_800_000_000_000
_CLOSE = 100_000_000_000
_CONFIG = ShardConfig(
    stream_name="stream",
    application_name="application",
    ticks_table="ticks",
    alerts_table="alerts",
    archive_bucket="archive",
    alert_topic_arn="arn:aws:sns:us-east-1:123456789012:alerts",
    archive_seconds=60,
    max_clock_skew_seconds=300,
    retention_days=30,
    rules=Rules.of(alert_threshold=Decimal(104)),
)
_ENVIRONMENT = {
    "TICKERTAPE_SHARD_CONFIG": msgspec.json.encode(_CONFIG).decode(),
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",  # the server asks for none
}


class Resident(NamedTuple):
    """Megabytes of a process in memory: after its work, and at the most."""

    now: float
    peak: float


def resident_megabytes(
    symbols: int, rounds: int = ROUNDS, seconds_between_ticks: int = SECONDS_BETWEEN_TICKS
) -> Resident:
    """Measure the process of a shard after it has seen ``rounds`` ticks of each of ``symbols`` symbols.

    They came every ``seconds_between_ticks`` seconds, so that some archive windows were written on the way.
    """
    with _shard() as shard:
        _tell(shard, {"action": "initialize", "shardId": "shardId-000000000000", "sequenceNumber": "TRIM_HORIZON"})
        records = _records(symbols, rounds, seconds_between_ticks)
        while batch := list(islice(records, BATCH)):
            _tell(shard, {"action": "processRecords", "records": batch, "millisBehindLatest": 0})
        return Resident(megabytes(shard.pid, "VmRSS"), megabytes(shard.pid, "VmHWM"))


def _records(symbols: int, rounds: int, seconds_between_ticks: int) -> Iterator[dict[str, Any]]:
    """A market that drifts, jumps now and then and sometimes trades a lot: every rule fires for some symbol."""
    dice = random.Random(symbols)
    prices, volumes = [_CLOSE] * symbols, [0] * symbols
    for number in range(symbols * rounds):
        symbol = number % symbols
        arrived_ms = STARTED_MS + number * seconds_between_ticks * 1000 // symbols
        prices[symbol] = round(prices[symbol] * dice.gauss(1, 0.06 if dice.random() < 0.002 else 0.001))
        volumes[symbol] += dice.randrange(1000) * (50 if dice.random() < 0.002 else 1)
        tick = Tick(
            f"SYM{symbol}",
            timestamp_of(arrived_ms),
            price=prices[symbol],
            open=_CLOSE + symbol,
            high=prices[symbol] + 10**9,
            low=prices[symbol] - 10**9,
            previous_close=_CLOSE,
            volume=volumes[symbol],
            source="memory",
        )
        yield {
            "action": "record",
            "data": base64.b64encode(encode(tick)).decode(),
            "partitionKey": tick.symbol,
            "sequenceNumber": str(49_500_000_000_000_000_000_000_000 + number),
            "subSequenceNumber": 0,
            "approximateArrivalTimestamp": arrived_ms,
        }


@contextmanager
def _shard() -> Iterator[subprocess.Popen[bytes]]:
    """Run the process of a shard, and an AWS for it; both leave when nobody talks to them any more."""
    server_command = [sys.executable, "-m", "benchmarks.stub_server"]
    with subprocess.Popen(server_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        port = _pipe(server.stdout).readline().decode().strip()
        environment = os.environ | MALLOC | _ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        command = [sys.executable, "-P", "-m", "consumer"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as shard:
            yield shard


def _tell(shard: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    """Say something to the process and grant it its checkpoints until it is done."""
    to_shard, from_shard = _pipe(shard.stdin), _pipe(shard.stdout)
    while True:
        to_shard.write(msgspec.json.encode(message) + b"\n")
        to_shard.flush()
        line = next((line for line in from_shard if line.strip()), None)
        assert line is not None, "the process of the shard has ended"
        answer = msgspec.json.decode(line)
        if answer["action"] == "status":
            return
        message = answer | {"error": None}


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    assert end is not None
    return end


def megabytes(pid: int, name: str) -> float:
    """Read a size of a living process, for instance ``VmRSS``."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:")) / 1024


def main() -> None:
    """Print the table."""
    print(f"{'symbols':>8} {'ticks/s':>8} {'minutes':>8} {'MB now':>8} {'at most':>8}")  # noqa: T201  (the result)
    for symbols, rounds, seconds in (
        (0, 0, 1),
        (1, 32, 10),
        (1000, 32, 10),
        (5000, 32, 10),
        (1000, 150, 1),
        (1000, 300, 1),
    ):
        now, peak = resident_megabytes(symbols, rounds, seconds)
        minutes = rounds * seconds / 60
        print(f"{symbols:8,} {symbols / seconds:8,.1f} {minutes:8.1f} {now:8.1f} {peak:8.1f}", flush=True)  # noqa: T201  (the result)


if __name__ == "__main__":
    main()
