"""Prints what the pipeline costs a month at list prices, and what settings change: `python -m benchmarks.cost`.

What is deployed is read from the templates themselves; what a tick takes in table and archive is measured: our own code
makes rows and objects of real quotes. Only prices, and what AWS alone can tell, are written down here.
"""

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from common.settings import CommandSettings
from common.tick import Tick, encode, timestamp_of
from consumer.detection import Detector, Rules
from consumer.protocol import Record
from consumer.rule_settings import DEFAULT_RULES, RuleSettings, with_numbers
from consumer.settings import ConsumerSettings
from consumer.sinks.archive import MAX_CHUNK_BYTES
from consumer.sinks.packing import GzipLines, ParquetRows
from consumer.sinks.row import Row, RowWriter
from ecs.sizes import SIZES, SLOW_RULES
from infra.templates import ROOT, SERVICES, STACK, Template, deployable
from producer.aggregation import aggregate
from producer.clock import Clock
from producer.feeds.replay import Replay
from producer.settings import ProducerSettings

HOURS = 730
SECONDS = HOURS * 3600
MILLION, KB, GB = 1e6, 1024, 2**30

# AWS's list prices for us-east-1 in US dollars, of 2026. docs/cost.md says which of them were compared with what.
FARGATE_HOUR = {"X86_64": (0.04048, 0.004445), "ARM64": (0.03238, 0.00356)}  # of a vCPU, and of a GB
SPOT_SHARE = 0.3  # "up to 70 % off": it moves
PUBLIC_IPV4_HOUR = 0.005
ENDPOINT_HOUR, ENDPOINT_GB = 0.01, 0.01  # in each availability zone
SHARD_HOUR, PUT_UNIT, PUT_UNIT_BYTES = 0.015, 0.014 / MILLION, 25 * KB
FANOUT_SHARD_HOUR, FANOUT_GB = 0.015, 0.013
ON_DEMAND_HOUR, ON_DEMAND_GB_IN, ON_DEMAND_GB_OUT = 0.04, 0.08, 0.04  # a record comes in as whole KB
WRITE_UNIT, WRITE_UNIT_BYTES, PROVISIONED_WRITE_HOUR = 0.625 / MILLION, KB, 0.00065
TABLE_GB, POINT_IN_TIME_GB, ITEM_OVERHEAD_BYTES = 0.25, 0.20, 100
S3_PUT, S3_GB = 0.005 / 1000, 0.023
SNS_PUBLISH = 0.50 / MILLION
METRIC, METRIC_REQUEST, ALARM_METRIC, DASHBOARD, LOG_GB = 0.30, 0.01 / 1000, 0.10, 3.00, 0.50
KEY = 1.00

# Counted in a run on the embedded AWS, and in its log.
KCL_METRICS, KCL_METRICS_A_REQUEST = 26, 20  # with KCL_METRICS_LEVEL=SUMMARY
LEASE_RENEWALS_A_FAILOVER_TIME = 3.1
SHARD_LOG_BYTES, PRODUCER_LOG_BYTES = 10, 65  # a second
PRODUCER_METRICS = 6

# Container Insights' metrics, each once for every cluster, service and task definition that it is about.
INSIGHTS_METRICS = {"ECS::Cluster": 13, "ECS::Service": 15, "ECS::TaskDefinition": 10}
TARGET_TRACKING_ALARMS = 2
FIRST_ON_DEMAND_SHARDS, ON_DEMAND_RECORDS_A_SHARD = 4, 500  # Kinesis keeps room for twice as much
PROVISIONED_USE = 0.7  # as autoscaling of tables keeps it

SAMPLED_COOLDOWNS = 3
ALERT_WRITES, ALERT_ROW_BYTES = 2, 290  # claimed, then marked as sent
OBJECTS_A_WINDOW, SNAPSHOTS_A_WINDOW = 2, 1  # what was received, and what became of it; and the shard's memory

Parameters = Mapping[str, str | int]


@dataclass(frozen=True)
class Deployment:
    """Quotes around the clock, and what is set for them: parameters of the two templates, and what has none."""

    name: str
    symbols: int
    interval_seconds: float
    stores: Parameters = field(default_factory=dict)
    services: Parameters = field(default_factory=dict)
    template: Path = SERVICES
    kcl_failover_milliseconds: float = 3000
    provisioned_tables: bool = False

    @property
    def ticks(self) -> float:
        """A second."""
        return self.symbols / self.interval_seconds

    def with_stores(self, **parameters: str | int) -> "Deployment":
        """Set parameters of infra/stack.yaml, too."""
        return replace(self, stores={**self.stores, **parameters})

    def with_services(self, **parameters: str | int) -> "Deployment":
        """Set parameters of the services' template, too."""
        return replace(self, services={**self.services, **parameters})


def sized(name: str, symbols: int, interval_seconds: float, size: str) -> Deployment:
    """What `make deploy SIZE=...` deploys."""
    template, stores, services = SIZES[size]
    return Deployment(name, symbols, interval_seconds, stores, services, template)


DEPLOYMENTS = (
    Deployment("1 symbol every 30 s", 1, 30),
    Deployment("100 symbols every 5 s", 100, 5),
    Deployment("10,000 ticks/s", 1000, 0.1)
    .with_stores(ShardCount=16)
    .with_services(ShardsPerTask=4, ConsumerSize="1024-2048", ProducerSize="1024-2048"),
)
"""The last one's 1000 symbols are not spread evenly over shards: 16 keep the busiest of them below 1,000 records/s."""

ONE_SMALL = sized("1 symbol every 30 s, `SIZE=small`", 1, 30, "small")
ONE_LARGE = sized("10,000 ticks/s, `SIZE=large`", 1000, 0.1, "large")
BILLED = (
    ONE_SMALL,
    replace(ONE_SMALL.with_services(Capacity="FARGATE_SPOT"), name="the same on Spot"),
    *DEPLOYMENTS,
    ONE_LARGE,
)


class Bill:
    """What a deployment costs a month, by what it is paid for."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._stack = Template(STACK, deployment.stores)
        self._services = deployable(deployment.template, deployment.services, stores=self._stack)
        self._producer, self._consumer = map(self._environment, ("producer", "consumer"))
        cooldown, row = map(self._consumer_number, ("ALERT_COOLDOWN_SECONDS", "ROW_SECONDS"))
        rules = self._consumer["RULES"], self._consumer["RULE_OVERRIDES"]
        self._quotes = process(deployment.interval_seconds, cooldown, row, *rules)
        self._ticks = deployment.ticks * SECONDS
        (self._stream,) = self._stack.of_type("Kinesis::Stream").values()
        needed = math.ceil(self.records / ON_DEMAND_RECORDS_A_SHARD)
        self.shards: int = int(self._stream.get("ShardCount") or max(FIRST_ON_DEMAND_SHARDS, needed))
        self.tasks = {
            name.removesuffix("Service"): self._tasks(name) for name in self._services.of_type("ECS::Service")
        }

    def lines(self) -> dict[str, float]:
        """Dollars; the archive's storage is that of one month."""
        return {
            "Fargate": self._fargate(),
            "Public addresses, endpoints": self._network(),
            "Kinesis": self._kinesis(),
            "DynamoDB: writing ticks": self._tick_writes(),
            "DynamoDB: keeping them": self._tick_storage(),
            "DynamoDB: leases": self._leases(),
            "Alerts: DynamoDB and SNS": self._alerts(),
            "S3": self._archive(),
            "CloudWatch: metrics": self._metrics(),
            "CloudWatch: alarms, dashboard, logs": self._watching(),
            "KMS": KEY * len(self._stack.of_type("KMS::Key")),
        }

    def total(self) -> float:
        """Dollars for all of it."""
        return sum(self.lines().values())

    @property
    def records(self) -> float:
        """Records that come into the stream a second."""
        return self._deployment.ticks / self._ticks_a_record

    @property
    def rows(self) -> float:
        """Rows of ticks that are written a second."""
        return self._deployment.ticks * self._quotes.stored

    @property
    def _ticks_a_record(self) -> float:
        """More than one where a symbol has several while they linger."""
        if self._producer.get("AGGREGATE") != "true":
            return 1
        linger = _number(self._producer, "PUBLISH_LINGER_MILLISECONDS", ProducerSettings)
        return max(1, linger / 1000 / self._deployment.interval_seconds)

    def _consumer_number(self, name: str) -> float:
        return _number(self._consumer, name, ConsumerSettings)

    def _environment(self, container: str) -> dict[str, str]:
        """Give what a container is told, in whichever task it is."""
        (definition,) = (
            definition
            for task in self._services.of_type("ECS::TaskDefinition").values()
            for definition in task["ContainerDefinitions"]
            if definition["Name"] == container
        )
        return {variable["Name"]: str(variable["Value"]) for variable in definition["Environment"]}

    def _tasks(self, service: str) -> int:
        """As many as it has or, where that is left to scaling, as the policy wants while nothing is late."""
        fixed = self._services.of_type("ECS::Service")[service].get("DesiredCount")
        if fixed is not None:
            return int(fixed)
        (policy,) = self._services.of_type("ApplicationAutoScaling::ScalingPolicy").values()
        (limits,) = self._services.of_type("ApplicationAutoScaling::ScalableTarget").values()
        wanted = math.ceil(self.shards / int(policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"]))
        return max(int(limits["MinCapacity"]), min(int(limits["MaxCapacity"]), wanted))

    def _fargate(self) -> float:
        definitions, services = self._services.of_type("ECS::TaskDefinition"), self._services.of_type("ECS::Service")
        dollars = 0.0
        for name, count in self.tasks.items():
            task = definitions[f"{name}Task"]
            cpu, memory = FARGATE_HOUR[task["RuntimePlatform"]["CpuArchitecture"]]
            (capacity,) = services[f"{name}Service"]["CapacityProviderStrategy"]
            share = SPOT_SHARE if capacity["CapacityProvider"] == "FARGATE_SPOT" else 1
            dollars += HOURS * count * share * (int(task["Cpu"]) * cpu + int(task["Memory"]) * memory) / 1024
        return dollars

    def _network(self) -> float:
        service, *_ = self._services.of_type("ECS::Service").values()
        if service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "ENABLED":
            return HOURS * sum(self.tasks.values()) * PUBLIC_IPV4_HOUR
        endpoints = self._services.of_type("EC2::VPCEndpoint").values()
        zones = sum(len(endpoint["SubnetIds"]) for endpoint in endpoints if endpoint["VpcEndpointType"] == "Interface")
        in_and_out = 2 * self._streamed_gigabytes()
        return HOURS * zones * ENDPOINT_HOUR + in_and_out * ENDPOINT_GB

    def _record_bytes(self) -> int:
        ticks = self._quotes.payloads[: round(self._ticks_a_record)]
        return len(ticks[0] if len(ticks) == 1 else aggregate("INDA", ticks))

    def _streamed_gigabytes(self) -> float:
        return self.records * SECONDS * self._record_bytes() / GB

    def _kinesis(self) -> float:
        records, size = self.records * SECONDS, self._record_bytes()
        if self._stream["StreamModeDetails"]["StreamMode"] == "ON_DEMAND":
            came_in = records * math.ceil(size / KB) * KB / GB
            return HOURS * ON_DEMAND_HOUR + came_in * ON_DEMAND_GB_IN + self._streamed_gigabytes() * ON_DEMAND_GB_OUT
        dollars = HOURS * self.shards * SHARD_HOUR + records * math.ceil(size / PUT_UNIT_BYTES) * PUT_UNIT
        if self._stack.outputs["RetrievalMode"]["Value"] == "FANOUT":
            dollars += HOURS * self.shards * FANOUT_SHARD_HOUR + self._streamed_gigabytes() * FANOUT_GB
        return dollars

    def _tick_writes(self) -> float:
        if self._deployment.provisioned_tables:
            units = self.rows * self._quotes.write_units / PROVISIONED_USE
            return HOURS * units * PROVISIONED_WRITE_HOUR
        return self.rows * SECONDS * self._quotes.write_units * WRITE_UNIT

    def _tick_storage(self) -> float:
        return self._kept("TicksTable", self.rows, self._quotes.row_bytes)

    def _kept(self, table: str, rows: float, row_bytes: float) -> float:
        """Rows a second, for as long as they are kept."""
        kept = rows * int(self._consumer["RETENTION_DAYS"]) * 24 * 3600
        recovery = self._stack.of_type("DynamoDB::Table")[table]["PointInTimeRecoverySpecification"]
        is_backed_up = str(recovery["PointInTimeRecoveryEnabled"]).lower() == "true"
        a_gigabyte = TABLE_GB + (POINT_IN_TIME_GB if is_backed_up else 0)
        return kept * (row_bytes + ITEM_OVERHEAD_BYTES) / GB * a_gigabyte

    def _leases(self) -> float:
        failover = float(self._consumer.get("KCL_FAILOVER_TIME_MILLIS", self._deployment.kcl_failover_milliseconds))
        renewals = LEASE_RENEWALS_A_FAILOVER_TIME * 1000 / failover
        return (self.shards * renewals + self._windows()) * SECONDS * WRITE_UNIT

    def _alerts(self) -> float:
        alerts = self._deployment.ticks * self._quotes.alerts
        sent = alerts * SECONDS * (ALERT_WRITES * WRITE_UNIT + SNS_PUBLISH)
        return sent + self._kept("AlertsTable", alerts, ALERT_ROW_BYTES)

    def _windows(self) -> float:
        """Archive windows of all shards a second, each with a record at least."""
        busy_shards = min(self.shards, self._deployment.symbols)
        return min(busy_shards / self._consumer_number("ARCHIVE_SECONDS"), self._deployment.ticks)

    def _archive(self) -> float:
        ticks_a_window = self._deployment.ticks / self._windows()
        chunks = math.ceil(ticks_a_window * len(self._quotes.payloads[0]) / MAX_CHUNK_BYTES)
        objects = (OBJECTS_A_WINDOW * chunks + SNAPSHOTS_A_WINDOW) * self._windows() * SECONDS
        stored = self._ticks * archived_bytes(self._quotes, round(ticks_a_window / chunks)) / GB
        return objects * S3_PUT + stored * S3_GB

    def _metrics(self) -> float:
        count = sum(len(template.of_type("Logs::MetricFilter")) for template in (self._stack, self._services))
        if self._producer.get("EMBEDDED_METRICS") != "false":
            count += PRODUCER_METRICS
        (cluster,) = self._services.of_type("ECS::Cluster").values()
        if {"Name": "containerInsights", "Value": "enabled"} in cluster["ClusterSettings"]:
            count += sum(metrics * len(self._services.of_type(kind)) for kind, metrics in INSIGHTS_METRICS.items())
        if self._consumer.get("KCL_METRICS_LEVEL") == "NONE":
            return METRIC * count
        sent = SECONDS * 1000 / int(self._consumer["KCL_METRICS_BUFFER_TIME_MILLIS"])
        requests = self.tasks["Consumer"] * sent * math.ceil(KCL_METRICS / KCL_METRICS_A_REQUEST)
        return METRIC * (KCL_METRICS + count) + METRIC_REQUEST * requests

    def _watching(self) -> float:
        alarms = sum(_metrics_in(alarm) for alarm in self._services.of_type("CloudWatch::Alarm").values())
        for policy in self._services.of_type("ApplicationAutoScaling::ScalingPolicy").values():
            tracking = policy["TargetTrackingScalingPolicyConfiguration"]
            alarms += TARGET_TRACKING_ALARMS * _metrics_in(tracking["CustomizedMetricSpecification"])
        dashboards = len(self._services.of_type("CloudWatch::Dashboard"))
        log_bytes = self.shards * SHARD_LOG_BYTES + self.tasks.get("Producer", 1) * PRODUCER_LOG_BYTES
        return ALARM_METRIC * alarms + DASHBOARD * dashboards + log_bytes * SECONDS / GB * LOG_GB


def _number(told: Mapping[str, str], name: str, kind: type[CommandSettings]) -> float:
    """Give what a container is told, or what its command does without being told."""
    return float(told.get(name) or kind.model_fields[name.lower()].default)


def _metrics_in(watched: Mapping[str, Any]) -> int:
    """Count the metrics that an alarm looks at: each is paid for, expressions are not."""
    return sum("MetricStat" in query for query in watched["Metrics"]) if "Metrics" in watched else 1


class Quotes(NamedTuple):
    """What becomes of a symbol's quotes."""

    payloads: list[bytes]
    rows: list[Row]
    alerts: float
    """Alerts that are sent, a tick."""
    stored: float
    """Share of the ticks that have a row."""
    fired: float
    """Share of the ticks on which a rule fired, held back by the cooldown or not."""
    row_bytes: float
    write_units: float


@cache
def process(
    interval_seconds: float, cooldown_seconds: float, row_seconds: float = 0, names: str = "", overrides: str = ""
) -> Quotes:
    """Have our code process real quotes, 3,500 minute bars of an ETF, as if they came at this interval.

    They come again until some cooldowns are over. The first is not counted: in it, all that fires first is sent.
    """
    settings = with_numbers(RuleSettings)(
        rules=names or DEFAULT_RULES, rule_overrides=overrides, alert_cooldown_seconds=round(cooldown_seconds)
    )
    detector = Detector(settings.chosen_rules())
    writer = RowWriter("shardId-000000000000", detector.columns, 30)
    ticks = _bars()
    state, payloads, rows = detector.new_state("INDA"), [], []
    counts, stored_ms = Counter[str](), 0
    passes = max(1, math.ceil(SAMPLED_COOLDOWNS * cooldown_seconds / interval_seconds / len(ticks)))
    for number, tick in enumerate(passes * ticks):
        arrived_ms = 1_800_000_000_000 + round(number * interval_seconds * 1000)
        tick.timestamp = timestamp_of(arrived_ms)
        detection = detector.detect(state, tick)
        sent = sum(not alert.suppressed for alert in detection.alerts)
        is_stored = detection.alerts or arrived_ms - stored_ms >= row_seconds * 1000
        stored_ms = arrived_ms if is_stored else stored_ms
        if number * interval_seconds >= cooldown_seconds:
            counts += Counter(ticks=1, alerts=sent, stored=bool(is_stored), fired=bool(detection.alerts))
        if number < len(ticks):
            payloads.append(encode(tick))
            rows.append(writer.accepted(tick, detection, Record(b"", "INDA", str(10**55 + number), 0, arrived_ms)))
    sizes = list(map(item_bytes, rows))
    units = fmean(math.ceil(size / WRITE_UNIT_BYTES) for size in sizes)
    shares = {name: counts[name] / counts["ticks"] for name in ("alerts", "stored", "fired")}
    return Quotes(payloads, rows, **shares, row_bytes=fmean(sizes), write_units=units)


def _bars() -> list[Tick]:
    path, clock = ROOT / "tests" / "data" / "inda_1min.csv", Clock(threading.Event())
    return list(Replay(path, symbol="INDA", only=(), speed=math.inf, clock=clock))


_WRITER = RowWriter("", Detector(Rules()).columns, 1)


def item_bytes(row: Row) -> int:
    """Size of a row as DynamoDB counts it: names and texts as they are, two digits of a number in a byte."""
    size = 0
    for name, typed in _WRITER.item(row).items():
        size += len(name)
        for kind, value in typed.items():
            match kind:
                case "N":
                    digits = value.replace(".", "").strip("-0")
                    size += 1 + math.ceil(len(digits) / 2) + value.startswith("-")
                case "SS":
                    size += sum(map(len, value))
                case "BOOL":
                    size += 1
                case _:
                    size += len(value.encode())
    return size


def archived_bytes(quotes: Quotes, ticks: int) -> float:
    """Bytes that a tick takes in the archive, in objects of so many ticks."""
    lines, rows = GzipLines(), ParquetRows(_WRITER.columns)
    lines.extend(quotes.payloads[-ticks:])
    rows.extend(quotes.rows[-ticks:])
    return (len(lines.finish()) + len(rows.finish())) / lines.count


def _aggregate(deployment: Deployment) -> Deployment:
    """Fewer shards take it; each is then a larger share of a task's work."""
    aggregated = deployment.with_services(Aggregate="true", PublishLingerMilliseconds=1000)
    is_large = Bill(deployment).shards > 4
    return aggregated.with_stores(ShardCount=4).with_services(ShardsPerTask=1) if is_large else aggregated


CHANGES: dict[str, Callable[[Deployment], Deployment]] = {
    "`ARCH=ARM64`": lambda d: d.with_services(CpuArchitecture="ARM64"),
    "`ConsumerCapacity=FARGATE_SPOT`": lambda d: d.with_services(ConsumerCapacity="FARGATE_SPOT"),
    "`Network=VPC_ENDPOINTS`": lambda d: d.with_services(Network="VPC_ENDPOINTS"),
    "`ShardCount`: one less": lambda d: d.with_stores(ShardCount=Bill(d).shards - 1),
    "`StreamMode=ON_DEMAND`": lambda d: d.with_stores(StreamMode="ON_DEMAND"),
    "`RetrievalMode=FANOUT`": lambda d: d.with_stores(RetrievalMode="FANOUT"),
    "`Aggregate=true PublishLingerMilliseconds=1000`, 4 instead of 16 shards": _aggregate,
    "`BillingMode: PROVISIONED` of `TicksTable`, autoscaled": lambda d: replace(d, provisioned_tables=True),
    "`TicksPointInTimeRecovery=true`": lambda d: d.with_stores(TicksPointInTimeRecovery="true"),
    "`RowSeconds=60`": lambda d: d.with_services(RowSeconds=60),
    "`RetentionDays=7`": lambda d: d.with_services(RetentionDays=7),
    "`ArchiveSeconds=300`": lambda d: d.with_services(ArchiveSeconds=300),
    "`AlertCooldownSeconds=3600`": lambda d: d.with_services(AlertCooldownSeconds=3600),
    "`KCL_FAILOVER_TIME_MILLIS=10000`": lambda d: replace(d, kcl_failover_milliseconds=10_000),
}


class Cut(NamedTuple):
    """A step from the dearest deployment to the large size: parameters of the two templates, and their price."""

    stores: Parameters
    services: Parameters
    given_up: str


UNCUT = DEPLOYMENTS[-1].with_stores(TicksPointInTimeRecovery="true")
CUTS = (
    Cut(
        {"TicksPointInTimeRecovery": "false"},
        {},
        "restoring the table of ticks to any second of 35 days: the archive has every tick. The table of alerts, which "
        "nothing else has, keeps it",
    ),
    Cut(
        {},
        {"RowSeconds": "5"},
        "rows of a symbol's other ticks in 5 s, unless a rule fired on one: they, and late ones, are in the archive "
        "only, a minute later and by Athena",
    ),
    Cut(
        {},
        {"RuleOverrides": json.dumps(SLOW_RULES)},
        "alerts of what is over in a second: at ten ticks a second the default windows of 5 and 20 ticks see half a "
        "second to two, and rules fire on a sixth of all ticks. These see ten seconds to two minutes",
    ),
    Cut(
        {"ShardCount": "4"},
        {"Aggregate": "true", "PublishLingerMilliseconds": "1000", "ShardsPerTask": "1"},
        "up to a second, which ticks wait for others; and whoever else reads the stream has to take records apart",
    ),
    Cut({}, {"CpuArchitecture": "ARM64"}, "nothing: the image is built with `make push ARCH=ARM64`"),
)
"""Taken one after the other, they end in what `make deploy SIZE=large` deploys."""

MIXTURES = (
    sized("500 symbols, 20 ticks/s each", 500, 0.05, "large"),
    replace(ONE_LARGE, name="1,000 symbols, 10 ticks/s each"),
    sized("5,000 symbols, 2 ticks/s each; `ShardCount=8 ShardsPerTask=2`", 5000, 0.5, "large")
    .with_stores(ShardCount=8)
    .with_services(ShardsPerTask=2),
    sized("10,000 symbols, a tick/s each; `ShardCount=16 ShardsPerTask=4`", 10_000, 1, "large")
    .with_stores(ShardCount=16)
    .with_services(ShardsPerTask=4),
)
"""10,000 ticks/s, come as they may; the fewer a symbol has, the fewer share a record and a row."""

SPARING: dict[str, Parameters] = {
    "as deployed": {},
    "`RowSeconds=60`": {"RowSeconds": 60},
    "`RowSeconds=60 AlertCooldownSeconds=1800`": {"RowSeconds": 60, "AlertCooldownSeconds": 1800},
}


def costs() -> str:
    """Write the bills as a Markdown table."""
    bills = [Bill(deployment) for deployment in BILLED]
    lines = [bill.lines() for bill in bills]
    body = {name: [_dollars(line[name]) for line in lines] for name in lines[0]}
    return _table(BILLED, {**body, "**all**": [f"**{_dollars(bill.total())}**" for bill in bills]})


def changes() -> str:
    """Write what each change adds to the bills as a Markdown table."""
    body = {name: [_difference(d, change(d)) for d in DEPLOYMENTS] for name, change in CHANGES.items()}
    return _table(DEPLOYMENTS, body)


def cuts() -> str:
    """Write what each cut takes from the bill, and what is given up for it, as a Markdown table."""
    rows, deployment = [["each tick a row, which can be restored", "", _dollars(Bill(UNCUT).total()), ""]], UNCUT
    for cut in CUTS:
        deployment, dearer = deployment.with_stores(**cut.stores).with_services(**cut.services), deployment
        names = [f"{name}={value}" for name, value in {**cut.stores, **cut.services}.items()]
        left = _dollars(Bill(deployment).total())
        rows.append([f"`{' '.join(names)}`", _difference(dearer, deployment), left, cut.given_up])
    return _rows(["10,000 ticks/s", "$ a month", "leaves", "given up"], rows, "-: -: -")


def mixtures() -> str:
    """Write what the large size costs with more and fewer symbols as a Markdown table."""
    rows = [
        [mix.name, *(_dollars(Bill(mix.with_services(**spared)).total()) for spared in SPARING.values())]
        for mix in MIXTURES
    ]
    return _rows(["$ a month for 10,000 ticks/s of", *SPARING], rows, "-: " * len(SPARING))


def _table(deployments: Iterable[Deployment], body: Mapping[str, list[str]]) -> str:
    names = [deployment.name for deployment in deployments]
    return _rows(["$ a month", *names], [[name, *cells] for name, cells in body.items()], "-: " * len(names))


def _rows(head: list[str], rows: list[list[str]], aligned: str) -> str:
    """Write a table; all but its first column are aligned to the left (-) or to the right (-:)."""
    rule = ["---", *(f"--{side}" for side in aligned.split())]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _dollars(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 99.5 else f"{amount:.2f}"


def _difference(old: Deployment, new: Deployment) -> str:
    amount = Bill(new).total() - Bill(old).total()
    return "" if abs(amount) < 0.005 else ("+" if amount > 0 else "−") + _dollars(abs(amount))


def main() -> None:
    """Print all tables, and what was measured for them."""
    print(costs(), cuts(), mixtures(), changes(), sep="\n\n", end="\n\n")
    for deployment in DEPLOYMENTS:
        quotes = process(deployment.interval_seconds, Rules().alert_cooldown_seconds)
        print(
            f"{deployment.name}: payload {fmean(map(len, quotes.payloads)):.0f} bytes, row {quotes.row_bytes:.0f}, "
            f"rules fire on {quotes.fired:.1%} of the ticks, alerts are sent for {quotes.alerts:.1%}"
        )


if __name__ == "__main__":
    main()
