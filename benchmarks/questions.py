"""Prints how long the commands that ask take: `python -m benchmarks.questions`, half a minute.

They run as processes against the embedded AWS, which serves one request at a time, on stores with 100 symbols and a day
of 1,000 archive objects. Beside the seconds is the processor time of the command alone: that does not depend on what
else the machine does.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from isal import isal_zlib

from common import aws
from infra.local.processes import Processes, await_line
from infra.local.stack import Stack, deploy, use_endpoint

SYMBOLS, ROWS, ALERTS = 100, 40, 20
OBJECTS, TICKS = 1000, 300
REPEATS = 3
APPLICATION = "tickertape-consumer"
BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)

_DECIMALS = ("price", "open", "high", "low", "previous_close", "change", "sma_fast", "sma_slow")
_TEXTS = ("source", "trend", "partition_key", "shard_id", "sequence_number", "arrived_at")

QUESTIONS = {
    "latest": ("latest",),
    "latest of three symbols": ("latest", "S000", "S001", "S002"),
    "history of a symbol": ("history", "S000", "--since", "1d"),
    "alerts": ("alerts",),
    "alerts of a day, 2,000": ("alerts", "--since", "1d"),
    "sql, a sum by symbol": ("sql", "SELECT symbol, count(*), avg(price) FROM ticks GROUP BY symbol"),
    "sql, one row of all columns": ("sql", "SELECT * FROM ticks WHERE symbol = 'S001' LIMIT 1"),
}


def main() -> None:
    """Fill the stores, ask, and print the quickest of some answers to each question."""
    folder = Path(tempfile.mkdtemp(prefix="tickertape-questions-"))
    processes = Processes(folder)
    try:
        use_endpoint(await_line(processes.start("aws", [sys.executable, "-m", "infra.local.embedded_aws"]), 60))
        stack = deploy(1)
        _fill(stack)
        os.environ.update(stack.environment(), TMPDIR=str(folder))
        print(f"{SYMBOLS} symbols, {OBJECTS:,} objects of {TICKS} ticks, load average {os.getloadavg()[0]:.0f}")
        print(f"{'':30}{'seconds':>10}{'of which processor':>22}")
        for name, words in QUESTIONS.items():
            seconds, processor = min(_asked(words) for _ in range(REPEATS))
            print(f"{name:30}{seconds:10.2f}{processor:22.2f}")
    finally:
        processes.kill()


def _asked(words: tuple[str, ...]) -> tuple[float, float]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", "tickertape", *words], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _fill(stack: Stack) -> None:
    dynamodb, s3 = aws.client("dynamodb"), aws.client("s3")
    names = [f"S{number:03}" for number in range(SYMBOLS)]
    for name in names:
        rows = [_row(name, second) for second in range(ROWS)]
        alerts = [_alert(name, second) for second in range(ALERTS)]
        for table, items in ((stack.ticks_table, rows), (stack.alerts_table, alerts)):
            for first in range(0, len(items), 25):
                puts = [{"PutRequest": {"Item": item}} for item in items[first : first + 25]]
                dynamodb.batch_write_item(RequestItems={table: puts})
    packer = isal_zlib.compressobj(wbits=31)
    body = packer.compress(msgspec.msgpack.encode({"symbols": [[name] for name in names]})) + packer.flush()
    s3.put_object(Bucket=stack.archive_bucket, Key=f"snapshots/{APPLICATION}/shardId-000000000000/1-0", Body=body)
    body = _ticks(names)
    for number in range(OBJECTS):
        window = BEGIN + timedelta(minutes=number)
        key = f"ticks/dt={window:%Y-%m-%d}/hour={window:%H}/shard_{window:%Y%m%dT%H%M%SZ}_1_0.parquet"
        s3.put_object(Bucket=stack.archive_bucket, Key=key, Body=body)


def _timestamp(second: int) -> str:
    return f"{BEGIN + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S.%f}Z"


def _row(name: str, second: int) -> dict[str, Any]:
    numbers = {
        column: {"N": "101.25"} for column in ("price", "open", "high", "low", "previous_close", "sma_5", "sma_20")
    }
    return {"symbol": {"S": name}, "timestamp": {"S": _timestamp(second)}, **numbers, "volume": {"N": "1000"}}


def _alert(name: str, second: int) -> dict[str, Any]:
    texts = {"rule": "z_score", "direction": "up", "severity": "warning", "message": "A sentence of usual length." * 3}
    timestamp = _timestamp(second)
    ours = {"symbol": name, "alert_id": f"{timestamp}#z_score", "timestamp": timestamp, **texts}
    return {column: {"S": text} for column, text in ours.items()}


def _ticks(names: list[str]) -> bytes:
    """An object as the consumer writes it: as many columns, of their types."""
    number = pa.decimal128(38, 9)
    columns: dict[str, pa.Array[Any]] = {
        "symbol": pa.array([names[row % len(names)] for row in range(TICKS)]),
        "timestamp": pa.array([_timestamp(row) for row in range(TICKS)]),
        **{name: pa.array([Decimal(f"{100 + row}.123456789") for row in range(TICKS)], number) for name in _DECIMALS},
        **{name: pa.array([f"text {row}" for row in range(TICKS)]) for name in _TEXTS},
        "volume": pa.array(range(TICKS), pa.int64()),
        "expires_at": pa.array(range(TICKS), pa.int64()),
        "anomalies": pa.array([["z_score"] if row % 50 == 0 else [] for row in range(TICKS)], pa.list_(pa.string())),
    }
    file = BytesIO()
    pq.write_table(pa.table(columns), file, compression="zstd")
    return file.getvalue()


if __name__ == "__main__":
    main()
