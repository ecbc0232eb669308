"""The process of a shard, driven through the daemon's protocol, against moto's AWS."""

import base64
import gzip
import io
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws
from msgspec.structs import replace

from common.tick import Tick
from consumer import processor, skips
from consumer.config import ShardConfig
from consumer.detection import Detection, Detector, Rules, SymbolState
from consumer.leasing import take_leases_without_leader
from consumer.processor import ShardProcessor
from consumer.protocol import ShardProcess
from consumer.sinks import archive
from infra.templates import STACK, Template

SHARD = "shardId-000000000000"
START = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
ARCHIVE_SECONDS = 60

Message = dict[str, Any]


class Daemon:
    """Stands for the MultiLangDaemon's end of the pipe: sends messages, and acknowledges every checkpoint."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = iter(messages)
        self._answer: Message | None = None
        self.refusal: str | None = None  # the error that checkpoints are answered with
        self.checkpoints: list[tuple[str | None, int | None]] = []
        self.done: list[str] = []

    def readline(self) -> bytes:
        """The next message, or the answer to a checkpoint."""
        message, self._answer = self._answer or next(self._messages, None), None
        return json.dumps(message).encode() + b"\n" if message else b""

    def write(self, text: str) -> None:
        """Take what the process says."""
        message = json.loads(text)
        if message["action"] == "checkpoint":
            self.checkpoints.append((message["sequenceNumber"], message["subSequenceNumber"]))
            self._answer = {**message, "error": self.refusal}
        else:
            self.done.append(message["responseFor"])

    def flush(self) -> None:
        """Needed by kclpy."""


class Stores:
    """What a run left behind."""

    def __init__(self, config: ShardConfig, queue_url: str) -> None:
        self._config = config
        self._queue_url = queue_url

    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The items of the ticks table by key."""
        table = boto3.resource("dynamodb").Table(self._config.ticks_table)
        return {(str(item["symbol"]), str(item["timestamp"])): item for item in table.scan()["Items"]}

    def alerts(self) -> dict[str, dict[str, Any]]:
        """The items of the alerts table by id, without the time of publishing."""
        items = boto3.resource("dynamodb").Table(self._config.alerts_table).scan()["Items"]
        return {str(item["alert_id"]): {k: v for k, v in item.items() if k != "published_at"} for item in items}

    def objects(self) -> dict[str, bytes]:
        """The objects of the archive by key."""
        bucket = boto3.resource("s3").Bucket(self._config.archive_bucket)
        return {item.key: item.get()["Body"].read() for item in bucket.objects.all()}

    def lines(self, prefix: str) -> list[bytes]:
        """The lines of all gzipped objects below a prefix."""
        bodies = [body for key, body in self.objects().items() if key.startswith(prefix)]
        return [line for body in bodies for line in gzip.decompress(body).splitlines()]

    def new_messages(self) -> list[dict[str, Any]]:
        """The messages that came since the last call."""
        sqs, found = boto3.client("sqs"), []
        while messages := sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardConfig]:
    """Stores on an AWS of this test's own, and the configuration that names them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # clients alone then make all calls, and moto takes theirs
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        for table, key in (("ticks", "timestamp"), ("alerts", "alert_id")):
            dynamodb.create_table(
                TableName=table,
                KeySchema=[
                    {"AttributeName": "symbol", "KeyType": "HASH"},
                    {"AttributeName": key, "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": "symbol", "AttributeType": "S"},
                    {"AttributeName": key, "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        boto3.client("kinesis").create_stream(StreamName="stream", ShardCount=1)
        take_leases_without_leader("application")
        boto3.client("s3").create_bucket(
            Bucket="archive", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield ShardConfig(
            stream_name="stream",
            application_name="application",
            ticks_table="ticks",
            alerts_table="alerts",
            archive_bucket="archive",
            alert_topic_arn=boto3.client("sns").create_topic(Name="alerts")["TopicArn"],
            archive_seconds=ARCHIVE_SECONDS,
            max_clock_skew_seconds=300,
            retention_days=30,
            rules=Rules(alert_cooldown_seconds=30),
        )


@pytest.fixture
def stores(config: ShardConfig) -> Stores:
    """A look at the stores, with a queue subscribed to the topic."""
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    boto3.client("sns").subscribe(
        TopicArn=config.alert_topic_arn, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )
    return Stores(config, url)


def run(config: ShardConfig, *messages: Message, shard: str = SHARD) -> Daemon:
    """Start a new process of the shard and let it have ``messages``; returning is its death."""
    initialize = {"action": "initialize", "shardId": shard, "sequenceNumber": "0", "subSequenceNumber": 0}
    daemon = Daemon([initialize, *messages])
    ShardProcess(ShardProcessor(config), daemon, daemon, io.StringIO()).run()
    return daemon


def batch(records: list[Message], millis_behind_latest: int = 0) -> Message:
    """The daemon's message with records."""
    return {"action": "processRecords", "records": records, "millisBehindLatest": millis_behind_latest}


def record(data: bytes, number: int, arrived: datetime, sub: int = 0, key: str = "key") -> Message:
    """A record as the daemon writes it."""
    return {
        "action": "record",
        "data": base64.b64encode(data).decode(),
        "partitionKey": key,
        "sequenceNumber": str(49_500_000_000 + number),
        "subSequenceNumber": sub,
        "approximateArrivalTimestamp": int(arrived.timestamp() * 1000),
    }


def quote(price: float, moment: datetime, symbol: str = "AAPL", **fields: object) -> bytes:
    """A payload."""
    return json.dumps({"symbol": symbol, "timestamp": moment.isoformat(), "price": price, **fields}).encode()


def ticks(count: int, first: int = 0) -> list[Message]:
    """A tick a second of two symbols in turn, prices in waves high enough to fire some rules."""
    records = []
    for number in range(first, first + count):
        moment = START + timedelta(seconds=number)
        price = 100 + (number % 37) * 0.25 + (25 if number % 50 == 49 else 0)
        symbol = "AAPL" if number % 2 else "MSFT"
        data = quote(price, moment, symbol, previous_close=100, volume=number * number * 10)
        records.append(record(data, number, moment))
    return records


def test_a_complete_window_is_archived_and_then_checkpointed(config: ShardConfig, stores: Stores) -> None:
    """The first record of the next window completes one; the checkpoint covers exactly what was archived."""
    daemon = run(config, batch(ticks(61)))

    assert daemon.checkpoints == [(str(49_500_000_000 + 59), 0)]
    name = f"{SHARD}_20261120T143000Z_49500000000_0"
    assert sorted(stores.objects()) == [
        f"raw-data/dt=2026-11-20/hour=14/{name}.json.gz",
        f"ticks/dt=2026-11-20/hour=14/{name}.parquet",
    ]
    assert len(stores.lines("raw-data")) == 60
    assert len(stores.rows()) == 61
    assert daemon.done == ["initialize", "processRecords"]


def test_parquet_holds_the_rows_of_the_table(config: ShardConfig, stores: Stores) -> None:
    """Every column of the archive equals the attribute of the item with the same key, absent ones included."""
    run(config, batch(ticks(61)))

    (body,) = (body for key, body in stores.objects().items() if key.endswith(".parquet"))
    archived = pq.read_table(io.BytesIO(body)).rename_columns({"sma_fast": "sma_5", "sma_slow": "sma_20"}).to_pylist()
    rows = stores.rows()
    assert len(archived) == 60
    for row in archived:
        item = rows[row["symbol"], row["timestamp"]]
        present = {name: value for name, value in row.items() if value not in (None, [])}
        assert {name: set(v) if isinstance(v, list) else v for name, v in present.items()} == item


@pytest.mark.parametrize("from_number", [0, 20, 39])
def test_a_batch_that_comes_again_is_passed_over(config: ShardConfig, stores: Stores, from_number: int) -> None:
    """The KCL may hand records over twice when it restarts its reading: each is archived once, and none is late."""
    first = ticks(40)
    daemon = run(
        config, batch(first), batch(first[from_number:], millis_behind_latest=1), batch(ticks(61)[from_number:])
    )

    assert daemon.checkpoints == [(str(49_500_000_000 + 59), 0)]
    assert len(stores.lines("raw-data")) == 60
    assert not any("late" in row for row in stores.rows().values())


@pytest.mark.parametrize("last", [batch([]), {"action": "shardEnded"}], ids=["batch", "shard end"])
def test_nothing_is_done_after_a_dropped_batch(
    config: ShardConfig,
    stores: Stores,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    last: Message,
) -> None:
    """What the daemon's log has said of it ends the process, before the next batch or the shard's end is looked at."""
    monkeypatch.setenv("TICKERTAPE_SKIPS", "")  # what is set from here on ends with the test
    dropped = skips.begin(tmp_path)
    dropped.touch()
    daemon = Daemon([{"action": "initialize", "shardId": SHARD, "sequenceNumber": "0", "subSequenceNumber": 0}])
    shard = ShardProcess(ShardProcessor(config), daemon, daemon, io.StringIO())
    shard.run()
    daemon._messages = iter([batch(ticks(30)), last])
    dropped.write_text("shardId-000000000000: Caught exception from handleInput\n")
    with pytest.raises(SystemExit) as exit_info:
        shard.run()

    assert exit_info.value.code == 1
    assert daemon.checkpoints == []
    assert not stores.rows()
    (end,) = (entry for entry in caplog.records if entry.message == "records_skipped")
    assert "handleInput" in end.__dict__["error"]


@pytest.mark.parametrize("windows", [(5, 20), (3, 4)])
def test_catalog_describes_what_is_archived(config: ShardConfig, stores: Stores, windows: tuple[int, int]) -> None:
    """Athena's tables name the folders, columns and types of the archive, whatever the windows' sizes are."""
    fast, slow = windows
    config = ShardConfig(**{**_fields(config), "rules": Rules(sma_fast=fast, sma_slow=slow)})
    run(config, batch([*ticks(60), record(b"no tick", 60, START + timedelta(seconds=59)), *ticks(1, 61)]))

    tables = {
        table["TableInput"]["Name"]: table["TableInput"] for table in Template(STACK).of_type("Glue::Table").values()
    }
    assert tables.keys() == {"raw_data", "ticks", "quarantine"}
    found = stores.objects()
    for name, table in tables.items():
        (key,) = (key for key in found if key.startswith(name.replace("_", "-") + "/"))
        folder = table["Parameters"]["storage.location.template"].split("/", 3)[3]  # after s3://BUCKET/
        assert Path(key).parent == Path(folder.replace("${dt}", "2026-11-20").replace("${hour}", "14"))
        columns = {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]}
        if name == "ticks":
            assert columns == {field.name: _athena_type(field.type) for field in pq.read_schema(io.BytesIO(found[key]))}
        elif name == "quarantine":
            assert list(columns) == list(json.loads(stores.lines("quarantine/")[0]))
        else:
            assert columns.keys() >= json.loads(stores.lines("raw-data/")[0]).keys()


def _athena_type(kind: pa.DataType) -> str:
    if isinstance(kind, pa.ListType):
        return f"array<{_athena_type(kind.value_type)}>"
    if isinstance(kind, pa.Decimal128Type):
        return f"decimal({kind.precision},{kind.scale})"
    return {"string": "string", "int64": "bigint", "bool": "boolean"}[str(kind)]


def test_log_tells_what_metrics_are_made_of(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    """The archived event counts what its window holds, in the fields that the stack makes metrics of."""
    caplog.set_level(logging.INFO)
    late = record(quote(1, START - timedelta(hours=1)), 60, START + timedelta(seconds=59))
    bad = record(b"no tick", 62, START + timedelta(seconds=59))
    run(config, batch([*ticks(60), late, {**ticks(1, 59)[0], "sequenceNumber": "49500000061"}, bad, *ticks(1, 63)]))

    (told,) = (vars(entry) for entry in caplog.records if entry.message == "archived")
    window = [row for (_, moment), row in stores.rows().items() if moment < "2026-11-20T14:31"]
    sent = Counter(rule for row in window for rule in row.get("anomalies", set()) - row.get("suppressed", set()))
    assert sent
    assert {
        name: told[name]
        for name in ("ticks", "late", "duplicates", "conflicts", "quarantined", "alerts", "alerts_by_rule")
    } == {
        "ticks": 61,
        "late": 1,
        "duplicates": 1,
        "conflicts": 0,
        "quarantined": 1,
        "alerts": sent.total(),
        "alerts_by_rule": dict(sent),
    }
    for metric in Template(STACK).of_type("Logs::MetricFilter").values():
        if "archived" in metric["FilterPattern"]:
            (transformation,) = metric["MetricTransformations"]
            assert isinstance(told[transformation["MetricValue"].removeprefix("$.")], int)


def test_each_shard_is_counted_once_a_minute(
    config: ShardConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many batches a shard gets, it says once in each minute of the clock that it is at work."""
    caplog.set_level(logging.INFO)
    clock = iter([60.1, 90.0, 119.9, 120.0, 179.0, 180.5])
    monkeypatch.setattr("consumer.processor.time", SimpleNamespace(time=lambda: next(clock)))
    run(config, *[batch([], millis_behind_latest=1)] * 6)

    told = [vars(entry) for entry in caplog.records if entry.message == "processing"]
    assert [entry["shard_id"] for entry in told] == [SHARD] * 3
    metrics = Template(STACK).of_type("Logs::MetricFilter").values()
    (counted,) = (metric for metric in metrics if '"processing"' in metric["FilterPattern"])
    assert counted["MetricTransformations"][0]["MetricName"] == "Leases"


def test_replay_after_a_crash_changes_nothing(config: ShardConfig, stores: Stores) -> None:
    """A process that died before its checkpoint leaves the same rows, bytes and messages as one that did not."""
    records = ticks(150)
    run(config, batch(records[:150]))
    rows, alerts, objects, messages = stores.rows(), stores.alerts(), stores.objects(), stores.new_messages()
    assert messages

    for start in (0, 60, 120):  # where checkpoints can be
        run(config, batch(records[start:130]), batch(records[130:]))
        assert (stores.rows(), stores.alerts(), stores.objects(), stores.new_messages()) == (rows, alerts, objects, [])


@pytest.mark.parametrize("crash", [1, 10, 21, 59, 99])
def test_a_restart_continues_the_windows(config: ShardConfig, stores: Stores, crash: int) -> None:
    """Averages, sides and cooldowns go on over a crash as if nothing had happened."""
    records = ticks(150)
    run(config, batch(records[:crash]))
    run(config, batch(records[crash:]))
    rows, alerts, messages = stores.rows(), stores.alerts(), stores.new_messages()

    other = ShardConfig(**{**_fields(config), "ticks_table": "ticks2", "alerts_table": "alerts2"})
    _copy_schemas(config, other)
    run(other, batch(records))
    uninterrupted = Stores(other, stores._queue_url)
    assert rows == uninterrupted.rows()
    assert alerts == uninterrupted.alerts()
    assert _ids(messages) == _ids(uninterrupted.new_messages())


@pytest.mark.parametrize("size", [1, 7, 150])
def test_forgotten_symbols_come_back_as_they_were(
    config: ShardConfig, stores: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """With room for one symbol's state, two symbols get the rows, alerts and objects of room for all."""
    caplog.set_level(logging.INFO)
    records = ticks(150)
    records[30:30] = [{**records[20], "sequenceNumber": "49500000029", "subSequenceNumber": 1}]  # is late by now
    batches = [batch(records[start : start + size]) for start in range(0, len(records), size)]
    run(config, *batches)
    kept = stores.rows(), stores.alerts(), stores.objects(), _ids(stores.new_messages())
    assert {vars(entry)["symbols_forgotten"] for entry in caplog.records if entry.message == "archived"} == {0}
    caplog.clear()

    other = ShardConfig(**{**_fields(config), "ticks_table": "ticks2", "alerts_table": "alerts2"})
    _copy_schemas(config, other)
    monkeypatch.setattr(processor, "_MOST_STATES", 1)
    run(other, *batches)
    bounded = Stores(other, stores._queue_url)
    assert (bounded.rows(), bounded.alerts(), bounded.objects(), _ids(bounded.new_messages())) == kept
    forgotten = [vars(entry)["symbols_forgotten"] for entry in caplog.records if entry.message == "archived"]
    assert forgotten[-1] > 0 or size == len(records) - 1


def test_cooldown_reaches_over_a_restart(config: ShardConfig, stores: Stores) -> None:
    """An alert that was sent less than the cooldown ago holds back the next one, also in a new process."""

    def level(number: int, price: float) -> Message:
        moment = START + timedelta(seconds=number)
        return record(quote(price, moment), number, moment)

    with_level = ShardConfig(
        **{**_fields(config), "rules": Rules(alert_threshold=Decimal(100), alert_cooldown_seconds=30)}
    )
    run(with_level, batch([level(0, 99), level(1, 101), level(2, 99)]))
    run(with_level, batch([level(3, 101), level(30, 99), level(31, 101)]))

    rows = [row for _, row in sorted(stores.rows().items())]
    assert [row.get("anomalies") for row in rows] == [None, *[{"price_level"}] * 5]
    assert [bool(row.get("suppressed")) for row in rows] == [False, False, False, True, True, False]
    assert len(stores.new_messages()) == 3


@pytest.mark.parametrize("symbol", ["M&M.NS", "NIFTY_FIN_SERVICE.NS", "^GSPC", "_&_"])
def test_any_symbol_reaches_every_store(config: ShardConfig, stores: Stores, symbol: str) -> None:
    """A symbol with unusual characters is a key in the tables, text in the archive and an attribute of messages."""
    levels = ShardConfig(**{**_fields(config), "rules": Rules(price_levels={symbol: Decimal(98)})})
    moments = [START + timedelta(seconds=second) for second in (0, 1)]
    quotes = [quote(price, at, symbol) for price, at in zip((97, 99), moments, strict=True)]
    run(levels, batch([record(data, i, START) for i, data in enumerate(quotes)]), {"action": "shardEnded"})

    assert {key[0] for key in stores.rows()} == {symbol}
    assert stores.lines("raw-data") == quotes
    (alert,) = boto3.resource("dynamodb").Table(config.alerts_table).scan()["Items"]
    (message,) = stores.new_messages()
    assert (alert["symbol"], alert["status"], message["symbol"]) == (symbol, "sent", symbol)
    assert message["message"] == alert["message"] == f"{symbol} at 99 is above 98.00."


def test_duplicates_late_ticks_and_conflicts(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    """The same timestamp again changes nothing, an earlier one is stored and flagged; detection sees neither.

    A tick with the timestamp of another and a price of its own is in the archive, flagged, and counted apart.
    """
    caplog.set_level(logging.INFO)
    moments = [START + timedelta(seconds=second) for second in (0, 10, 10, 10, 5, 5, 5, 0, 0, 20)]
    prices = [100, 101, 101, 999, 50, 51, 50, 100, 100.000000001, 102]
    records = [
        record(quote(price, at), number, START + timedelta(seconds=number))
        for number, (price, at) in enumerate(zip(prices, moments, strict=True))
    ]
    ends = [batch([]), {"action": "shardEnded"}]
    with_fast = ShardConfig(**{**_fields(config), "rules": Rules(sma_fast=3, sma_slow=4)})
    run(with_fast, batch(records), *ends)
    objects = stores.objects()
    for start, cut in ((0, 0), (0, 3), (0, 4), (0, 5), (0, 8)):  # replays, whose first batches end elsewhere
        run(with_fast, batch(records[start:cut]), batch(records[cut:]), *ends)
        rows = [row for _, row in sorted(stores.rows().items())]
        assert [row["price"] for row in rows] == [100, 50, 101, 102]
        assert [row.get("late", False) for row in rows] == [False, True, False, False]
        assert not any("conflict" in row for row in rows)
        assert rows[3]["sma_3"] == 101
        assert stores.objects() == objects

    (parquet,) = (body for key, body in objects.items() if key.endswith(".parquet"))
    archived = pq.read_table(io.BytesIO(parquet)).to_pylist()
    conflicts = [(row["timestamp"][17:19], row["price"], row["sma_fast"]) for row in archived if row["conflict"]]
    assert conflicts == [("10", 999, None), ("05", 51, None), ("00", Decimal("100.000000001"), None)]
    told = [vars(entry) for entry in caplog.records if entry.message == "archived"]
    names = ("records", "ticks", "late", "duplicates", "conflicts", "quarantined")
    assert [[entry[name] for name in names] for entry in told] == [[10, 4, 1, 3, 3, 0]] * 6


@pytest.mark.parametrize("form", ["array", "lines", "pretty array"])
def test_a_record_of_several_ticks_is_that_many(config: ShardConfig, stores: Stores, form: str) -> None:
    """Each is a row with its place in the record; a bad one costs itself only; raw data has one a line, as sent."""
    quotes = [quote(100 + i, START + timedelta(seconds=i), symbol) for i, symbol in enumerate(["AAPL", "MSFT", "AAPL"])]
    late = quote(1, START - timedelta(seconds=1))
    contents = [quotes[0], b'{"symbol":"AAPL"}', quotes[1], quotes[2], late, late, quote(2, START), quotes[0]]
    payload = {
        "array": b"[" + b",".join(contents) + b"]",
        "lines": b"\n".join(contents) + b"\r\n\n",
        "pretty array": b" [\n  " + b" ,\n  ".join(contents) + b"\n]\n",
    }[form]
    next_one = quote(103, START + timedelta(seconds=3), "MSFT")
    records = [record(payload, 1, START), record(next_one, 2, START)]
    daemon = run(config, batch(records), {"action": "shardEnded"})

    rows, objects = stores.rows(), stores.objects()
    assert {(row["symbol"], row["price"]): row.get("record_index") for row in rows.values()} == {
        ("AAPL", 100): 0,
        ("MSFT", 101): 2,
        ("AAPL", 102): 3,
        ("AAPL", 1): 4,
        ("MSFT", 103): None,
    }
    assert stores.lines("raw-data/") == [contents[0], *contents[2:], next_one]
    (reject,) = (json.loads(line) for line in stores.lines("quarantine/"))
    assert (base64.b64decode(reject["data"]), reject["record_index"]) == (contents[1], 1)
    assert daemon.checkpoints[0] == ("49500000002", 0)
    (parquet,) = (body for key, body in objects.items() if key.endswith(".parquet"))
    archived = pq.read_table(io.BytesIO(parquet)).to_pylist()
    assert [(row["record_index"], row["late"], row["conflict"]) for row in archived] == [
        (0, None, None),
        (2, None, None),
        (3, None, None),
        (4, True, None),
        (6, None, True),
        (None, None, None),
    ]
    for cut in (0, 1):
        run(config, batch(records[:cut]), batch(records[cut:]), {"action": "shardEnded"})
        assert (stores.rows(), stores.objects()) == (rows, objects)


def test_an_object_never_ends_within_a_record(
    config: ShardConfig, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint covers whole records, so all ticks of one are in the same objects, however full these are."""
    monkeypatch.setattr(archive, "MAX_CHUNK_BYTES", 300)
    moments = iter(START + timedelta(seconds=second) for second in range(100))
    several = [b"[" + b",".join(quote(1, next(moments)) for _ in range(6)) + b"]" for _ in range(3)]
    daemon = run(config, batch([record(data, i, START) for i, data in enumerate(several)]), {"action": "shardEnded"})

    counts = [len(gzip.decompress(body).splitlines()) for key, body in stores.objects().items() if "raw-data" in key]
    assert counts == [6, 6, 6]
    assert daemon.checkpoints == [("49500000000", 0), ("49500000001", 0), ("49500000002", 0), (None, None)]


def test_bad_records_are_quarantined_and_the_shard_goes_on(config: ShardConfig, stores: Stores) -> None:
    """What is not a tick is kept with its reason, position and bytes; its neighbours are processed."""
    bad = [b"{not json", b'{"symbol":"AAPL"}', b"\xff\xfe", b'{"symbol":"AAPL","price":-1}', b"[" * 5000]
    records = [record(data, number, START, sub=number) for number, data in enumerate(bad)]
    good = record(quote(100, START), 9, START)
    run(config, batch([*records, good]), {"action": "shardEnded"})

    rejects = [json.loads(line) for line in stores.lines("quarantine")]
    assert [base64.b64decode(reject["data"]) for reject in rejects] == bad
    assert [reject["sub_sequence_number"] for reject in rejects] == list(range(len(bad)))
    assert all(reject["reason"] and reject["shard_id"] == SHARD for reject in rejects)
    assert len(stores.rows()) == 1


def test_a_shards_end_is_archived_and_checkpointed(config: ShardConfig, stores: Stores) -> None:
    """The open window of a closed shard is written before its end is checkpointed, which lets its children begin."""
    daemon = run(config, batch(ticks(3)), {"action": "shardEnded"})

    assert daemon.checkpoints == [(str(49_500_000_000 + 2), 0), (None, None)]
    assert len(stores.lines("raw-data")) == 3


@pytest.mark.parametrize("action", ["shutdownRequested", "leaseLost"])
def test_stopping_flushes_nothing(config: ShardConfig, stores: Stores, action: str) -> None:
    """Stopping is crashing: no half window is written, nothing uncovered is checkpointed, nothing comes after it."""
    daemon = run(config, batch(ticks(3)), {"action": action}, batch(ticks(200, first=3)))

    assert daemon.checkpoints == []
    assert stores.objects() == {}
    assert len(stores.rows()) == 3
    assert daemon.done[-2:] == [action, "processRecords"]


def test_a_refused_checkpoint_ends_the_archive(config: ShardConfig, stores: Stores) -> None:
    """Who learns at a checkpoint that the lease is lost writes no object more: the new owner archives what follows."""
    initialize = {"action": "initialize", "shardId": SHARD, "sequenceNumber": "0", "subSequenceNumber": 0}
    daemon = Daemon([initialize, batch(ticks(200)), batch(ticks(100, first=200)), {"action": "leaseLost"}])
    daemon.refusal = "ShutdownException"
    ShardProcess(ShardProcessor(config), daemon, daemon, io.StringIO()).run()

    assert len(daemon.checkpoints) == 1
    assert len([key for key in stores.objects() if key.startswith("raw-data")]) == 1
    assert daemon.done[-1] == "leaseLost"


def test_an_idle_shard_is_archived_when_its_window_is_past(config: ShardConfig, stores: Stores) -> None:
    """Without new records the window is closed by the clock, and only when the shard has nothing left to read."""
    now = datetime.now(UTC)
    old = now - timedelta(seconds=ARCHIVE_SECONDS * 2)
    behind = run(config, batch([record(quote(1, old), 0, old)]), batch([], millis_behind_latest=5000))
    assert behind.checkpoints == []

    fresh = run(config, batch([record(quote(1, now), 0, now)]), batch([]))
    assert fresh.checkpoints == []

    past = run(config, batch([record(quote(1, old), 0, old)]), batch([]))
    assert past.checkpoints == [("49500000000", 0)]


def test_a_window_is_cut_at_its_size(config: ShardConfig, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded: a chunk that is full is written and checkpointed in the middle of its window."""
    records = ticks(10)
    size = len(base64.b64decode(records[0]["data"]))
    monkeypatch.setattr(archive, "MAX_CHUNK_BYTES", 4 * size + 10)
    daemon = run(config, batch(records))

    assert len(daemon.checkpoints) == 2
    assert len([key for key in stores.objects() if key.startswith("raw-data")]) == 2


def test_a_pending_alert_is_sent_and_a_sent_one_is_not(config: ShardConfig, stores: Stores) -> None:
    """Whoever finds an alert recorded but not marked publishes it; a marked one stays alone."""
    run(config, batch(ticks(60)))
    sent = stores.new_messages()
    table = boto3.resource("dynamodb").Table(config.alerts_table)
    first = sent[0]
    table.update_item(
        Key={"symbol": first["symbol"], "alert_id": first["alert_id"]},
        UpdateExpression="SET #s = :pending",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":pending": "pending"},
    )
    run(config, batch(ticks(60)))

    assert stores.new_messages() == [first]
    assert {alert["status"] for alert in stores.alerts().values()} == {"sent"}


def _claim_for_another(config: ShardConfig, alert: dict[str, Any], claimed_at: float) -> None:
    boto3.resource("dynamodb").Table(config.alerts_table).put_item(
        Item={
            "symbol": alert["symbol"],
            "alert_id": alert["alert_id"],
            "status": "pending",
            "claimed_by": "another",
            "claimed_at": int(claimed_at * 1000),
        }
    )


def test_what_another_is_publishing_is_left_to_it(config: ShardConfig, stores: Stores) -> None:
    """Two processes at the same alerts, as when a lease was lost unnoticed: the second one waits, and sends nothing."""
    run(config, batch(ticks(60)))
    first = stores.new_messages()[0]
    _claim_for_another(config, first, time.time())
    table = boto3.resource("dynamodb").Table(config.alerts_table)
    key = {"symbol": first["symbol"], "alert_id": first["alert_id"]}
    done = threading.Timer(1, lambda: table.put_item(Item={**key, "status": "sent"}))
    done.start()
    started = time.monotonic()
    run(config, batch(ticks(60)))
    done.join()

    assert time.monotonic() > started + 0.9
    assert stores.new_messages() == []


def test_the_claim_of_the_dead_expires(config: ShardConfig, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process claimed and did not publish, its successor publishes, once, when the claim is old."""
    run(config, batch(ticks(60)))
    first = stores.new_messages()[0]
    monkeypatch.setattr("consumer.sinks.alerts._CLAIM_MS", 1000)
    claimed = time.time()
    _claim_for_another(config, first, claimed)
    run(config, batch(ticks(60)))

    assert time.time() > claimed + 0.9
    assert stores.new_messages() == [first]


def test_a_message_carries_what_a_receiver_needs(config: ShardConfig, stores: Stores) -> None:
    """The JSON of a message equals its row in the alerts table, numbers as numbers."""
    run(config, batch(ticks(60)))

    alerts = stores.alerts()
    for message in stores.new_messages():
        row = alerts[message["alert_id"]]
        assert {
            name: float(v) if name in {"price", "value", "threshold"} else v
            for name, v in row.items()
            if name in message
        } == message
        assert len(message["message"]) <= 140


def test_what_waiting_does_not_mend_stops_the_process(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing table ends the process with a line that says what to fix; nothing is checkpointed past it."""
    boto3.client("dynamodb").delete_table(TableName=config.ticks_table)
    one_symbol = ticks(61)[::2]  # of two, the other's thread would go on when this test is over
    daemon = Daemon(
        [{"action": "initialize", "shardId": SHARD, "sequenceNumber": "0", "subSequenceNumber": 0}, batch(one_symbol)]
    )
    with pytest.raises(SystemExit) as exit_info:
        ShardProcess(ShardProcessor(config), daemon, daemon, io.StringIO()).run()

    assert exit_info.value.code == 1
    assert daemon.checkpoints == []
    assert daemon.done == ["initialize"]
    (failure,) = (entry for entry in caplog.records if entry.message == "shard_failed")
    assert "ResourceNotFoundException" in vars(failure)["error"]
    assert failure.exc_info is None


def test_a_record_that_breaks_our_code_is_quarantined(
    config: ShardConfig, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug costs one record, not the shard, and the symbol's next tick is computed from what was before."""
    detect = Detector.detect

    def broken(self: Detector, state: SymbolState, tick: Tick) -> Detection:
        if tick.price == 13 * 10**9:
            raise ZeroDivisionError("bad luck")
        return detect(self, state, tick)

    monkeypatch.setattr(Detector, "detect", broken)
    moments = [START + timedelta(seconds=second) for second in range(3)]
    records = [record(quote(price, at), int(price), at) for price, at in zip((12, 13, 14), moments, strict=True)]
    run(config, batch(records), {"action": "shardEnded"})

    (reject,) = (json.loads(line) for line in stores.lines("quarantine"))
    assert "ZeroDivisionError" in reject["reason"]
    assert [row["price"] for _, row in sorted(stores.rows().items())] == [12, 14]


def _in_the_middle(config: ShardConfig, stores: Stores, crash: int, **rules: Any) -> bool:  # noqa: ANN401  (any rule's number)
    """Tell whether a run that is cut at ``crash`` sends the same alerts as one that is not."""
    cut = ShardConfig(**{**_fields(config), "rules": Rules(**rules)})
    whole = ShardConfig(**{**_fields(cut), "ticks_table": "ticks2", "alerts_table": "alerts2"})
    _copy_schemas(cut, whole)
    records = ticks(300)
    run(cut, batch(records[:crash]))
    run(cut, batch(records[crash:]))
    alerts = stores.alerts()
    run(whole, batch(records))
    return bool(alerts) and alerts == Stores(whole, stores._queue_url).alerts()


@pytest.mark.parametrize("cooldown", [20, 200])
def test_cooldowns_are_read_from_rows_or_from_alerts(config: ShardConfig, stores: Stores, cooldown: int) -> None:
    """Whether the rows that fill the windows reach back as far as the cooldown or not, no alert is sent too soon."""
    assert _in_the_middle(config, stores, crash=155, alert_cooldown_seconds=cooldown)


def test_a_zombies_rows_are_its_own(config: ShardConfig, stores: Stores) -> None:
    """A paused process that wakes up after its shard's children began does not take their rows for its past."""
    records = ticks(40)
    end = {"action": "shardEnded"}
    run(config, batch(records[:20]), end)
    initialize = {"action": "initialize", "shardId": "shardId-000000000002", "sequenceNumber": "0"}
    child = Daemon([initialize | {"subSequenceNumber": 0}, batch(records[20:])])
    ShardProcess(ShardProcessor(config), child, child, io.StringIO()).run()
    rows, objects = stores.rows(), stores.objects()
    run(config, batch(records[:20]), end)
    assert (stores.rows(), stores.objects()) == (rows, objects)


def _ruin(item: dict[str, Any], name: str, value: object) -> dict[str, Any]:
    return {key: kept for key, kept in {**item, name: value}.items() if kept is not None}


@pytest.mark.parametrize(
    ("name", "value"),
    [("price", None), ("price", "cheap"), ("sides", "?"), ("sides", None), ("shard_id", None), ("volume", "many")],
)
def test_what_others_wrote_costs_one_symbols_memory(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture, name: str, value: str | None
) -> None:
    """A row that lacks our fields or holds nonsense: one line in the log, and that symbol's windows start afresh."""
    records = ticks(60)
    run(config, batch(records[:50]))
    newest = max(key for key in stores.rows() if key[0] == "AAPL")
    table = boto3.resource("dynamodb").Table(config.ticks_table)
    table.put_item(Item=_ruin(stores.rows()[newest], name, value))
    run(config, batch(records[50:]))

    assert [vars(e)["symbol"] for e in caplog.records if e.message == "history_unreadable"] == ["AAPL"]
    assert len(stores.rows()) == 60
    last = {symbol: max(key for key in stores.rows() if key[0] == symbol) for symbol in ("AAPL", "MSFT")}
    assert "sma_20" not in stores.rows()[last["AAPL"]]
    assert "sma_20" in stores.rows()[last["MSFT"]]


def test_an_alert_that_another_sent_meanwhile_is_not_sent_again(
    config: ShardConfig, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has to try again looks first: a successor that took the shard over may have published and marked."""
    monkeypatch.setattr("consumer.sinks.alerts._CLAIM_MS", 2000)  # the successor waits for its end
    one_symbol = ticks(60)[1::2]
    make_api_call = BaseClient._make_api_call  # type: ignore[attr-defined]  # the stubs leave it out
    tries = []

    def failing_once(client: BaseClient, operation: str, parameters: dict[str, Any]) -> object:
        if operation == "PublishBatch":
            tries.append(operation)
            if len(tries) == 1:
                monkeypatch.setattr(BaseClient, "_make_api_call", make_api_call)
                run(config, batch(one_symbol))  # the successor, from beginning to end
                monkeypatch.setattr(BaseClient, "_make_api_call", failing_once)
                raise EndpointConnectionError(endpoint_url="sns")
        return make_api_call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", failing_once)
    run(config, batch(one_symbol))
    assert len(tries) == 1
    messages = _ids(stores.new_messages())
    assert len(messages) == len(set(messages)) == len(stores.alerts())


def _fields(config: ShardConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


def _copy_schemas(config: ShardConfig, other: ShardConfig) -> None:
    dynamodb = boto3.client("dynamodb")
    for old, new in ((config.ticks_table, other.ticks_table), (config.alerts_table, other.alerts_table)):
        table = dynamodb.describe_table(TableName=old)["Table"]
        dynamodb.create_table(
            TableName=new,
            KeySchema=table["KeySchema"],
            AttributeDefinitions=table["AttributeDefinitions"],
            BillingMode="PAY_PER_REQUEST",
        )


def _ids(messages: list[dict[str, Any]]) -> list[str]:
    return sorted(f"{message['symbol']} {message['alert_id']}" for message in messages)


LOWER, UPPER = SHARD, "shardId-000000000001"
"""Of two shards: the keys AAPL and MSFT are on the upper one, KO and key are on the lower one."""


@pytest.fixture
def two_shards(config: ShardConfig) -> ShardConfig:
    """A stream of two shards."""
    boto3.client("kinesis").create_stream(StreamName="pair", ShardCount=2)
    return replace(config, stream_name="pair")


def quotes(symbol: str, prices: list[float], first: int, key: str | None = None) -> list[Message]:
    """A tick a second, under the symbol as partition key if none is given."""
    moments = [START + timedelta(seconds=first + number) for number in range(len(prices))]
    return [
        record(quote(price, moment, symbol), first + number, moment, key=key or symbol)
        for number, (price, moment) in enumerate(zip(prices, moments, strict=True))
    ]


@pytest.mark.parametrize("right_first", [True, False])
def test_a_misplaced_tick_is_stored_and_not_seen_by_detection(
    two_shards: ShardConfig, stores: Stores, *, right_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What is on another shard than its key's is in no average and no alert; the right shard's row of it stays."""
    caplog.set_level(logging.INFO)
    wild = [100.0, 900.0, 1.0, 100.0, 900.0]
    end = record(quote(1, START + timedelta(seconds=70), "END"), 70, START + timedelta(seconds=70), key="key")
    misplaced = [*quotes("AAPL", wild, 3), end]
    ours = [
        batch(quotes("AAPL", prices, first)) for prices, first in (([100.0] * 3, 0), ([100.0] * 10, 8), ([100.0], 20))
    ]
    repeated = record(quote(100, START, "AAPL"), 2, START, key="AAPL")
    runs: list[Callable[[], object]] = [
        lambda: run(two_shards, *ours, shard=UPPER),
        lambda: run(two_shards, batch([repeated, *misplaced]), shard=LOWER),
    ]
    for once in runs if right_first else runs[::-1]:
        once()
    before = stores.rows()
    for once in runs:
        once()  # a replay changes nothing

    rows = stores.rows()
    assert rows == before
    flagged = {moment for (symbol, moment), row in rows.items() if row.get("misplaced")}
    assert flagged == {f"2026-11-20T14:30:0{second}.000000Z" for second in range(3, 8)}
    for (symbol, _), row in rows.items():
        if symbol == "AAPL" and not row.get("misplaced"):
            assert row.get("sma_5", 100) == 100
            assert row["shard_id"] == UPPER
    assert not stores.alerts()
    (window, *_) = (entry.__dict__ for entry in caplog.records if entry.message == "archived")
    assert (window["misplaced"], window["ticks"], window["duplicates"]) == (6, 6, 0)


@pytest.mark.parametrize("crash", [False, True])
def test_a_symbol_under_other_keys_is_told(
    two_shards: ShardConfig, stores: Stores, *, crash: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Each shard's averages are of its own ticks, after a crash too; rows name the key, and a warning comes."""
    lower = quotes("KO", [10.0] * 10, 0, key="key")
    upper = quotes("KO", [30.0] * 10, 20, key="AAPL")
    for shard, records in ((LOWER, lower), (UPPER, upper), (LOWER, quotes("KO", [10.0] * 10, 40, key="key"))):
        if crash:
            for part in (records[:4], records[:7], records[5:]):
                run(two_shards, batch(part), shard=shard)
        else:
            run(two_shards, batch(records), shard=shard)

    rows = list(stores.rows().values())
    assert len(rows) == 30
    assert {row["partition_key"] for row in rows} == {"key", "AAPL"}
    assert all(row.get("sma_5", row["price"]) == row["price"] for row in rows)
    assert sum("sma_5" in row for row in rows) == 6 + 6 + 10
    warned = [entry for entry in caplog.records if entry.message == "foreign_partition_key"]
    assert warned
    assert warned[0].__dict__["symbol"] == "KO"


def test_the_whole_stream_on_one_shard_takes_any_key(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    """With one shard, nothing is misplaced and nothing is warned of, whatever the keys are."""
    records = [one for number in range(10) for one in quotes("KO", [10.0], number, key=f"key {number}")]
    run(config, batch(records))

    rows = stores.rows().values()
    assert sum("sma_5" in row for row in rows) == 6
    assert not any("misplaced" in row for row in rows)
    assert not [entry for entry in caplog.records if entry.message == "foreign_partition_key"]
