"""What the page's server reads of what a shard's process wrote into moto's AWS, and whom it tells."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest

from common.errors import UserError
from consumer.config import ShardConfig
from desk.dashboard import hub, market, pipeline
from desk.dashboard.history import History, UnknownSymbolError
from desk.dashboard.hub import Hub
from desk.dashboard.market import Market, News
from desk.dashboard.pipeline import Pipeline
from desk.system import System
from tests.functional.shard_process import START, Stores, batch, config, quotes, record, run, stores, system, ticks

__all__ = ["config", "stores", "system"]  # fixtures

SHARD = "shardId-000000000000"
LeaseTable = Any  # boto3 makes its resources' types at run time


def look(seen: Market, *watched: str) -> News:
    """Look once, and gather all that was told."""
    news = News()

    def tell(part: News) -> None:
        news.quotes += part.quotes
        news.alerts += part.alerts
        news.rows.update(part.rows)

    seen.look(watched, tell)
    return news


def count_queries(system: System) -> list[str]:
    """Note the table of every query that is made from now on."""
    made: list[str] = []
    system.dynamodb.meta.events.register(
        "provide-client-params.dynamodb.Query", lambda params, **_: made.append(params["TableName"])
    )
    return made


@pytest.mark.parametrize("is_archived", [True, False])
def test_a_first_look_shows_all_symbols(system: System, config: ShardConfig, *, is_archived: bool) -> None:
    """Each with its newest tick and the prices before, whether or not there is a snapshot that names the symbols."""
    run(config, batch(ticks(100)), *([batch(ticks(1, first=130))] if is_archived else []))
    found = {quote["symbol"]: quote for quote in look(Market(system)).quotes}
    assert set(found) == {"AAPL", "MSFT"}
    newest = {symbol: found[symbol]["timestamp"][14:19] for symbol in found}
    assert newest == {"AAPL": "31:39", "MSFT": "32:10" if is_archived else "31:38"}
    assert found["AAPL"]["spark"] == [
        Decimal(str(100 + (n % 37) * 0.25 + (25 if n % 50 == 49 else 0))) for n in range(21, 100, 2)
    ]


def test_the_next_look_has_only_what_is_new(system: System, config: ShardConfig) -> None:
    """Nothing twice: a symbol that stands still is not told again."""
    daemon = run(config, batch(quotes("KO", [1, 2], 0) + quotes("PEP", [5], 3)))
    seen = Market(system)
    look(seen)
    assert look(seen) == News()
    run(config, batch(quotes("KO", [3, 4], 10)), after=daemon)
    (quote,) = look(seen).quotes
    assert (quote["symbol"], quote["price"], quote["spark"]) == ("KO", 4, [3, 4])
    assert [one["spark"] for one in seen.quotes()] == [[1, 2, 3, 4], [5]]


def test_rows_are_told_of_symbols_that_are_watched(system: System, config: ShardConfig) -> None:
    """A chart that is open gets every row, with its averages; the others' rows stay where they are."""
    run(config, batch(ticks(60)))
    seen = Market(system)
    rows = look(seen, "AAPL").rows
    assert set(rows) == {"AAPL"}
    assert len(rows["AAPL"]) == 30
    assert "sma_5" in rows["AAPL"][-1]


def test_alerts_are_told_once_and_in_their_order(system: System, config: ShardConfig, stores: Stores) -> None:
    """All that were sent, also those of before the first look; what the cooldown held back is none."""
    daemon = run(config, batch(ticks(150)))
    seen = Market(system)
    before = look(seen).alerts
    run(config, batch(ticks(150, first=150)), after=daemon)
    after = look(seen).alerts
    told = [f"{alert['symbol']} {alert['alert_id']}" for alert in before + after]
    assert len(set(told)) == len(told)
    assert sorted(told) == sorted(f"{alert['symbol']} {alert_id}" for alert_id, alert in stores.alerts().items())
    ids = [alert["alert_id"] for alert in seen.alerts()]
    assert ids == sorted(ids)
    assert before
    assert after
    assert not {"status", "claimed_by", "claimed_at", "expires_at"} & set().union(*before)


def test_a_look_costs_so_many_requests_at_most(
    system: System, config: ShardConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more symbols than that, each waits for its turn, but the one that is watched."""
    monkeypatch.setattr(market, "_REQUESTS", 10)
    monkeypatch.setattr(market, "_TOLD_AT_ONCE", 4)
    monkeypatch.setattr(market, "_FEWEST", 2)
    names = [f"S{number:02}" for number in range(25)]
    records = [one for place, name in enumerate(names) for one in quotes(name, [10 + place], place)]
    daemon = run(config, batch(records))
    seen = Market(system)
    while not all(symbol.knows_alerts for symbol in seen._symbols.values()) or not seen._symbols:
        look(seen)
    made = count_queries(system)
    run(
        config,
        batch([one for place, name in enumerate(names) for one in quotes(name, [99], 100 + place)]),
        after=daemon,
    )
    told: list[set[str]] = []
    for _ in range(3):
        told.append({quote["symbol"] for quote in look(seen, "S24").quotes})
        assert len(made) <= 10
        made.clear()
    assert "S24" in told[0]
    assert set().union(*told) == set(names)


def test_late_ticks_are_no_news(system: System, config: ShardConfig) -> None:
    """A quote is the newest tick, not the one that came last."""
    daemon = run(config, batch(quotes("KO", [1, 2, 3], 10)))
    seen = Market(system)
    look(seen)
    late = record(
        json.dumps({"symbol": "KO", "price": 9, "timestamp": START.isoformat()}).encode(),
        50,
        START + timedelta(seconds=50),
        key="KO",
    )
    run(config, batch([late]), after=daemon)
    assert look(seen).quotes == []
    assert seen.quotes()[0]["price"] == 3


# -------------------------------------------------------------------- charts
def test_a_chart_has_the_rows_of_its_span(system: System, config: ShardConfig) -> None:
    """Columns of one length, oldest first, with the averages by their names and the alerts of the same time."""
    run(config, batch(ticks(300)))
    chart = History(system).span("AAPL", "hour")
    points = chart["points"]
    assert {len(column) for column in points.values()} == {150}
    assert points["t"] == sorted(points["t"])
    assert points["t"][-1] == (START + timedelta(seconds=299)).timestamp()
    assert {"price", "volume", "sma_5", "sma_20", "bollinger_upper", "bollinger_lower"} <= set(points)
    assert points["sma_20"][:19] == [None] * 19
    assert chart["alerts"]
    assert not chart["thinned"]


def test_what_a_rule_expects_is_in_the_chart(system: System, config: ShardConfig) -> None:
    """Columns of rules to come, and averages of other sizes, are shown as they are found."""
    row = {"symbol": {"S": "KO"}, "timestamp": {"S": "2026-11-20T14:30:00.000000Z"}, "price": {"N": "61.5"}}
    more = {"expected_low": {"N": "61"}, "expected_high": {"N": "62"}, "sma_7": {"N": "61.25"}, "rsi": {"N": "50"}}
    boto3.client("dynamodb").put_item(TableName=config.ticks_table, Item={**row, **more})
    points = History(system).span("KO", "day")["points"]
    assert points == {
        "t": [START.timestamp()], "price": [Decimal("61.5")], "sma_7": [Decimal("61.25")],
        "expected_low": [61], "expected_high": [62],
    }  # fmt: skip


def test_a_span_with_few_ticks_is_made_longer(system: System, config: ShardConfig) -> None:
    """Of daily bars an hour has one: the newest ticks are shown whatever their distance is."""
    days = [
        record(
            json.dumps(
                {"symbol": "KO", "price": 60 + n, "timestamp": (START - timedelta(days=9 - n)).isoformat()}
            ).encode(),
            n,
            START,
            key="KO",
        )
        for n in range(9)
    ]
    run(config, batch(days))
    assert len(History(system).span("KO", "hour")["points"]["t"]) == 9


def test_many_ticks_are_thinned(system: System, config: ShardConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are more than a chart shows, the last of each part of the span is read, and it says so."""
    monkeypatch.setattr("desk.dashboard.history._MOST_POINTS", 50)
    monkeypatch.setattr("desk.dashboard.history._PARTS", 10)
    monkeypatch.setattr("desk.dashboard.history._FEWEST_POINTS", 5)
    run(config, batch(quotes("KO", [float(n) for n in range(1, 201)], 0)))
    chart = History(system).between("KO", "2026-11-20T14:30:00.000000Z", "2026-11-20T14:33:20.000000Z")
    assert chart["thinned"]
    assert [int(price) for price in chart["points"]["price"]] == [21, 41, 61, 81, 101, 121, 141, 161, 181, 200]


@pytest.mark.parametrize("kept", [1, 60])
def test_a_month_begins_with_what_has_expired(
    system: System, config: ShardConfig, stores: Stores, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the table has no more comes from the archive: the last tick of each window, under the table's names."""
    monkeypatch.setattr("desk.dashboard.history._FEWEST_POINTS", 1)
    run(config, batch(ticks(400)), batch(ticks(1, first=430)))
    table = boto3.resource("dynamodb").Table(config.ticks_table)
    mine = sorted(timestamp for symbol, timestamp in stores.rows() if symbol == "AAPL")
    for timestamp in mine[:-kept]:
        table.delete_item(Key={"symbol": "AAPL", "timestamp": timestamp})
    points = History(system).span("AAPL", "month")["points"]
    archived = [START + timedelta(seconds=second) for second in (59, 119, 179, 239, 299, 359, 399)]
    first = datetime.fromisoformat(mine[-kept])
    assert points["t"][:-kept] == [moment.timestamp() for moment in archived if moment < first]
    assert points["t"][-kept:] == [datetime.fromisoformat(timestamp).timestamp() for timestamp in mine[-kept:]]
    assert None not in points["sma_20"]
    assert points["price"] == [
        Decimal(str(100 + (n % 37) * 0.25 + (25 if n % 50 == 49 else 0)))
        for n in (round(t - START.timestamp()) for t in points["t"])
    ]


def test_around_an_alert_are_ticks_before_and_after(
    system: System, config: ShardConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alert's link shows how it came about and what followed, with the alert itself."""
    monkeypatch.setattr("desk.dashboard.history._BEFORE", 20)
    monkeypatch.setattr("desk.dashboard.history._AFTER", 10)
    run(config, batch(ticks(150)))
    moment = "2026-11-20T14:31:39.000000Z"
    chart = History(system).around("AAPL", moment)
    t = chart["points"]["t"]
    place = t.index(datetime.fromisoformat(moment).timestamp())
    assert (place, len(t) - place - 1) == (19, 10)
    assert any(alert["timestamp"] == moment for alert in chart["alerts"])


@pytest.mark.parametrize(("asked", "near"), [("APPL", ["AAPL"]), ("MSFTT", ["MSFT"]), ("XYZ", [])])
def test_an_unknown_symbol_is_told_with_near_ones(
    system: System, config: ShardConfig, asked: str, near: list[str]
) -> None:
    """Whoever mistypes is told what there is."""
    run(config, batch(ticks(4)))
    with pytest.raises(UnknownSymbolError) as refusal:
        History(system).span(asked, "hour")
    assert refusal.value.near == near


# -------------------------------------------------------------------- the pipeline
@pytest.fixture
def leases(config: ShardConfig) -> LeaseTable:
    """The KCL's table of leases, with the stream's only shard."""
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        TableName=config.application_name,
        KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    table = boto3.resource("dynamodb").Table(config.application_name)
    table.put_item(Item={"leaseKey": SHARD, "leaseOwner": "worker-1", "leaseCounter": 1, "checkpoint": "TRIM_HORIZON"})
    return table


@pytest.fixture
def at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is five minutes after the first tick."""
    monkeypatch.setattr(pipeline, "_now", lambda: START + timedelta(seconds=300))


def words(problems: list[dict[str, str]]) -> list[str]:
    """What is wrong, without advice."""
    return [problem["text"] for problem in problems]


ROW = {"symbol": "KO", "arrived_at": f"{START + timedelta(seconds=290):%Y-%m-%dT%H:%M:%S.%fZ}"}


def test_nothing_is_wrong_when_all_is_well(system: System, leases: LeaseTable, at_start: None) -> None:
    """A shard with a worker that renews its lease, and ticks that arrive."""
    assert Pipeline(system).problems([ROW]) == []


def test_no_consumer_is_told(system: System, leases: LeaseTable, at_start: None) -> None:
    """Leases that nobody has."""
    leases.put_item(Item={"leaseKey": SHARD, "leaseCounter": 1, "checkpoint": "TRIM_HORIZON"})
    assert words(Pipeline(system).problems([ROW])) == ["No consumer is running: no shard has a worker."]


def test_a_worker_that_died_is_told(
    system: System,
    leases: LeaseTable,
    at_start: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lease with an owner that stands still is nobody's; one that is renewed is somebody's."""
    now = 1000.0
    monkeypatch.setattr("desk.dashboard.pipeline.time.monotonic", lambda: now)
    seen = Pipeline(system)
    seen.problems([ROW])
    now += 15
    assert seen.problems([ROW]) == []
    now += 15
    assert words(seen.problems([ROW])) == ["No consumer is running: no shard has a worker."]
    leases.put_item(Item={"leaseKey": SHARD, "leaseOwner": "worker-1", "leaseCounter": 2, "checkpoint": "5"})
    assert seen.problems([ROW]) == []


def test_one_shard_without_a_worker_is_named(
    system: System, leases: LeaseTable, at_start: None, config: ShardConfig
) -> None:
    """The others are well; parents that have ended need nobody."""
    boto3.client("kinesis").split_shard(
        StreamName=config.stream_name, ShardToSplit=SHARD, NewStartingHashKey=str(2**127)
    )
    for number, owner in ((1, "worker-1"), (2, None)):
        lease = {
            "leaseKey": f"shardId-00000000000{number}",
            "leaseCounter": 1,
            "checkpoint": "LATEST",
            "parentShardId": {SHARD},
        }
        leases.put_item(Item=lease | ({"leaseOwner": owner} if owner else {}))
    leases.put_item(Item={"leaseKey": SHARD, "leaseCounter": 9, "checkpoint": "SHARD_END"})
    assert words(Pipeline(system).problems([ROW])) == ["Shard 2 is without a worker."]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(100, []), (600, ["No tick has arrived for 10 minutes."]), (90_000, ["No tick has arrived for 25 hours."])],
)
def test_a_feed_that_stands_still_is_told(
    system: System,
    leases: LeaseTable,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    told: list[str],
) -> None:
    """With for how long; it may be the market that is closed."""
    arrived = datetime.fromisoformat(ROW["arrived_at"])
    monkeypatch.setattr(pipeline, "_now", lambda: arrived + timedelta(seconds=seconds))
    assert words(Pipeline(system).problems([ROW])) == told


def test_before_the_first_consumer_there_are_no_leases(system: System) -> None:
    """The table of leases is the consumer's to make."""
    assert words(Pipeline(system).problems([])) == ["No consumer has run yet."]


def test_the_archive_tells_what_became_of_the_records(
    system: System, leases: LeaseTable, at_start: None, config: ShardConfig
) -> None:
    """Ticks, duplicates, late ones, conflicts and quarantine of each window, counted in its objects."""
    several = quotes("KO", [1, 2, 3], 0)
    again = record(
        json.dumps({"symbol": "KO", "timestamp": (START + timedelta(seconds=2)).isoformat(), "price": 3}).encode(),
        5,
        START,
        key="KO",
    )
    conflict = record(
        json.dumps({"symbol": "KO", "timestamp": (START + timedelta(seconds=2)).isoformat(), "price": 4}).encode(),
        6,
        START,
        key="KO",
    )
    late = record(
        json.dumps({"symbol": "KO", "timestamp": (START - timedelta(days=1)).isoformat(), "price": 4}).encode(),
        7,
        START,
        key="KO",
    )
    broken = record(b"no <b>tick</b> \xff", 8, START, key="KO")
    run(config, batch([*several, again, conflict, late, broken]), batch(quotes("KO", [5], 70)))
    found = Pipeline(system).look([])
    (window,) = found["windows"]
    counted = {
        name: window[name] for name in ("records", "ticks", "duplicates", "late", "conflicts", "quarantined", "objects")
    }
    assert counted == {
        "records": 6,
        "ticks": 4,
        "duplicates": 1,
        "late": 1,
        "conflicts": 1,
        "quarantined": 1,
        "objects": 3,
    }
    (reject,) = found["quarantine"]["records"]
    assert reject["payload"] == "no <b>tick</b> \ufffd"
    assert found["quarantine"]["reasons"] == [(reject["reason"], 1)]


def test_objects_are_read_once(system: System, leases: LeaseTable, at_start: None, config: ShardConfig) -> None:
    """What an object says does not change."""
    run(config, batch(quotes("KO", [1, 2, 3], 0)), batch(quotes("KO", [5], 70)))
    seen = Pipeline(system)
    first = seen.look([])
    made: list[str] = []
    system.s3.meta.events.register("provide-client-params.s3.GetObject", lambda params, **_: made.append(params["Key"]))
    assert seen.look([])["windows"] == first["windows"] != []
    assert made == []


def test_a_shard_is_as_far_behind_as_its_first_unprocessed_record_is_old(
    system: System, leases: LeaseTable, config: ShardConfig
) -> None:
    """Nothing unprocessed is no lag, whenever the last record came."""
    kinesis = boto3.client("kinesis")
    sent = [kinesis.put_record(StreamName=config.stream_name, PartitionKey="KO", Data=b"{}") for _ in range(2)]
    first, last = (answer["SequenceNumber"] for answer in sent)
    seen = Pipeline(system)
    (shard,) = seen.look([{**ROW, "shard_id": SHARD, "sequence_number": first}])["shards"]
    assert 0 < shard.behind_seconds < 60
    (shard,) = seen.look([{**ROW, "shard_id": SHARD, "sequence_number": last}])["shards"]
    assert shard.behind_seconds == 0


# -------------------------------------------------------------------- who is told
class Still(Market):
    """A market that counts the looks, and has something new at each."""

    def __init__(self) -> None:
        self.looks = 0

    def quotes(self) -> list[dict[str, Any]]:
        """None before the first look."""
        return []

    alerts = newest_rows = quotes

    def look(self, watched: object, tell: Any) -> None:  # noqa: ANN401
        """Tell a quote."""
        self.looks += 1
        tell(News(quotes=[{"symbol": "KO", "price": self.looks}]))


class Silent(Pipeline):
    """A pipeline of which there is nothing to say."""

    def __init__(self) -> None:
        pass

    def problems(self, rows: object) -> list[dict[str, str]]:
        """None."""
        return []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are a hundredth of a second apart."""
    monkeypatch.setattr(hub, "_LOOK_SECONDS", 0.01)


async def _some(events: AsyncIterator[bytes], number: int) -> list[bytes]:
    return [await anext(events) for _ in range(number)]


def test_one_poll_serves_all_and_none_nobody(quick: None) -> None:
    """Ten who look cost as much as one; when the last has left, the looks end, and begin with the next."""

    async def play() -> None:
        still = Still()
        everybody = Hub(still, Silent())
        clients = [everybody.events(None, pipeline=False) for _ in range(10)]
        told = [await _some(client, 4) for client in clients]
        assert all(events[0].startswith(b"event: everything\n") for events in told)
        assert still.looks < 60
        for client in clients:
            await client.aclose()  # type: ignore[attr-defined]  # it is a generator
        await asyncio.sleep(0.3)
        looks = still.looks
        await asyncio.sleep(0.3)
        assert still.looks == looks
        again = everybody.events(None, pipeline=False)
        await _some(again, 3)
        assert still.looks > looks
        await again.aclose()  # type: ignore[attr-defined]

    asyncio.run(play())


def test_who_does_not_keep_up_is_let_go(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue is bounded: the stream ends, whoever reads on goes on, and memory does not grow."""
    monkeypatch.setattr(hub, "_WAITING", 5)

    async def play() -> None:
        everybody = Hub(Still(), Silent())
        slow, fast = everybody.events(None, pipeline=False), everybody.events(None, pipeline=False)
        await anext(slow)
        assert len(await _some(fast, 40)) == 40
        with pytest.raises(StopAsyncIteration):
            await _some(slow, 10)
        await fast.aclose()  # type: ignore[attr-defined]

    asyncio.run(play())


def test_what_aws_refuses_is_told_and_tried_again(quick: None) -> None:
    """The page says what is wrong, and goes on by itself when it is mended."""

    class Refused(Still):
        def look(self, watched: object, tell: Any) -> None:  # noqa: ANN401
            super().look(watched, tell if self.looks else lambda _: None)
            if self.looks == 1:
                raise UserError("table stock-market-data: AWS refused Query - grant this action to the role in use")

    async def play() -> None:
        events = Hub(Refused(), Silent()).events(None, pipeline=False)
        _, problem, quote = await _some(events, 3)
        assert b"grant this action" in problem
        assert quote.startswith(b"event: quotes\n")
        await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(play())
