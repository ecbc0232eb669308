"""Prints what each step costs per tick, beside ordinary code for the same step: `python -m benchmarks.speed`.

Times depend on the machine and on what else it does; the ratios in the last column are what to compare.
"""

import base64
import gzip
import io
import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from statistics import fmean, pstdev
from typing import Any, NamedTuple

import boto3
from amazon_kclpy.kcl import _IOHandler
from boto3.dynamodb.types import TypeSerializer

from benchmarks.stub_server import running
from common.tick import TickDecoder, timestamp_of
from consumer.__main__ import look_for_garbage_seldom
from consumer.config import ShardConfig
from consumer.detection import Detector, Rules
from consumer.processor import ShardProcessor
from consumer.protocol import Record, ShardProcess, _Messages
from consumer.sinks.packing import GzipLines, ParquetRows
from consumer.sinks.row import RowWriter

TICKS = 20_000
SYMBOLS, MANY_SYMBOLS = 100, 5000
TICKS_BEFORE = 25
"""Of each symbol, when the whole path is measured: the windows are full then."""

WINDOW_TICKS = 60_000
"""What a shard at its limit gets in an archive window: so many share a snapshot, which grows with the symbols."""

REPEATS = 5
BATCH = 2000
ARRIVED = 1_800_000_000_000
ARCHIVE_SECONDS = 60


class Step(NamedTuple):
    """A step of the consumer and its peer; each is a function that does it for `ticks` ticks."""

    name: str
    ours: Callable[[], object]
    peer_name: str
    peer: Callable[[], object]
    ticks: int = TICKS
    peer_ticks: int = TICKS


def payloads(symbols: int = SYMBOLS, count: int | None = None) -> list[bytes]:
    """Ticks of a made-up market, as a producer sends them."""
    dice = random.Random(1)
    price = {f"SYM{number}": dice.uniform(10, 500) for number in range(symbols)}
    close, volume = dict(price), dict.fromkeys(price, 0)
    result = []
    for number in range(count or TICKS):
        symbol = f"SYM{number % symbols}"
        price[symbol] *= dice.gauss(1, 0.001)
        volume[symbol] += dice.randrange(1000)
        tick = {
            "symbol": symbol,
            "timestamp": timestamp_of(ARRIVED - 10**7 + number // symbols * 997),
            "price": round(price[symbol], 4),
            "open": round(close[symbol], 2),
            "high": round(close[symbol] * 1.01, 2),
            "low": round(close[symbol] * 0.99, 2),
            "previous_close": round(close[symbol], 2),
            "volume": volume[symbol],
            "source": "benchmark",
        }
        result.append(json.dumps(tick).encode())
    return result


def message(records: list[bytes], first: int = 0) -> bytes:
    """The daemon's message with ``records``, of which so many came before: one a millisecond, none of them again."""
    entries = [
        {
            "action": "record",
            "data": base64.b64encode(data).decode(),
            "partitionKey": "key",
            "sequenceNumber": str(49_500_000_000_000_000_000_000 + number),
            "subSequenceNumber": 0,
            "approximateArrivalTimestamp": ARRIVED + number,
        }
        for number, data in enumerate(records, first)
    ]
    return json.dumps({"action": "processRecords", "records": entries, "millisBehindLatest": 0}).encode()


def ordinary_detection(ticks: list[dict[str, Any]]) -> int:
    """Averages, z-score and band as most people write them: deques of floats, summed again for each tick."""
    prices: dict[str, deque[float]] = {}
    found = 0
    for tick in ticks:
        window = prices.setdefault(tick["symbol"], deque(maxlen=20))
        window.append(tick["price"])
        if len(window) == 20:
            mean, deviation = fmean(window), pstdev(window)
            fast = fmean(list(window)[-5:])
            found += abs(tick["price"] - mean) > 2 * deviation or fast > mean
    return found


def steps(sent: list[bytes]) -> list[Step]:
    """All steps but the network."""
    decoder, detector = TickDecoder(300), Detector(Rules())
    ticks = [decoder.decode(payload, ARRIVED) for payload in sent]
    as_dicts = [json.loads(payload) for payload in sent]
    line = message(sent)
    streams = io.BytesIO(), io.StringIO(), io.StringIO()
    writer = RowWriter("shardId-000000000000", detector.columns, 30)
    record = Record(b"", "key", "49500000000000000000000", 0, ARRIVED)

    def detect() -> list[Any]:
        states = {name: detector.new_state(name) for name in (f"SYM{number}" for number in range(SYMBOLS))}
        return [detector.detect(states[tick.symbol], tick) for tick in ticks]

    detections = detect()
    rows = [writer.accepted(tick, found, record) for tick, found in zip(ticks, detections, strict=True)]

    def rows_and_items() -> list[list[str]]:
        seen = list(zip(ticks, detections, strict=True))
        batches = [seen[start : start + BATCH] for start in range(0, len(seen), BATCH)]
        return [writer.items_json([writer.accepted(*one, record) for one in batch]) for batch in batches]

    def kclpy_message() -> list[bytes]:
        return [item.binary_data for item in _IOHandler(*streams).load_action(line.decode()).records]

    return [
        Step("read a message", lambda: _Messages(*streams).load_action(line), "kclpy", kclpy_message),
        Step(
            "decode",
            lambda: [decoder.decode(payload, ARRIVED) for payload in sent],
            "json.loads",
            lambda: [json.loads(payload) for payload in sent],
        ),
        Step("detect", detect, "deques and statistics", lambda: ordinary_detection(as_dicts)),
        Step(
            "rows and items",
            rows_and_items,
            "boto3's serializer",
            lambda: [_serialized(tick) for tick in as_dicts],
        ),
        Step("raw archive", lambda: _packed(GzipLines(), sent), "gzip -9", lambda: gzip.compress(b"\n".join(sent))),
        Step("Parquet", lambda: _packed(ParquetRows(writer.columns), rows), "gzipped JSON", lambda: _gzipped(as_dicts)),
    ]


def _packed(into: Any, records: list[Any]) -> bytes:  # noqa: ANN401  (lines or rows)
    for start in range(0, len(records), BATCH):
        into.extend(records[start : start + BATCH])
    packed: bytes = into.finish()
    return packed


def _serialized(tick: dict[str, Any]) -> str:
    serializer = TypeSerializer()
    return json.dumps({name: serializer.serialize(str(value)) for name, value in tick.items()})


def _gzipped(ticks: list[dict[str, Any]]) -> bytes:
    return gzip.compress("\n".join(map(json.dumps, ticks)).encode())


class _Daemon:
    """The other end of the pipe: sends messages, grants checkpoints."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def readline(self) -> bytes:
        return self.lines.pop(0) if self.lines else b""

    def write(self, text: str) -> None:
        if '"checkpoint"' in text:
            self.lines.insert(0, text.encode())

    def flush(self) -> None:
        pass


def whole_path(name: str, symbols: int = SYMBOLS, row_seconds: int = 0, count: int | None = None) -> Step:
    """From the daemon's message to acknowledged writes, against put_item for each tick, over a loopback server."""
    before = max(TICKS // 2, TICKS_BEFORE * symbols)
    sent = payloads(symbols, before + (count or TICKS // 2))
    config = ShardConfig(
        stream_name="stream",
        application_name="application",
        ticks_table="ticks",
        alerts_table="alerts",
        archive_bucket="archive",
        alert_topic_arn="arn:aws:sns:us-east-1:1:alerts",
        archive_seconds=ARCHIVE_SECONDS,
        max_clock_skew_seconds=300,
        retention_days=30,
        rules=Rules.of(alert_cooldown_seconds=10**6),
        row_seconds=row_seconds,
    )
    daemon = _Daemon()
    processor = ShardProcessor(config)
    process = ShardProcess(processor, daemon, daemon, io.StringIO())
    starting = {"action": "initialize", "shardId": "shardId-000000000000", "sequenceNumber": "TRIM_HORIZON"}
    daemon.lines = [json.dumps(starting).encode()]
    process.run()
    processor._alerts.deliver = lambda alerts: None  # type: ignore[method-assign]  # how many there are is the market's
    daemon.lines = _messages(sent, 0, before)
    process.run()  # connections, and windows that are not full: once in a process's life
    table = boto3.resource("dynamodb").Table("ticks")
    few = [json.loads(payload, parse_float=str) for payload in sent[:1000]]
    said = _messages(sent, before, len(sent))

    def ours() -> None:
        daemon.lines = [*said, json.dumps({"action": "shardEnded"}).encode()]
        process.run()

    def peer() -> None:
        for tick in few:
            table.put_item(Item=tick)

    look_for_garbage_seldom()  # and not among the other steps' data
    return Step(name, ours, "put_item each", peer, len(sent) - before, len(few))


def _messages(sent: list[bytes], start: int, stop: int) -> list[bytes]:
    return [message(sent[first : min(first + BATCH, stop)], first) for first in range(start, stop, BATCH)]


def seconds(action: Callable[[], object], repeats: int) -> float:
    """Seconds of this process on a core, in the best of several runs: the others were disturbed."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        action()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    """Measure everything and print the table."""
    logging.disable()
    look_for_garbage_seldom()  # as in the process of a shard
    sent = payloads()
    with running():
        print(f"{'step':16} {'ns/tick':>9} {'ticks/s':>10}   {'peer':22} {'ns/tick':>9} {'times as fast':>14}")
        for step in steps(sent):
            _print(step, REPEATS)
        _print(whole_path("whole path"), 1)
        _print(whole_path(f"{MANY_SYMBOLS:,} symbols", MANY_SYMBOLS, count=WINDOW_TICKS), 1)
        _print(whole_path("thin rows", row_seconds=ARCHIVE_SECONDS), 1)


def _print(step: Step, repeats: int) -> None:
    ours = seconds(step.ours, repeats) / step.ticks
    peer = seconds(step.peer, min(repeats, 2)) / step.peer_ticks
    print(
        f"{step.name:16} {1e9 * ours:9,.0f} {1 / ours:10,.0f}   "
        f"{step.peer_name:22} {1e9 * peer:9,.0f} {peer / ours:14.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
