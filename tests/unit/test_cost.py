"""What the documents say about money is what `benchmarks.cost` reckons, and it reckons with what is deployed."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import md5

import pytest

from benchmarks.cost import (
    BILLED,
    CHANGES,
    CUTS,
    DEPLOYMENTS,
    MIXTURES,
    ONE_LARGE,
    ONE_SMALL,
    UNCUT,
    Bill,
    Deployment,
    changes,
    costs,
    cuts,
    item_bytes,
    mixtures,
    process,
)
from consumer.daemon import kcl_properties
from consumer.detection import Detector, Rules
from consumer.settings import ConsumerSettings
from consumer.sinks.row import RowWriter
from infra.templates import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENT = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
ALL: dict[str, Callable[[], Deployment]] = {
    **{deployment.name: partial(replace, deployment) for deployment in (*BILLED, *MIXTURES)},
    **{f"{d.name} {name}": partial(change, d) for name, change in CHANGES.items() for d in DEPLOYMENTS},
}
"""What makes each deployment, by its name: to make all of them takes seconds."""
SHARD_RECORDS, SHARD_TICKS = 1000, 5000
"""What a shard takes a second; ticks, when they are aggregated."""


def test_the_readme_has_the_bills() -> None:
    """The README's table is what the script prints."""
    assert f"\n\n{costs()}\n\n" in README


def test_the_document_has_what_settings_change() -> None:
    """The table of changes is what the script prints."""
    assert f"\n\n{changes()}\n\n" in DOCUMENT


def test_the_document_has_what_the_large_size_gives_up() -> None:
    """The tables of cuts and of mixtures are what the script prints."""
    assert f"\n\n{cuts()}\n\n" in DOCUMENT
    assert f"\n\n{mixtures()}\n\n" in DOCUMENT


def test_the_document_says_how_the_largest_is_deployed() -> None:
    """The command in the document sets what the bill reckons with."""

    def written(parameters: Mapping[str, str | int]) -> str:
        return " ".join(f"{name}={value}" for name, value in parameters.items())

    deployment = DEPLOYMENTS[-1]
    assert f'STORES="{written(deployment.stores)}"' in DOCUMENT
    assert f'SERVICES="{written(deployment.services)}"' in DOCUMENT


@pytest.fixture
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """One of them."""
    return ALL[request.param]()


@pytest.mark.parametrize("deployment", ALL, indirect=True)
def test_the_shards_are_enough(deployment: Deployment) -> None:
    """Kinesis spreads symbols by their hash, and the busiest shard takes all that comes to it."""
    bill = Bill(deployment)
    symbols = Counter(
        int(md5(f"SYM{n}".encode(), usedforsecurity=False).hexdigest(), 16) * bill.shards >> 128
        for n in range(deployment.symbols)
    )
    share = max(symbols.values()) / deployment.symbols
    assert share * bill.records <= SHARD_RECORDS
    assert share * deployment.ticks <= SHARD_TICKS


@pytest.mark.parametrize("deployment", ALL, indirect=True)
def test_the_tasks_are_enough(deployment: Deployment) -> None:
    """Consumers have half of their time left, on cores as slow as the one that was measured for docs/speed.md."""
    speed = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    measured = re.search(r"^whole path +[0-9,]+ +([0-9,]+) ", speed, flags=re.MULTILINE)
    assert measured is not None
    units, _, _ = str(deployment.services.get("ConsumerSize", "256-1024")).partition("-")
    cores = Bill(deployment).tasks.get("Consumer", 1) * int(units) / 1024
    assert deployment.ticks / cores <= int(measured[1].replace(",", "")) / 2


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_changes_something(change: object) -> None:
    """Each setting in the table makes some deployment cheaper or dearer."""
    assert callable(change)
    assert any(abs(Bill(change(d)).total() - Bill(d).total()) > 1 for d in DEPLOYMENTS)


def test_more_costs_more() -> None:
    """Twice the quotes cost twice as much to write and to keep; what is there anyway costs the same."""
    once, twice = (Bill(Deployment("", symbols, 5)).lines() for symbols in (100, 200))
    for line in ("DynamoDB: writing ticks", "DynamoDB: keeping them", "Alerts: DynamoDB and SNS"):
        assert twice[line] == pytest.approx(2 * once[line])
    for line in ("Fargate", "Public addresses, endpoints", "CloudWatch: metrics", "KMS"):
        assert twice[line] == once[line]


def test_tasks_are_as_many_as_scaling_wants() -> None:
    """Leases divided by ShardsPerTask, rounded up, within the limits."""
    deployment = Deployment("", 100, 1)
    assert Bill(deployment.with_stores(ShardCount=7)).tasks["Consumer"] == 4
    assert Bill(deployment.with_stores(ShardCount=7).with_services(MaxTasks=3)).tasks["Consumer"] == 3
    assert Bill(deployment.with_services(MinTasks=2)).tasks["Consumer"] == 2


def test_the_failover_time_is_the_consumers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewals of leases are reckoned from the time that the consumer gives the KCL."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    required = {"archive_bucket": "archive", "alert_topic_arn": "arn:aws:sns:us-east-1:1:alerts"}
    settings = ConsumerSettings.model_validate(required)
    expected = kcl_properties(settings, {})["failoverTimeMillis"]
    assert DEPLOYMENTS[0].kcl_failover_milliseconds == int(expected)


@pytest.mark.parametrize(
    ("name", "value", "size"),
    [
        ("price", 27 * 10**9, 2),
        ("change", -27 * 10**9, 3),
        ("price", 461 * 10**9, 3),
        ("price", 43_580_000_000, 3),
        ("change", 0, 1),
        ("price", 10**15, 2),
        ("source", "Zürich", 7),
        ("anomalies", ("z_score", "bollinger"), 16),
        ("late", True, 1),
    ],
)
def test_a_row_is_as_large_as_dynamodb_says(name: str, value: object, size: int) -> None:
    """Names and texts count as UTF-8; numbers take a byte, one for two significant digits and one for a minus."""
    columns = RowWriter("", Detector(Rules()).columns, 1).columns
    row = tuple(value if column.name == name else None for column in columns)
    assert item_bytes(row) == len(name) + size


def test_the_cooldown_saves_alerts() -> None:
    """The longer alerts are held back, and the closer together quotes are, the fewer of them are sent."""
    shares = [process(*times).alerts for times in ((30, 0), (30, 300), (5, 300), (5, 3600))]
    assert shares == sorted(shares, reverse=True)
    assert 0 < shares[-1] < shares[0] < 0.3


def test_the_cooldown_saves_nothing_that_follows_what_fires() -> None:
    """Rules fire as often whatever the pace of quotes is; at ten a second nearly all of it is held back."""
    slow, fast = process(30, 300), process(0.1, 300)
    assert slow.fired == pytest.approx(fast.fired, rel=0.01)
    assert fast.alerts < fast.fired / 30


def test_a_small_one_is_billed_for_what_it_has() -> None:
    """One shard, a quarter of an ARM processor with a gigabyte, one address, three metrics, two alarms."""
    lines = Bill(ONE_SMALL).lines()
    assert lines["Kinesis"] == pytest.approx(10.95, abs=0.01)
    assert lines["Fargate"] == pytest.approx(730 * (0.25 * 0.03238 + 0.00356))
    assert lines["Public addresses, endpoints"] == pytest.approx(3.65)
    assert lines["CloudWatch: metrics"] == pytest.approx(0.90)
    assert lines["KMS"] == 0
    assert lines["CloudWatch: alarms, dashboard, logs"] == pytest.approx(0.20, abs=0.10)


@pytest.mark.parametrize(("capacity", "dollars"), [("FARGATE", 25.18), ("FARGATE_SPOT", 19.22)])
def test_a_small_one_costs_no_more_than_it_may(capacity: str, dollars: float) -> None:
    """What one symbol every 30 seconds may cost a month."""
    assert Bill(ONE_SMALL.with_services(Capacity=capacity)).total() <= dollars


def test_settings_are_read_from_what_is_deployed() -> None:
    """Windows, cooldown and aggregation are those that the containers are told."""
    small, often = Bill(ONE_SMALL).lines(), Bill(ONE_SMALL.with_services(ArchiveSeconds=60)).lines()
    assert often["S3"] > 4 * small["S3"]
    busy = Deployment("", 100, 0.1)
    alerts = [Bill(busy.with_services(AlertCooldownSeconds=s)).lines()["Alerts: DynamoDB and SNS"] for s in (0, 300)]
    assert alerts[0] > 10 * alerts[1]
    assert Bill(busy).records == 1000
    assert Bill(busy.with_services(Aggregate="true", PublishLingerMilliseconds=500)).records == 200
    assert Bill(busy.with_services(PublishLingerMilliseconds=500)).records == 1000


def test_a_large_one_costs_less_than_a_thousand() -> None:
    """What 10,000 ticks a second may cost a month, with the parameters that SIZE=large sets."""
    assert (ONE_LARGE.ticks, ONE_LARGE.symbols) == (10_000, 1000)
    assert Bill(ONE_LARGE).total() < 1000


def test_the_cuts_make_the_large_size() -> None:
    """All cuts taken set exactly what SIZE=large sets, and nothing is cut that is not in the table."""

    def told(parameters: Mapping[str, str | int]) -> dict[str, str]:
        return {name: str(value) for name, value in parameters.items() if name != "Size"}

    stores, services = dict(UNCUT.stores), dict(UNCUT.services)
    for cut in CUTS:
        stores |= cut.stores
        services |= cut.services
        assert cut.given_up
    assert told(stores) == told(ONE_LARGE.stores)
    assert told(services) == told(ONE_LARGE.services)


def test_thin_rows_are_a_symbols_first_and_what_fired() -> None:
    """A symbol with ten ticks a second has a row each five seconds and one for each tick on which a rule fired."""
    always, thin = process(0.1, 300), process(0.1, 300, 5)
    assert always.stored == 1
    assert 1 / 50 <= thin.stored <= 1 / 50 + thin.fired
    assert thin.stored >= thin.fired
    assert process(30, 300, 5).stored == 1
