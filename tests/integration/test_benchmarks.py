"""The benchmarks run from end to end; how fast they are is for people to read."""

import re
import subprocess
import sys

import pytest

from infra.templates import ROOT


def run(benchmark: str, *arguments: str, **smaller: float) -> str:
    """Run a benchmark's command with some of its constants changed; gives what it printed."""
    changes = "".join(f"benchmark.{name} = {value}\n" for name, value in smaller.items())
    code = f"import sys\nfrom benchmarks import {benchmark} as benchmark\n{changes}sys.exit(benchmark.main())"
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=150, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def numbers(line: str) -> list[float]:
    """Give the numbers at a line's end."""
    found = re.search(r"(?:\s+-?[\d,.]+)+$", line)
    assert found is not None, line
    return [float(number.replace(",", "")) for number in found[0].split()]


@pytest.mark.timeout(200)
def test_latency_is_split_into_its_parts() -> None:
    """Alerts come through the real pipeline, and each part of the way has its quantiles."""
    first, _, *parts = run("latency", "--alerts", "5", WARM_UP_SECONDS=0, LOOK_SECONDS=0.5).splitlines()
    assert re.match(r"\d+ alerts, a read every 250 ms, linger 0 ms, load average \d", first)
    assert [part.split("  ")[0] for part in parts] == [
        "waiting for the request",
        "polling",
        "processing",
        "tick → alert in the queue",
    ]
    medians = [numbers(part)[0] for part in parts]
    assert min(medians) >= -1  # the stream's times are whole milliseconds
    assert all(p50 <= p90 <= p99 for p50, p90, p99 in map(numbers, parts))
