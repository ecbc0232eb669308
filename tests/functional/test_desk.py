"""What the dashboard and the commands read, of what a shard's process wrote into moto's AWS."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import boto3
import pytest

from common.errors import SettingsError, UserError
from common.tick import NotATickError, TickDecoder
from consumer.config import ShardConfig
from desk import alerts, archive, quarantine, ticks
from desk.system import System
from tests.functional.shard_process import (
    START,
    Stores,
    batch,
    config,
    in_batches,
    quote,
    quotes,
    record,
    run,
    split,
    stores,
    system,
)
from tests.functional.shard_process import ticks as records_of_two

__all__ = ["config", "stores", "system"]  # fixtures


@pytest.fixture
def later(config: ShardConfig) -> Iterator[None]:
    """Five minutes of two symbols have been processed, and the window after them has begun."""
    run(config, *in_batches(records_of_two(300), 50), batch(records_of_two(1, first=310)))
    return iter(())


def _at(second: float) -> str:
    return f"{(START + timedelta(seconds=second)):%Y-%m-%dT%H:%M:%S.%fZ}"


def test_symbols_are_those_of_the_snapshots(system: System, later: None) -> None:
    """Without a scan of the table all symbols are known, once the first window is archived."""
    assert ticks.symbols(system) == ["AAPL", "MSFT"]


def test_no_symbols_before_the_first_window(system: System, config: ShardConfig) -> None:
    """A system that has just begun has none."""
    run(config, batch(quotes("KO", [1, 2], 0)))
    assert ticks.symbols(system) == []


def test_symbols_of_shards_that_were_split(system: System, config: ShardConfig) -> None:
    """Children know their parent's symbols only when they have archived: until then it is asked, too."""
    run(config, batch(quotes("KO", [1, 2], 0)), {"action": "shardEnded"})
    below, _ = split(config, "shardId-000000000000", "KO")
    assert ticks.symbols(system) == ["KO"]
    run(config, batch(quotes("PEP", [1, 2], 0)), batch(quotes("PEP", [1], 100)), shard=below)
    assert ticks.symbols(system) == ["KO", "PEP"]


def test_a_snapshot_that_is_gone_is_looked_for_again(
    system: System, later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the list and the reading a shard may replace its snapshot: its symbols are there all the same."""
    list_keys, gone = ticks._snapshot_keys, ["snapshots/application/shardId-000000000000/1-0"]
    monkeypatch.setattr(ticks, "_snapshot_keys", lambda asked: [gone.pop()] if gone else list_keys(asked))
    assert ticks.symbols(system) == ["AAPL", "MSFT"]


def test_latest_is_the_newest_row_of_each(system: System, stores: Stores, later: None) -> None:
    """Each symbol's row with the highest timestamp, all of it; of what has no rows, nothing."""
    found = ticks.latest(system, ["MSFT", "AAPL", "NONE", "AAPL"])
    assert list(found) == ["MSFT", "AAPL"]
    rows = stores.rows()
    for symbol, row in found.items():
        newest = max(timestamp for name, timestamp in rows if name == symbol)
        expected = rows[symbol, newest]
        assert row == {name: sorted(v) if isinstance(v, set) else v for name, v in expected.items()}
        assert isinstance(row["price"], Decimal)


def test_history_is_between_both_bounds(system: System, stores: Stores, later: None) -> None:
    """All rows of the symbol from the first to the last moment, both included, in both orders and through all pages."""
    timestamps = sorted(timestamp for symbol, timestamp in stores.rows() if symbol == "AAPL")
    for since, until in ((None, None), (_at(61), None), (None, _at(61)), (_at(61), _at(119)), (_at(62), _at(62))):
        expected = [timestamp for timestamp in timestamps if (since or "") <= timestamp <= (until or "~")]
        for newest_first in (False, True):
            found = ticks.history(system, "AAPL", since, until, newest_first=newest_first, page=17)
            assert [row["timestamp"] for row in found] == (expected[::-1] if newest_first else expected)


def test_unknown_symbols_suggest_near_ones(system: System, later: None) -> None:
    """A slip of the finger gets what was meant; a name like no other is told where the names are."""
    assert "did you mean AAPL?" in str(ticks.unknown(system, "APPL"))
    assert "did you mean MSFT?" in str(ticks.unknown(system, "MSFT.US"))
    assert "tickertape latest" in str(ticks.unknown(system, "ZZZZZ"))


def test_alerts_are_newest_first(system: System, stores: Stores, later: None) -> None:
    """Alerts of all symbols are in one order, newest first, each once."""
    found = list(alerts.newest(system, ["AAPL", "MSFT", "NONE"], alerts.Wanted()))
    assert len(found) == len(stores.alerts()) > 5
    assert [alert["timestamp"] for alert in found] == sorted((alert["timestamp"] for alert in found), reverse=True)
    assert {alert["symbol"] for alert in found} == {"AAPL", "MSFT"}


def test_alerts_are_filtered(system: System, stores: Stores, later: None) -> None:
    """By least severity, rule, kind (an alert without one is a signal) and time, both bounds included."""
    for wanted, some in (
        (alerts.Wanted(severity="critical"), True),
        (alerts.Wanted(severity="info"), True),
        (alerts.Wanted(rule="price_move"), True),
        (alerts.Wanted(rule="nobody's"), False),
        (alerts.Wanted(kind="signal"), True),
        (alerts.Wanted(kind="quality"), False),
        (alerts.Wanted(since=_at(49), until=_at(99)), True),
    ):
        expected = {
            alert_id
            for alert_id, alert in stores.alerts().items()
            if wanted.severity in {None, "info", alert["severity"]}
            and wanted.rule in {None, alert["rule"]}
            and wanted.kind in {None, "signal"}
            and (wanted.since or "") <= str(alert["timestamp"]) <= (wanted.until or "~")
        }
        assert {alert["alert_id"] for alert in alerts.newest(system, ["AAPL", "MSFT"], wanted)} == expected
        assert bool(expected) == some


def test_an_alert_of_a_kind_is_found_by_it(system: System) -> None:
    """An alert that names its kind is no signal."""
    item = {"symbol": {"S": "KO"}, "alert_id": {"S": "t#gap"}, "severity": {"S": "warning"}, "rule": {"S": "gap"}}
    boto3.client("dynamodb").put_item(TableName="alerts", Item={**item, "kind": {"S": "quality"}})
    assert len(list(alerts.newest(system, ["KO"], alerts.Wanted(kind="quality", severity="warning")))) == 1
    assert not list(alerts.newest(system, ["KO"], alerts.Wanted(kind="signal")))


def test_objects_of_some_time(system: System, later: None) -> None:
    """Objects are listed newest first; those whose window cannot reach into the time that is wanted are left out."""
    found = archive.objects(system, "ticks")
    assert [item.start for item in found] == [f"2026-11-20T14:{minute}:00" for minute in (34, 33, 32, 31, 30)]
    assert archive.objects(system, "ticks", since=_at(3600 + 61)) == found[:3]
    assert archive.objects(system, "ticks", until=_at(59)) == found[-1:]
    assert archive.objects(system, "ticks", since=_at(48 * 3600)) == []
    assert archive.objects(system, "bars") == []


def test_objects_are_fetched_in_their_order(system: System, stores: Stores, later: None) -> None:
    """However they come, each is given with its bytes, in the order in which they were wanted."""
    wanted = archive.objects(system, "raw-data") * 20
    bodies = stores.objects()
    assert [(item, body) for item, body in archive.fetch(system, wanted)] == [
        (item, bodies[item.key]) for item in wanted
    ]


def test_a_missing_bucket_is_named(system: System) -> None:
    """One line says which bucket there is not; without a name, which setting has it."""
    nowhere = System(**{**vars(system), "bucket": "nowhere"})
    with pytest.raises(UserError, match=r"bucket nowhere.*NoSuchBucket"):
        archive.objects(nowhere, "ticks")
    with pytest.raises(SettingsError, match="ARCHIVE_BUCKET"):
        archive.objects(System(**{**vars(system), "bucket": None}), "ticks")


def _poison(config: ShardConfig) -> None:
    """Three records that are no ticks in one window, one in the next."""
    bad = [b"nonsense", b'{"symbol":"KO","price":-1}', quote(5, START + timedelta(minutes=20), "KO")]
    first = [record(data, number, START + timedelta(seconds=number), key="KO") for number, data in enumerate(bad)]
    last = record(b"\xff\xfe", 9, START + timedelta(seconds=70), key="PEP")
    run(config, batch(first), batch([last]), batch(quotes("KO", [1], 130)))


def test_rejects_are_newest_first(system: System, config: ShardConfig) -> None:
    """Each record that is no tick comes with its reason, place and bytes, the newest first, under a name of its own."""
    _poison(config)
    found = list(quarantine.rejects(system))
    assert [reject.arrived_at for reject in found] == [_at(second) for second in (70, 2, 1, 0)]
    assert [reject.data for reject in found[::3]] == [b"\xff\xfe", b"nonsense"]
    assert found[0].payload == "\N{REPLACEMENT CHARACTER}" * 2
    assert found[2].reason.startswith("a price is not above 0")
    assert len({reject.id for reject in found}) == 4
    assert [reject.arrived_at for reject in quarantine.rejects(system, _at(1), _at(2))] == [_at(2), _at(1)]


def test_what_is_a_tick_now_is_published_again(system: System, config: ShardConfig) -> None:
    """What was ahead of its time and what is mended is published; what is no tick still is refused with the reason."""
    _poison(config)
    reader = quarantine.Reader(TickDecoder(300), int((START + timedelta(hours=1)).timestamp() * 1000))
    _, ahead, negative, nonsense = quarantine.rejects(system)
    for still in (negative, nonsense):
        with pytest.raises(NotATickError):
            reader.again(still)
    mended = reader.mended(negative.data.replace(b"-1", b"41.5"), negative.arrived_at)
    assert len(list(quarantine.publish(system, [reader.again(ahead), mended]))) == 2
    assert _published(system) == [
        ("KO", {"symbol": "KO", "timestamp": f"{START + timedelta(minutes=20):%Y-%m-%dT%H:%M:%S}+00:00", "price": 5}),
        ("KO", {"symbol": "KO", "timestamp": _at(1), "price": 41.5}),
    ]


def test_a_tick_without_a_time_keeps_the_time_of_its_arrival(system: System) -> None:
    """Published now, without a time, an old price would be taken for the newest."""
    arrived = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    reject = quarantine.Reject(
        "", "shard", "1", 0, "key", f"{arrived:%Y-%m-%dT%H:%M:%S.%fZ}", b'{"TICKER":"ko","PRICE":2,"x":1}'
    )
    reader = quarantine.Reader(TickDecoder(300, {"TICKER": "symbol", "PRICE": "price"}), 1_795_000_000_000)
    (again,) = [reader.again(reject)]
    assert json.loads(again.data) == {"symbol": "KO", "price": 2, "timestamp": "2026-01-02T03:04:05.000000Z"}
    assert again.partition_key == "key"


def _published(system: System) -> list[tuple[str, dict[str, object]]]:
    kinesis = boto3.client("kinesis")
    iterator = kinesis.get_shard_iterator(
        StreamName=system.stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator)["Records"]
    return [(each["PartitionKey"], json.loads(each["Data"])) for each in records]
