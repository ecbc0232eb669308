"""The process of a shard, driven through the daemon's protocol, against moto's AWS."""

import base64
import gzip
import io
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError
from msgspec.structs import replace

from common.tick import Tick
from consumer import memory, skips
from consumer.config import ShardConfig
from consumer.detection import RULES, Detection, Detector, Rules, SymbolState
from consumer.processor import ShardProcessor
from consumer.protocol import ShardProcess
from consumer.sinks import archive
from infra.templates import STACK, Template
from tests.functional.shard_process import (
    ARCHIVE_SECONDS,
    SHARD,
    START,
    Daemon,
    Message,
    Stores,
    batch,
    config,
    elsewhere,
    ids,
    in_batches,
    initialize,
    quote,
    quotes,
    record,
    run,
    stores,
    ticks,
)

__all__ = ["config", "stores"]  # fixtures


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
    daemon = Daemon([])
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
    config = replace(config, rules=Rules.of(*(rule.name for rule in RULES), sma_fast=fast, sma_slow=slow))
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
    run(replace(config, stale_seconds=0), *[batch([], millis_behind_latest=1)] * 6)

    told = [vars(entry) for entry in caplog.records if entry.message == "processing"]
    assert [entry["shard_id"] for entry in told] == [SHARD] * 3
    metrics = Template(STACK).of_type("Logs::MetricFilter").values()
    counted = [metric for metric in metrics if '"processing"' in metric["FilterPattern"]]
    names = {metric["MetricTransformations"][0]["MetricName"] for metric in counted}
    assert names == {"Leases", "StaleSymbols"}


@pytest.mark.parametrize("crash", [1, 60, 61, 119, 130])
def test_replay_after_a_crash_changes_nothing(config: ShardConfig, stores: Stores, crash: int) -> None:
    """A process that died before its checkpoint leaves the same rows, bytes and messages as one that did not."""
    records = ticks(150)
    second = run(config, *in_batches(records[crash:], 7), after=run(config, batch(records[:crash])))
    left, messages = stores.everything(), ids(stores.new_messages())
    assert messages
    for _ in range(2):
        second = run(config, after=second)  # has again what is not covered
        assert (stores.everything(), stores.new_messages()) == (left, [])

    whole = elsewhere(config, "whole")
    other = Stores(whole, stores._queue_url)
    run(whole, batch(records))
    assert (other.everything(), ids(other.new_messages())) == (left, messages)


@pytest.mark.parametrize("crash", [1, 10, 21, 59, 99])
def test_a_restart_continues_the_windows(config: ShardConfig, stores: Stores, crash: int) -> None:
    """Averages, sides and cooldowns go on over a crash as if nothing had happened."""
    records = ticks(150)
    run(config, batch(records[crash:]), after=run(config, batch(records[:crash])))
    rows, alerts, messages = stores.rows(), stores.alerts(), stores.new_messages()

    other = elsewhere(config, "whole")
    run(other, batch(records))
    uninterrupted = Stores(other, stores._queue_url)
    assert rows == uninterrupted.rows()
    assert alerts == uninterrupted.alerts()
    assert ids(messages) == ids(uninterrupted.new_messages())


@pytest.mark.parametrize("size", [1, 7, 150])
def test_the_most_silent_symbols_are_forgotten_first(
    config: ShardConfig, stores: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """Where there is room for two symbols, a third one costs the memory of one; wherever batches and processes end."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(memory, "_MOST_SYMBOLS", 2)
    moments = [START + timedelta(seconds=2 * number) for number in range(80)]
    names = [f"S{number % 2}" for number in range(40)] + [f"S{number % 3}" for number in range(40)]
    records = [
        record(quote(100, moment, name), number, moment)
        for number, (name, moment) in enumerate(zip(names, moments, strict=True))
    ]
    last = run(config, *in_batches(records[40:], size), after=run(config, *in_batches(records[:40], size)))
    run(config, {"action": "shardEnded"}, after=last)

    rows = sorted(stores.rows().values(), key=itemgetter("timestamp"))
    averaged = [row["symbol"] for row in rows if "sma_5" in row]
    assert averaged == [f"S{number % 2}" for number in range(8, 40)] + ["S0", "S1"]
    archived = [vars(entry)["symbols_forgotten"] for entry in caplog.records if entry.message == "archived"]
    assert sum(archived) >= 38
    assert archived[0] == 0


def test_cooldown_reaches_over_a_restart(config: ShardConfig, stores: Stores) -> None:
    """An alert that was sent less than the cooldown ago holds back the next one, also in a new process."""

    def level(number: int, price: float) -> Message:
        moment = START + timedelta(seconds=number)
        return record(quote(price, moment), number, moment)

    rules = Rules.of(alert_threshold=Decimal(100), alert_cooldown_seconds=30)
    with_level = replace(config, archive_seconds=1, rules=rules)
    first = run(with_level, batch([level(0, 99), level(1, 101), level(2, 99)]))
    run(with_level, batch([level(3, 101), level(30, 99), level(31, 101)]), after=first)

    rows = [row for _, row in sorted(stores.rows().items())]
    assert [row.get("anomalies") for row in rows] == [None, *[{"price_level"}] * 5]
    assert [bool(row.get("suppressed")) for row in rows] == [False, False, False, True, True, False]
    assert len(stores.new_messages()) == 3


@pytest.mark.parametrize("symbol", ["M&M.NS", "NIFTY_FIN_SERVICE.NS", "^GSPC", "_&_"])
def test_any_symbol_reaches_every_store(config: ShardConfig, stores: Stores, symbol: str) -> None:
    """A symbol with unusual characters is a key in the tables, text in the archive and an attribute of messages."""
    levels = replace(config, rules=Rules.of(price_levels={symbol: Decimal(98)}))
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
    with_fast = replace(config, rules=Rules.of(sma_fast=3, sma_slow=4))
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


def _thin_ticks() -> list[Message]:
    """Two symbols, ten ticks a second each; one that comes late, one that is misplaced, one that comes twice."""
    moments = [START + timedelta(milliseconds=100 * number) for number in range(300)]
    records = [
        record(quote(160 if number == 113 else 100 + number / 100, moment, f"S{number % 2}"), number, moment)
        for number, moment in enumerate(moments)
    ]
    late = record(quote(7, START, "S1"), 150, moments[150], sub=1)
    records[151:151] = [late, record(quote(101.5, moments[150], "S0"), 150, moments[150], sub=2)]
    return records


def test_records_that_arrived_before_those_that_they_follow_have_rows(config: ShardConfig, stores: Stores) -> None:
    """Kinesis's times of arrival are approximate: whatever they are, every tick has its row, and is archived."""
    records = ticks(100)
    for number, one in enumerate(records):
        one["approximateArrivalTimestamp"] += -1500 * (number % 3)
    run(config, batch(records), {"action": "shardEnded"})

    assert len(stores.rows()) == len(stores.lines("raw-data")) == 100


@pytest.mark.parametrize("crash", [0, 7, 120, 151, 260])
def test_thin_rows_are_the_first_of_their_seconds_and_what_fired(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture, crash: int
) -> None:
    """ROW_SECONDS=2: wherever a process dies, the table has the same few rows, and the archive has every tick."""
    caplog.set_level(logging.INFO)
    records = _thin_ticks()
    thin = replace(config, row_seconds=2, archive_seconds=10, rules=Rules.of(alert_cooldown_seconds=0))
    first = run(thin, *in_batches(records[:crash], 11))
    run(thin, *in_batches(records[crash:], 40), {"action": "shardEnded"}, after=first)

    bodies = [body for key, body in stores.objects().items() if key.endswith(".parquet")]
    archived = [row for body in bodies for row in pq.read_table(io.BytesIO(body)).to_pylist()]
    assert len(archived) == 301
    assert [row["price"] for row in archived if row["late"]] == [7]
    expected: dict[str, list[str]] = {"S0": [], "S1": []}
    for row in sorted(archived, key=lambda row: int(row["sequence_number"])):
        kept, arrived = expected[row["symbol"]], datetime.fromisoformat(row["arrived_at"])
        due = not kept or arrived - datetime.fromisoformat(kept[-1]) >= timedelta(seconds=2)
        if not row["late"] and (due or row["anomalies"]):
            kept.append(row["timestamp"])
    rows = stores.rows()
    assert {symbol: [moment for s, moment in sorted(rows) if s == symbol] for symbol in expected} == expected
    assert 30 < len(rows) < 60
    assert stores.new_messages()
    assert {row["timestamp"] for row in archived if row["anomalies"]} <= {moment for _, moment in rows}
    told = [vars(entry) for entry in caplog.records if entry.message == "archived"]
    assert max(entry["duplicates"] for entry in told) == 1


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
    daemon = Daemon([batch(ticks(200)), batch(ticks(100, first=200)), {"action": "leaseLost"}])
    daemon.refusal = "ShutdownException"
    ShardProcess(ShardProcessor(config), daemon, daemon, io.StringIO()).run()

    assert len(daemon.checkpoints) == 1
    assert len([key for key in stores.objects() if key.startswith("raw-data")]) == 1
    assert daemon.done[-1] == "leaseLost"


def test_an_idle_shard_is_archived_when_its_window_is_past(config: ShardConfig, stores: Stores) -> None:
    """Without new records the window is closed by the clock, and only when the shard has nothing left to read."""
    now = datetime.now(UTC)
    old = now - timedelta(seconds=ARCHIVE_SECONDS * 2)
    enough = archive.FETCHED_AHEAD + 1
    behind = run(config, batch([record(quote(1, old), 0, old)]), *[batch([], millis_behind_latest=5000)] * enough)
    assert behind.checkpoints == []

    fresh = run(config, batch([record(quote(1, now), 0, now)]), *[batch([])] * enough)
    assert fresh.checkpoints == []

    past = run(config, batch([record(quote(1, old), 0, old)]), *[batch([])] * enough)
    assert past.checkpoints == [("49500000000", 0)]


def test_a_zombie_does_not_archive_less_than_its_successor(config: ShardConfig, stores: Stores) -> None:
    """A process that was paused has empty answers from before in its queue: they do not close its window."""
    old = datetime.now(UTC) - timedelta(seconds=ARCHIVE_SECONDS * 2)
    old -= timedelta(seconds=old.timestamp() % ARCHIVE_SECONDS)
    records = [record(quote(number + 1, old + timedelta(seconds=number)), number, old) for number in range(9)]
    closing = [batch([])] * (archive.FETCHED_AHEAD + 1)
    zombie = Daemon([batch(records[:4])])
    process = ShardProcess(ShardProcessor(config), zombie, zombie, io.StringIO())
    process.run()
    run(config, batch(records[4:]), *closing, after=zombie)
    left = stores.objects()
    assert len(stores.lines("raw-data")) == 9

    zombie.refusal = "ShutdownException"
    zombie._messages = iter([*closing[:-1], batch(records[4:6]), *closing[:-1], batch(records[6:])])
    process.run()
    assert stores.objects() == left
    zombie._messages = iter(closing)
    process.run()
    assert stores.objects() == left


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
    daemon = Daemon([batch(one_symbol)])
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
    messages = ids(stores.new_messages())
    assert len(messages) == len(set(messages)) == len(stores.alerts())


LOWER, UPPER = SHARD, "shardId-000000000001"
"""Of two shards: the keys AAPL and MSFT are on the upper one, KO and key are on the lower one."""


@pytest.fixture
def two_shards(config: ShardConfig) -> ShardConfig:
    """A stream of two shards."""
    boto3.client("kinesis").create_stream(StreamName="pair", ShardCount=2)
    return replace(config, stream_name="pair")


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
    daemons: dict[str, Daemon] = {}
    for shard, records in ((LOWER, lower), (UPPER, upper), (LOWER, quotes("KO", [10.0] * 10, 40, key="key"))):
        for part in (records[:4], records[4:7], records[7:]) if crash else (records,):
            daemons[shard] = run(two_shards, batch(part), shard=shard, after=daemons.get(shard))

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


def test_symbols_whose_quotes_have_stopped_are_named(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each, with the lines of the minute, which count them; a shard that is late itself tells of none."""
    moments = [START, *[START + timedelta(seconds=400)] * 2]
    records = [
        record(quote(100, moment, symbol), number, moment, key=symbol)
        for number, (symbol, moment) in enumerate(zip(["OLD", "AAPL", "MSFT"], moments, strict=True))
    ]
    now = START.timestamp() + 410
    monkeypatch.setattr("consumer.processor.time", SimpleNamespace(time=lambda: now))
    with caplog.at_level(logging.INFO):
        run(config, initialize(), batch(records), batch([]))
        run(config, initialize(), batch(records, millis_behind_latest=300_000))
    told = [record.__dict__["symbols"] for record in caplog.records if record.msg == "symbols_stale"]
    counted = [record.__dict__["stale_symbols"] for record in caplog.records if record.msg == "processing"]
    assert told == [["OLD"]]
    assert counted == [1, 0]
    assert len(stores.rows()) == 3
