"""ecs/services.yaml: its alarms ring when they should and not otherwise, replayed with the arithmetic of CloudWatch."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import amazon_kclpy
import pytest

from infra.templates import ROOT, STACK, Template, services
from tests.alarms import Alarm, World

LATE = pytest.mark.parametrize("late", [0, 1, 2])
ALARMS = services().of_type("CloudWatch::Alarm")
HEALTHY = {
    "IncomingRecords": 100.0,
    "RecordsProcessed": 100.0,
    "MillisBehindLatest": 200.0,
    "ExpiredLeases": 0.0,
    "DesiredTaskCount": 1.0,
    "RunningTaskCount": 1.0,
    "Quarantined": 0.0,
    "StaleSymbols": 0.0,
    "dropped": 0.0,
}
"""Metrics of a minute in which all is well; those that AWS sends only when something happens are not there."""

HARM: Mapping[str, Mapping[str, float | None]] = {
    "NoProgressAlarm": {"RecordsProcessed": None},
    "UnownedShardsAlarm": {"ExpiredLeases": 1},
    "BehindAlarm": {"MillisBehindLatest": 61_000},
    "QuarantineAlarm": {"Quarantined": 1},
    "StaleAlarm": {"StaleSymbols": 2},
    "NoConsumerAlarm": {"RunningTaskCount": 0},
    "ThrottlingAlarm": {"WriteThrottleEvents": 3},
    "SkippedAlarm": {"Skipped": 1},
    "UndeliveredAlarm": {"NumberOfNotificationsFailed": 1},
    "DroppedAlarm": {"dropped": 1},
    "SilentProducerAlarm": {"IncomingRecords": None},
}
"""What makes each alarm ring, minute after minute."""

OPEN = 15 * 60 + 30
"""A minute of Monday in which the market is open."""


def harmed(harm: Mapping[str, float | None], *, minutes: range = range(10_000)) -> World:
    """A world that is healthy but for these minutes, and of which there is nothing before minute -60."""

    def world(metric: str, minute: int) -> float | None:
        if minute < -60:
            return None
        return harm[metric] if metric in harm and minute in minutes else HEALTHY.get(metric)

    return world


def test_each_alarm_is_replayed() -> None:
    """What harms is written down for each alarm of the template."""
    assert HARM.keys() == ALARMS.keys()


@LATE
@pytest.mark.parametrize("name", ALARMS)
def test_it_rings_in_time(name: str, late: int) -> None:
    """However late metrics are, an alarm rings within twelve minutes of lasting harm."""
    alarm = Alarm(ALARMS[name], harmed(HARM[name]), late=late, begins=OPEN)
    assert not alarm.rings(0)
    assert alarm.rings_within(12)
    assert all(alarm.rings(minute) for minute in range(15, 45))


@LATE
@pytest.mark.parametrize("name", ALARMS)
def test_it_does_not_ring_while_all_is_well(name: str, late: int) -> None:
    """However late metrics are, nothing rings in a day on which nothing happens."""
    alarm = Alarm(ALARMS[name], harmed({}), late=late)
    assert not alarm.rings_within(24 * 60)


@LATE
@pytest.mark.parametrize("name", ALARMS)
def test_it_stops_ringing(name: str, late: int) -> None:
    """An alarm is over when what harmed is over."""
    alarm = Alarm(ALARMS[name], harmed(HARM[name], minutes=range(30)), late=late, begins=OPEN)
    assert alarm.rings(30)
    assert not any(alarm.rings(minute) for minute in range(50, 80))


@LATE
@pytest.mark.parametrize("name", ["NoProgressAlarm", "ThrottlingAlarm", "NoConsumerAlarm", "UnownedShardsAlarm"])
def test_a_short_disturbance_is_passed_over(name: str, late: int) -> None:
    """Two bad minutes, as while a task is replaced, ring nothing."""
    assert not Alarm(ALARMS[name], harmed(HARM[name], minutes=range(2)), late=late).rings_within(40)


@LATE
@pytest.mark.parametrize("name", ALARMS)
def test_a_first_deployment_rings_nothing(name: str, late: int) -> None:
    """While nothing has been told yet, and while the first task takes three minutes to start, nothing rings."""

    def world(metric: str, minute: int) -> float | None:
        if minute < 0 or metric not in HEALTHY:
            return None
        if metric == "RunningTaskCount":
            return 0.0 if minute < 3 else 1.0
        if metric == "DesiredTaskCount":
            return 1.0
        return None if minute < 4 else HEALTHY[metric]

    assert not Alarm(ALARMS[name], world, late=late).rings_within(60)


@LATE
@pytest.mark.parametrize("share", [1, 2, 3])
def test_a_crash_loop_is_no_consumer(share: int, late: int) -> None:
    """A task that runs in one to three of eight minutes, and in others at no moment that counts, rings."""

    def world(metric: str, minute: int) -> float | None:
        return float(minute % 8 < share) if metric == "RunningTaskCount" else HEALTHY.get(metric)

    assert Alarm(ALARMS["NoConsumerAlarm"], world, late=late).rings_within(12)


def test_a_crash_loop_shows_in_the_least_of_a_minute() -> None:
    """Of a minute in which a task ran and died, the metric's greatest value would hide it."""
    (running,) = (query for query in ALARMS["NoConsumerAlarm"]["Metrics"] if query["Id"] == "running")
    assert running["MetricStat"]["Stat"] == "Minimum"


@LATE
def test_a_consumer_that_nobody_wants_is_not_missed(late: int) -> None:
    """Without tasks that are wanted, none has to run."""
    world = harmed({"RunningTaskCount": 0, "DesiredTaskCount": 0})
    assert not Alarm(ALARMS["NoConsumerAlarm"], world, late=late).rings_within(60)


@pytest.mark.parametrize(("day", "hour"), [(0, 3), (4, 22), (5, 16), (6, 16)])
def test_a_closed_market_may_be_silent(day: int, hour: int) -> None:
    """At night and at weekends no quotes are no alarm."""
    begins = (day * 24 + hour) * 60
    alarm = Alarm(ALARMS["SilentProducerAlarm"], harmed({"IncomingRecords": None}), begins=begins)
    assert not alarm.rings_within(60)


# ------------------------------------------------------------ lines of the log that become a metric

SKIPPED = Template(STACK).of_type("Logs::MetricFilter")["SkippedMetric"]["FilterPattern"]


def counts(pattern: str, line: str) -> bool:
    """Tell whether a filter of fields compared with texts, any of which may match, counts a line."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return False
    compared = re.findall(r'\$\.(\w+) = "([^"]+)"', pattern)
    assert pattern == "{ " + " || ".join(f'$.{field} = "{text}"' for field, text in compared) + " }"
    return any(fnmatchcase(str(entry.get(field, "")), text) for field, text in compared)


def kcl_line(message: str) -> str:
    """Write a message of the daemon as consumer/logback.xml does."""
    assert '"event":"%replace' in (ROOT / "consumer" / "logback.xml").read_text()
    event = re.sub(r"\s+", " ", message.replace("\\", "\\\\").replace('"', '\\"'))
    return f'{{"time":"2026-11-25T12:00:00+0000","level":"WARN","logger":"ShardConsumer","event":"{event}"}}'


def kcl_message() -> str:
    """The KCL's own text, from the jar that runs."""
    (jar,) = Path(amazon_kclpy.__path__[0], "jars").glob("amazon-kinesis-client-3*.jar")
    code = zipfile.ZipFile(jar).read("software/amazon/kinesis/lifecycle/ShardConsumer.class")
    found = re.search(rb"[ -~]*The incoming data has been skipped[ -~]*", code)
    assert found is not None
    return found[0].decode()


def our_line(event: str) -> str:
    """Have a process log an event as ours do."""
    code = "import logging, sys; from common.telemetry import *; configure_logging(); logging.error(sys.argv[1])"
    command = [sys.executable, "-c", code, event]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr


def test_skipped_records_are_counted() -> None:
    """Both lines that tell of skipped records are counted, the KCL's with whatever stands around it."""
    trace = 'java.lang.RuntimeException: no "shard"\n\tat software.amazon.X(X.java:1)'
    assert counts(SKIPPED, kcl_line(kcl_message().replace("{}", "shardId-000000000000") + " " + trace))
    assert counts(SKIPPED, our_line("records_skipped"))


@pytest.mark.parametrize(
    "line",
    ['{"event": "archived", "ticks": 3}', "The incoming data has been skipped", '{"note": "records_skipped"}', "{"],
)
def test_other_lines_are_not(line: str) -> None:
    """Other events, lines that are no JSON and other fields are not counted."""
    assert not counts(SKIPPED, line)
