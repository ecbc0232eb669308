"""`make chaos`: harm after harm in random mixture, then a table of what was lost and what was doubled.

    python -m tests.chaos --kills 200 --seed 7

The exit code is 1 if anything was, but for messages that came again because a process died between publishing and
marking. A round is a stack of its own and a deck of harms, shuffled; round n of seed s is round 1 of seed s + n - 1.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.chaos.harms import DECK, KILLS, Harm, Outcome
from tests.chaos.memory import resident_megabytes
from tests.chaos.world import FAILOVER_SECONDS, World
from tests.compare import Tally

_SYMBOLS = 1000
_LONGEST_REST_SECONDS = 2


@dataclass
class Report:
    """What all rounds came to."""

    harms: int = 0
    kills: int = 0
    published: int = 0
    tally: Tally = field(default_factory=Tally)
    recovery_seconds: list[float] = field(default_factory=list)
    worst_stop_seconds: float = 0
    handover_seconds: list[float] = field(default_factory=list)
    most_memory: float = 0
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count what was done."""
        self.harms += outcome.harms
        self.kills += outcome.kills
        if outcome.recovery_seconds is not None:
            self.recovery_seconds.append(outcome.recovery_seconds)
        self.worst_stop_seconds = max(self.worst_stop_seconds, outcome.stop_seconds or 0)
        if outcome.handover_seconds is not None:
            self.handover_seconds.append(outcome.handover_seconds)


class Soak:
    """Rounds until there was enough harm.

    Parameters
    ----------
    kills
        How many harms.
    seed
        What they are, in which order, and what traffic there is.
    console
        Where the progress is shown: a bar on a terminal, lines elsewhere.
    deck
        The harms of a round, and how often each.

    """

    def __init__(self, kills: int, seed: int, console: Console, deck: Mapping[Harm, int]) -> None:
        self._deck = deck
        self._kills = kills
        self._seed = seed
        self._console = console
        self.report = Report()

    def run(self) -> None:
        """Do harm; what fails is in the report."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            shown = progress.add_task("chaos", total=self._kills)
            seed = self._seed
            done = -1
            while done < self.report.harms < self._kills:  # a round that can do no harm at all is the last
                done = self.report.harms
                for name in self._round(seed):
                    progress.update(shown, completed=self.report.harms, description=name)
                seed += 1

    def _round(self, seed: int) -> Iterator[str]:
        """One stack, one deck; yields the name of each harm that is done."""
        folder = Path(tempfile.mkdtemp(prefix=f"tickertape-chaos-{seed}-"))
        dice = random.Random(seed)
        row_seconds = seed % 2  # of an odd seed, the rows are thin
        self._say(seed, f"starting with ROW_SECONDS={row_seconds}, logs in {folder}")
        try:
            with World(folder, seed=seed, row_seconds=row_seconds, with_sources=True) as world:
                world.await_work(120)
                world.start_producer()
                for harm in self._deal(dice):
                    if self.report.harms < self._kills:
                        yield self._harm(world, seed, harm, dice)
                self._settle(world, seed)
        except Exception as error:  # a harness that breaks is a failed round, too
            self._fail(seed, f"{error!r}\nlogs and what was stored: {folder}")
        if not self.report.failures:
            shutil.rmtree(folder, ignore_errors=True)

    def _deal(self, dice: random.Random) -> list[Harm]:
        deck = [harm for harm, times in self._deck.items() for _ in range(times)]
        dice.shuffle(deck)
        return deck

    def _harm(self, world: World, seed: int, harm: Harm, dice: random.Random) -> str:
        time.sleep(dice.uniform(0, _LONGEST_REST_SECONDS))
        started = time.monotonic()
        outcome = harm(world, dice)
        name = harm.__name__.replace("_", " ")
        self.report.add(outcome)
        self.report.most_memory = max(self.report.most_memory, world.service.most_memory())
        recovery = "" if outcome.recovery_seconds is None else f", taken over after {outcome.recovery_seconds:.1f} s"
        self._say(seed, f"{self.report.harms:4} {name}: {time.monotonic() - started:.1f} s{recovery}")
        return name

    def _settle(self, world: World, seed: int) -> None:
        world.settle()
        self.report.faults += world.proxy.counts()
        published, tally, differences = world.verdict()
        self.report.published += published
        self.report.tally += tally
        if differences:
            raise AssertionError("\n".join(differences))
        self._say(seed, "     all equal to the oracle")

    def _fail(self, seed: int, reason: str) -> None:
        self.report.failures.append(f"seed {seed}: {reason}")
        self._say(seed, f"FAILED: {reason}")

    def _say(self, seed: int, text: str) -> None:
        self._console.print(f"seed {seed}: {text}", markup=False, highlight=False, soft_wrap=True)


def table(report: Report, seed: int, seconds: float, memory: float) -> Table:
    """Show what came of it."""
    shown = Table("", "", title=f"seed {seed}, {seconds / 60:.0f} minutes", show_header=False)
    tally, recoveries = report.tally, report.recovery_seconds or [0]
    rows: dict[str, int | str] = {
        "harms": report.harms,
        "kills among them": report.kills,
        "faults injected into requests": report.faults.total(),
        "ticks published": report.published,
        "rows lost": tally.rows_lost,
        "rows doubled": tally.rows_doubled,
        "rows with other numbers": tally.rows_wrong,
        "alerts lost": tally.alerts_lost + tally.messages_lost,
        "alerts doubled": tally.alerts_doubled,
        "alerts with other numbers": tally.alerts_wrong,
        "archive records lost": tally.archive_records_lost,
        "archive records doubled": tally.archive_records_doubled,
        "messages repeated (allowed)": tally.messages_repeated,
        "worst recovery": f"{max(recoveries):.1f} s (failover time {FAILOVER_SECONDS} s)",
        "usual recovery": f"{median(recoveries):.1f} s (median of {len(report.recovery_seconds)} that were timed)",
        "worst stop": f"{report.worst_stop_seconds:.1f} s",
        "worst hand-over at a planned stop": f"{max(report.handover_seconds, default=0):.1f} s",
        "most memory of a shard's process": f"{report.most_memory:.0f} MB",
        f"the same with {_SYMBOLS:,} symbols": f"{memory:.0f} MB",
        "failed rounds": len(report.failures),
    }
    for name, value in rows.items():
        shown.add_row(name, value if isinstance(value, str) else f"{value:,}")
    return shown


def main() -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Harm the pipeline and see what is lost."
    )
    parser.add_argument("--kills", type=int, default=len(DECK), help="how many harms to do (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed does the same (default: %(default)s)")
    parser.add_argument("--only", choices=["kills"], help="kill workers, one after the other, and time the recoveries")
    arguments = parser.parse_args()
    if arguments.kills < 1:
        parser.error("--kills must be 1 or more")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what was started, as Ctrl-C does
    console = Console(stderr=True)
    started = time.monotonic()
    soak = Soak(arguments.kills, arguments.seed, console, KILLS if arguments.only else DECK)
    memory = resident_megabytes(_SYMBOLS).now
    soak.run()
    Console().print(table(soak.report, arguments.seed, time.monotonic() - started, memory))
    return 0 if soak.report.tally.is_perfect and not soak.report.failures else 1


if __name__ == "__main__":
    sys.exit(main())
