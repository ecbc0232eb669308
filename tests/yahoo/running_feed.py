"""A feed in a process of its own, which prints its ticks; its clock may run faster than ours."""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import producer.feeds.yahoo
from common.telemetry import configure_logging
from producer.clock import Clock
from producer.feeds.yahoo import yahoo
from producer.feeds.yahoo_live import yahoo_live
from producer.wire import payload

ROOT = Path(__file__).parents[2]


class RunningFeed:
    """A feed that runs until the end of a block.

    Parameters
    ----------
    folder
        Where its output goes.
    environment
        What it is started with.
    flags
        Those of this module's command.

    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *flags: str) -> None:
        self._ticks = folder / "ticks"
        self._log = folder / "log"
        self._environment = environment
        self._flags = flags

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Run it; its standard input is closed when it should stop, be it because we are no more."""
        command = [sys.executable, "-m", __name__, *self._flags]
        with (
            self._ticks.open("wb") as ticks,
            self._log.open("wb") as log,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=ticks, stderr=log, env=dict(self._environment), cwd=ROOT
            ) as process,
        ):
            try:
                yield self
                assert process.poll() is None, self._log.read_text()
                process.communicate(timeout=15)
                assert process.returncode == 0, self._log.read_text()
            finally:
                process.kill()

    def ticks(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Give the ticks so far."""
        return [tick for tick in _json_lines(self._ticks) if symbol in {None, tick["symbol"]}]

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Give the log events of these names so far; every line has to be one."""
        return [event for event in _json_lines(self._log) if event["event"] in names]


class FastClock(Clock):
    """A clock on which ``speed`` seconds pass in each of ours; the time of day is ours."""

    def __init__(self, stop: threading.Event, speed: float) -> None:
        super().__init__(stop)
        self._speed = speed

    def monotonic(self) -> float:
        """Give seconds that only ever grow."""
        return time.monotonic() * self._speed

    def sleep_until(self, moment: float) -> bool:
        """Wait for a moment of `monotonic`."""
        return not self._stop.wait(max(0.0, (moment - self.monotonic()) / self._speed))


def main(arguments: Sequence[str]) -> None:
    """Print a feed's ticks until the standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("feed", choices=["yahoo", "yahoo-live"])
    parser.add_argument("--symbols", required=True)
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--closed-interval", type=float, default=300)
    parser.add_argument("--extended-hours", action="store_true")
    parser.add_argument("--silence", type=float, default=90)
    parser.add_argument("--speed", type=float, default=1)
    flags = parser.parse_args(arguments)
    configure_logging()
    producer.feeds.yahoo._ANSWER_SECONDS = 2  # instead of 10, for which tests would have to wait
    stop = threading.Event()
    threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    feed = yahoo if flags.feed == "yahoo" else partial(yahoo_live, silence_seconds=flags.silence)
    for tick in feed(
        flags.symbols.split(","),
        interval_seconds=flags.interval,
        closed_interval_seconds=flags.closed_interval,
        extended_hours=flags.extended_hours,
        clock=FastClock(stop, flags.speed),
    ):
        sys.stdout.write(payload(tick).decode() + "\n")
        sys.stdout.flush()


def _stop_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def _json_lines(path: Path) -> list[dict[str, Any]]:
    whole_lines, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole_lines.splitlines()]


if __name__ == "__main__":
    main(sys.argv[1:])
