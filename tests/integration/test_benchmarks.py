"""The benchmarks run from end to end; how fast they are is for people to read."""

import re
import subprocess
import sys

import pytest

from benchmarks.peers import PEERS, check
from benchmarks.questions import QUESTIONS
from consumer.detection import Detection
from infra.templates import ROOT


def run(benchmark: str, *arguments: str, smaller: dict[str, float] | None = None) -> str:
    """Run a benchmark's command with some of its constants changed; gives what it printed."""
    changes = "".join(f"benchmark.{name} = {value}\n" for name, value in (smaller or {}).items())
    code = f"import sys\nfrom benchmarks import {benchmark} as benchmark\n{changes}sys.exit(benchmark.main())"
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=150, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def numbers(line: str, count: int) -> list[float]:
    """Give the last so many numbers of a line."""
    return [float(word.replace(",", "")) for word in line.split()[-count:]]


@pytest.mark.timeout(200)
def test_latency_is_split_into_its_parts() -> None:
    """Alerts come through the real pipeline, and each part of the way has its quantiles."""
    first, _, *parts = run("latency", "--alerts", "5", smaller={"WARM_UP_SECONDS": 0, "LOOK_SECONDS": 0.5}).splitlines()
    assert re.match(r"\d+ alerts, a read every 250 ms, linger 0 ms, load average \d", first)
    assert [part.split("  ")[0] for part in parts] == [
        "waiting for the request",
        "polling",
        "processing",
        "tick → alert in the queue",
    ]
    medians = [numbers(part, 3)[0] for part in parts]
    assert min(medians) >= -1  # the stream's times are whole milliseconds
    assert all(p50 <= p90 <= p99 for p50, p90, p99 in (numbers(part, 3) for part in parts))


def test_questions_are_asked_and_timed() -> None:
    """Each command answers on the stores that the benchmark fills."""
    _, _, *lines = run("questions", smaller={"SYMBOLS": 3, "OBJECTS": 2, "TICKS": 10, "REPEATS": 1}).splitlines()
    assert [line[:30].rstrip() for line in lines] == [*QUESTIONS]
    assert all(seconds > 0 for line in lines for seconds in numbers(line, 2))


def test_speed_measures_each_step() -> None:
    """Each step and its peer are done, and cost something."""
    smaller: dict[str, float] = {"TICKS": 2000, "REPEATS": 1, "MANY_SYMBOLS": 200, "WINDOW_TICKS": 1000}
    _, *lines = run("speed", smaller=smaller).splitlines()
    assert [line[:16].rstrip() for line in lines] == [
        "read a message",
        "decode",
        "detect",
        "rows and items",
        "raw archive",
        "Parquet",
        "whole path",
        "200 symbols",
        "thin rows",
    ]
    assert all(numbers(line, 2)[0] > 0 for line in lines)


def test_publish_measures_speed_and_lingers() -> None:
    """All ways to publish are measured, as fast as it goes and at a feed's pace."""
    smaller = {"TICKS": 4000, "REPEATS": 1, "PACED_SECONDS": 0.2}
    speed, lingers = run("publish", smaller=smaller).split("\n\n")
    assert [min(numbers(line, 3)) > 0 for line in speed.splitlines()[1:-1]] == [True] * 5
    assert [min(numbers(line, 4)) > 0 for line in lingers.splitlines()[1:]] == [True] * 5


def test_feeds_are_measured_or_skipped_with_a_word() -> None:
    """What Kafka and SQS have gets to the stream, and costs something; without Kafka's jars its line says so."""
    _, from_kafka, from_sqs = run("feeds", smaller={"TICKS": 2000, "MESSAGES": 500}).splitlines()
    assert "skipped: " in from_kafka or min(numbers(from_kafka, 3)) > 0
    assert min(numbers(from_sqs, 3)) > 0


def test_peers_are_compared_or_skipped_with_a_word() -> None:
    """A library that is not installed is named, with how it is; the others do the same work, as the whole path does."""
    _, *lines = run("peers", smaller={"speed.TICKS": 5000, "REPEATS": 1}).splitlines()
    assert [line.split("  ")[0] for line in lines] == [*["detect"] * (len(PEERS) + 1), *["whole path"] * 3]
    skipped = [line for line in lines if "skipped" in line]
    assert all(re.search(r"skipped: \w+ is not installed \(make bench\)$", line) for line in skipped)
    assert all(numbers(line, 3)[0] > 0 for line in lines if line not in skipped)


def test_forecasts_are_compared_at_three_rates() -> None:
    """`unusual` is nearer to the rate than deviations are, and loses less than the naive one on real bars."""
    tables = run("forecast").split("\n\n")[1:]
    for rate, table in zip((0.1, 0.01, 0.001), tables, strict=True):
        told = {line[:29].strip(): line.replace("%", "").split() for line in table.splitlines()[1:]}
        ours, naive, deviations = (told[name] for name in ("unusual", "expanding quantile", "20-tick deviations"))
        assert abs(float(ours[-4]) / 100 - rate) < abs(float(deviations[-4]) / 100 - rate)
        assert float(ours[-3]) < float(naive[-3])


@pytest.mark.parametrize("place", range(5))
def test_a_peer_that_does_other_work_is_found(place: int) -> None:
    """Each of the numbers is compared, and none may be missing."""
    detections = [Detection([10**9, 2 * 10**9, None, 10**6, 3 * 10**9, 10**9])] * 4
    numbers_of_ours = [1.0, 2.0, 3.0, 1.0, 1.0]
    same = (1.0, 2.0, 3.0, 1.0, 1.0)
    check("same", [same] * 4, detections)
    numbers_of_ours[place] *= 1.001
    fast, slow, upper, lower, score = numbers_of_ours
    with pytest.raises(AssertionError, match="other has"):
        check("other", [same, same, same, (fast, slow, upper, lower, score)], detections)
    with pytest.raises(AssertionError, match="lazy gave only 1 of 4 results"):
        check("lazy", [same, None, None, None], detections)
