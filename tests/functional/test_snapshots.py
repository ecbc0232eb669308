"""A shard's memory goes into a snapshot with each checkpoint, and comes back in whoever has the shard next."""

import io
import logging
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import boto3
import msgspec
import pytest
from botocore.client import BaseClient
from isal import isal_zlib
from msgspec.structs import replace

from consumer.config import ShardConfig
from consumer.detection import Rules
from consumer.processor import ShardProcessor
from consumer.protocol import ShardProcess
from tests.functional.shard_process import (
    SHARD,
    Daemon,
    Message,
    Stores,
    batch,
    config,
    elsewhere,
    ids,
    in_batches,
    merge,
    quotes,
    run,
    split,
    stores,
    ticks,
)

__all__ = ["config", "stores"]  # fixtures

END: Message = {"action": "shardEnded"}
_OF_A_SHARD = ("shard_id", "sequence_number", "sub_sequence_number")


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING]


def _means(rows: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """What rows say, whatever shard the ticks came on."""
    return {key: {name: v for name, v in row.items() if name not in _OF_A_SHARD} for key, row in rows.items()}


def _whole(config: ShardConfig, stores: Stores, records: list[Message]) -> tuple[Any, list[str]]:
    """The rows and the messages of a run that nothing disturbs."""
    other = elsewhere(config, "whole")
    stores.new_messages()
    run(other, batch(records))
    return _means(Stores(other, stores._queue_url).rows()), ids(stores.new_messages())


def test_a_checkpoint_has_one_snapshot(config: ShardConfig, stores: Stores) -> None:
    """However many windows were written, there is the last checkpoint's snapshot and no other one."""
    daemon = run(config, *in_batches(ticks(200), 30))
    assert daemon.checkpoints[-1] == ("49500000179", 0)
    assert list(stores.snapshots()) == [f"{SHARD}/49500000179-0"]

    last = run(config, END, after=daemon)
    assert last.checkpoints == [("49500000199", 0), (None, None)]
    assert list(stores.snapshots()) == [f"{SHARD}/SHARD_END"]


_CRASHES = {
    "objects": ("PutObject", "raw-data/"),
    "snapshot": ("PutObject", "snapshots/"),
    "delete": ("DeleteObject", "snapshots/"),
}


@pytest.mark.parametrize("before", _CRASHES)
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("is_done", [False, True], ids=["undone", "done"])
def test_a_crash_between_any_two_writes_changes_nothing(
    config: ShardConfig, stores: Stores, monkeypatch: pytest.MonkeyPatch, before: str, nth: int, *, is_done: bool
) -> None:
    """Whether a process dies before or after objects, snapshot or deletion: its successor leaves what it had left."""
    config, records = replace(config, archive_seconds=10), ticks(45)
    expected = _whole(config, stores, records)
    call, (operation, prefix) = BaseClient._make_api_call, _CRASHES[before]  # type: ignore[attr-defined]  # no stub
    seen = []

    def dying(client: BaseClient, name: str, parameters: dict[str, Any]) -> object:
        if name == operation and parameters.get("Key", "").startswith(prefix):
            seen.append(name)
            if len(seen) == nth:
                if is_done:
                    call(client, name, parameters)
                raise SystemExit(9)
        return call(client, name, parameters)

    daemon = Daemon(in_batches(records, 7))
    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", dying)
        with pytest.raises(SystemExit):
            ShardProcess(ShardProcessor(config), daemon, daemon, io.StringIO()).run()
    last = run(config, *in_batches(records[len(daemon.delivered) :], 7), after=daemon)

    assert (_means(stores.rows()), ids(stores.new_messages())) == expected
    assert list(stores.snapshots()) == [f"{SHARD}/{last.checkpoint[0]}-0"]


def test_a_zombie_harms_nobody(config: ShardConfig, stores: Stores) -> None:
    """A paused process that goes on after its successor, past its shard's end, takes nothing from the next owners."""
    records = ticks(250)
    expected = _whole(config, stores, records)
    zombie = Daemon([batch(records[:70])])
    process = ShardProcess(ShardProcessor(config), zombie, zombie, io.StringIO())
    process.run()
    successor = run(config, batch(records[70:190]), after=zombie)
    for part in (records[70:80], records[80:130]):  # into the window, and over its end
        zombie.refusal = "ShutdownException"
        zombie._messages = iter([batch(part)])
        process.run()
    assert f"{SHARD}/49500000179-0" in stores.snapshots()
    third = run(config, batch(records[190:220]), after=successor)
    run(config, END, after=run(config, batch(records[220:]), after=third))

    assert (_means(stores.rows()), ids(stores.new_messages())) == expected
    assert f"{SHARD}/SHARD_END" in stores.snapshots()


def test_a_late_start_deletes_nothing_of_its_successors(config: ShardConfig, stores: Stores) -> None:
    """A process that was paused as it began, with an old checkpoint, leaves the snapshots of newer ones."""
    first = run(config, batch(ticks(70)))
    second = run(config, batch(ticks(150)[70:]), after=first)
    kept = stores.snapshots()
    run(config, after=first)

    assert stores.snapshots() == kept
    assert list(kept) == [f"{SHARD}/{second.checkpoints[-1][0]}-0"]


def test_a_split_goes_on_with_the_parents_memory(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    """Both children, and those of a child that had no record of its own, continue the averages of every symbol."""
    names = ["AAPL", "KO", "MSFT", "key"]
    prices = [100 + (number % 7) + (30 if number % 19 == 0 else 0) for number in range(160)]
    records = [
        one
        for number, price in enumerate(prices)
        for one in quotes(names[number % 4], [float(price)], number, key=names[number % 4])
    ]
    expected = _whole(config, stores, records)

    run(config, batch(records[:80]), END)
    holders = dict.fromkeys(names, SHARD)
    for key in ("KO", "AAPL"):  # twice: the first children end before they have seen a record
        below, above = split(config, holders[key], key)
        for parent in {holders[key]} - {SHARD}:
            run(config, END, shard=parent)
        holders = {
            name: _holder(config, name, (below, above)) if shard == holders[key] else shard
            for name, shard in holders.items()
        }
    for shard in set(holders.values()):
        mine = [one for one in records[80:] if holders[one["partitionKey"]] == shard]
        run(config, batch(mine), END, shard=shard)

    assert len(set(holders.values())) > 1
    assert (_means(stores.rows()), ids(stores.new_messages())) == expected
    assert not {"snapshot_missing", "snapshot_unusable"}.intersection(_warnings(caplog))


def _holder(config: ShardConfig, key: str, candidates: tuple[str, str]) -> str:
    from consumer.shards import Shard, read_shards

    shards = read_shards(config.stream_name)
    return next(shard for shard in candidates if Shard(shard, shards).takes(key))


@pytest.mark.parametrize("later_on", ["lower", "upper"])
def test_a_merge_takes_the_later_memory(config: ShardConfig, stores: Stores, later_on: str) -> None:
    """Of a symbol that both parents know, the child goes on with the one that saw the later tick."""
    boto3.client("kinesis").create_stream(StreamName="pair", ShardCount=2)
    pair = replace(config, stream_name="pair")
    lower, upper = SHARD, "shardId-000000000001"
    prices = {"lower": 10.0, "upper": 30.0}
    first = {"lower": 0, "upper": 0} | {later_on: 30}
    run(pair, batch(quotes("KO", [prices["lower"]] * 10, first["lower"], key="key")), END, shard=lower)
    run(pair, batch(quotes("KO", [prices["upper"]] * 10, first["upper"], key="AAPL")), END, shard=upper)
    child = merge(pair, lower, upper)
    run(pair, batch(quotes("KO", [prices[later_on]] * 3, 60, key="key")), shard=child)

    after = [row for (_, moment), row in sorted(stores.rows().items()) if row["shard_id"] == child]
    assert [row["sma_5"] for row in after] == [prices[later_on]] * 3


def _cut(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _flip(body: bytes) -> bytes:
    return body[:40] + bytes([body[40] ^ 255]) + body[41:]


def _repack(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    def damage(body: bytes) -> bytes:
        content = msgspec.msgpack.decode(isal_zlib.decompress(body, wbits=31))
        packer = isal_zlib.compressobj(wbits=31)
        return packer.compress(msgspec.msgpack.encode(change(content))) + packer.flush()

    return damage


_DAMAGES = {
    "half": _cut,
    "bit": _flip,
    "empty": lambda _: b"",
    "text": lambda _: b"hello",
    "other version": _repack(lambda content: content | {"version": 99, "symbols": "?"}),
    "no symbols": _repack(lambda content: {"version": content["version"]}),
    "half a symbol": _repack(lambda content: content | {"symbols": [content["symbols"][0][:2]]}),
}


@pytest.mark.parametrize("damage", [*_DAMAGES, "absent"])
def test_a_snapshot_that_cannot_be_read_costs_the_memory(
    config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """The windows start afresh, a line in the log says so, and every tick has its row."""
    records = ticks(150)
    daemon = run(config, batch(records[:70]))
    (name,) = stores.snapshots()
    key = f"snapshots/{config.application_name}/{name}"
    s3 = boto3.client("s3")
    if damage == "absent":
        s3.delete_object(Bucket=config.archive_bucket, Key=key)
    else:
        s3.put_object(Bucket=config.archive_bucket, Key=key, Body=_DAMAGES[damage](stores.snapshots()[name]))
    run(config, batch(records[70:]), after=daemon)

    assert _warnings(caplog) == ["snapshot_missing" if damage == "absent" else "snapshot_unusable"]
    rows = [row for _, row in sorted(stores.rows().items(), key=lambda item: item[0][1])]
    assert len(rows) == 150
    assert ["sma_5" in row for row in rows[60:72]] == [False] * 8 + [True] * 4
    assert not any("late" in row for row in rows)


def _states(config: ShardConfig, stores: Stores, before: Rules, after: Rules) -> list[dict[str, Any]]:
    """The rows of 30 quiet ticks, then those of 3 under other rules."""
    prices = [100.0 + number % 3 for number in range(30)]
    daemon = run(replace(config, rules=before, archive_seconds=1), batch(quotes("AAPL", prices, 0, key="key")))
    run(replace(config, rules=after), batch(quotes("AAPL", [101.0] * 3, 30, key="key")), after=daemon)
    return [row for _, row in sorted(stores.rows().items())][30:]


@pytest.mark.parametrize(
    ("before", "after", "first"),
    [
        ({}, {"sma_slow": 25}, {"sma_5": True, "sma_25": False}),  # 19 prices were kept, and one more
        ({}, {"sma_slow": 10}, {"sma_5": True, "sma_10": True}),
        ({}, {"sma_fast": 3}, {"sma_3": True, "sma_20": True}),
        ({}, {"z_score_window": 15}, {"z_score": True}),
        ({}, {"z_score_window": 40}, {"z_score": False}),
        ({}, {"price_move_percent": Decimal(7)}, {"sma_5": True, "sma_20": True, "z_score": True}),
    ],
)
def test_other_numbers_cost_what_does_not_fit(
    config: ShardConfig,
    stores: Stores,
    caplog: pytest.LogCaptureFixture,
    before: dict[str, Any],
    after: dict[str, Any],
    first: dict[str, bool],
) -> None:
    """Windows keep the newest values that they have room for, and are full when they have as many as they need."""
    row = _states(config, stores, Rules.of(**before), Rules.of(**after))[0]

    assert {name: name in row for name in first} == first
    (told,) = (vars(entry) for entry in caplog.records if entry.message == "snapshot_of_other_rules")
    assert told["changed"] == list(after)


@pytest.mark.parametrize(
    ("after", "fires"),
    [
        (Rules.of(alert_threshold=Decimal(90)), False),  # as before: the price is above it, and was
        (Rules.of(alert_threshold=Decimal(102)), False),  # below another level: that is a starting point, no crossing
        (Rules.of(alert_threshold=Decimal(90), price_levels={"KO": Decimal(1)}), False),
        (Rules.of(alert_threshold=Decimal(100)), False),
    ],
)
def test_other_numbers_fire_nothing(config: ShardConfig, stores: Stores, after: Rules, *, fires: bool) -> None:
    """That a level was moved to the price's other side is no alert."""
    rows = _states(config, stores, Rules.of(alert_threshold=Decimal(90)), after)

    assert any("price_level" in row.get("anomalies", ()) for row in rows) is fires


def test_a_level_that_stays_is_remembered(config: ShardConfig, stores: Stores) -> None:
    """Another symbol's level may change: a crossing during the restart is an alert all the same."""
    before = Rules.of(price_levels={"AAPL": Decimal("101.5"), "KO": Decimal(1)})
    after = Rules.of(price_levels={"AAPL": Decimal("101.5"), "KO": Decimal(2)})
    row = _states(config, stores, before, after)[0]

    assert row["anomalies"] == {"price_level"}


@pytest.mark.parametrize("days", [29, 31])
def test_silent_symbols_leave_the_snapshot(config: ShardConfig, stores: Stores, days: int) -> None:
    """After RETENTION_DAYS without a tick, measured by arrival, a symbol is forgotten."""
    later = int(timedelta(days=days).total_seconds())
    first = run(config, batch(quotes("OLD", [1.0] * 9, 0, key="key") + quotes("KO", [1.0] * 9, 10, key="key")))
    weekend = run(config, batch(quotes("KO", [1.0] * 9, later, key="key")), after=first)
    last = run(config, batch(quotes("OLD", [1.0], later + 180, key="key")), END, after=weekend)
    assert last.checkpoints

    newest = max(stores.rows().items())[1]
    assert newest["symbol"] == "OLD"
    assert ("sma_5" in newest) is (days < 30)


def test_an_idle_shard_remembers_over_a_weekend(config: ShardConfig, stores: Stores) -> None:
    """Two days of empty batches and restarts later the averages go on, and nothing was written meanwhile."""
    daemon = run(config, batch(ticks(100)), batch([]))
    kept = stores.everything()
    for _ in range(3):
        daemon = run(config, batch([]), batch([]), after=daemon)
    assert stores.everything() == kept
    later = 2 * 24 * 3600
    run(config, batch(ticks(2, first=later)), after=daemon)

    assert all("sma_20" in row for (_, moment), row in stores.rows().items() if moment > "2026-11-22")


def test_a_start_on_old_tables_is_clean(config: ShardConfig, stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    """Tables that have rows, and no snapshot and no checkpoint: nothing is warned of, and nothing is lost."""
    run(config, batch(ticks(100)))
    for name in stores.snapshots():
        boto3.client("s3").delete_object(Bucket="archive", Key=f"snapshots/{config.application_name}/{name}")
    before = len(stores.rows())
    run(config, batch(ticks(50, first=100)))

    assert _warnings(caplog) == []
    assert len(stores.rows()) == before + 50
