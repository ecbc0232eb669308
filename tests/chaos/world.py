"""A whole pipeline to do harm to: real processes behind a proxy that can misbehave, with traffic that never rests."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Self

from tests.chaos.faulty_proxy import FaultyProxy
from tests.chaos.kinesis_local import KinesisLocal
from tests.chaos.sources import Supplies
from tests.chaos.tasks import Service
from tests.compare import Tally, differences, tally
from tests.integration.pipeline import Pipeline, Put
from tests.integration.traffic import DATA, traffic
from tests.oracle import Settings, bars, expect

CONSUMER = {
    "ALERT_COOLDOWN_SECONDS": "600",
    "ALERT_THRESHOLD": "44",
    "RETENTION_DAYS": "7",
    # a split's children begin when these have found them
    "KCL_PARENT_SHARD_POLL_INTERVAL_MILLIS": "1000",
}
SETTINGS = Settings(alert_cooldown_seconds=600, alert_threshold=Decimal(44))
RETENTION_DAYS = 7
FAILOVER_SECONDS = 3
_PUTS_AT_A_TIME = 10
_DRAIN_SECONDS = 240


class World:
    """The stack, its proxy, a service of consumers, and traffic; from entering the context until leaving it.

    Parameters
    ----------
    folder
        Logs and exports go there.
    seed
        Of the traffic and the faults.
    records_per_second
        Of the mixed traffic; a producer's replay comes on top.
    tasks
        Consumers at the start.
    row_seconds
        How thin the rows are; 0 is a row for every tick.
    settings
        More settings of the consumers.
    with_sources
        Whether ticks come from a queue and a Kafka topic, too.

    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        records_per_second: float = 25,
        tasks: int = 2,
        row_seconds: int = 0,
        settings: Mapping[str, str] | None = None,
        with_sources: bool = False,
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._pace = records_per_second
        self._tasks = tasks
        self._row_seconds = row_seconds
        self._settings = {**CONSUMER, "ROW_SECONDS": str(row_seconds), **(settings or {})}
        self._with_sources = with_sources
        self._open = ExitStack()
        self._quiet = threading.Event()
        self._publishing = threading.Thread(target=self._publish, name="traffic", daemon=True)
        self._producers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start everything."""
        with self._open:
            kinesis = self._open.enter_context(KinesisLocal(self._folder))
            self.pipeline = self._open.enter_context(Pipeline(self._folder, shards=2, kinesis_url=kinesis.url))
            mark = dict([self.pipeline.mark.split("=", 1)])
            self.proxy = self._open.enter_context(
                FaultyProxy(self.pipeline.url, kinesis=kinesis.url, seed=self._seed, environment=mark)
            )
            self.pipeline.endpoint = self.proxy.url
            self.pipeline.create_leases()
            environment = self.pipeline.environment() | self._settings
            self.service = self._open.enter_context(Service(self._folder, environment, self._tasks))
            self.supplies = Supplies(self._folder, self.pipeline)
            if self._with_sources:
                self._open.enter_context(self.supplies)
            self._open.callback(self._kill_producers)
            self._open.callback(self._quiet.set)
            self._open = self._open.pop_all()
        self._publishing.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._open.close()

    def await_work(self, seconds: float) -> None:
        """Wait until every shard is processed."""
        since = time.monotonic()
        while left := self._open_shard_ids() - self.service.beats(since).keys():
            assert time.monotonic() < since + seconds, f"{sorted(left)} are not processed after {seconds:.0f} s"
            time.sleep(0.5)

    def _open_shard_ids(self) -> set[str]:
        return {shard["ShardId"] for shard in self.pipeline.open_shards()}

    def start_producer(self) -> subprocess.Popen[bytes]:
        """Start a producer that replays a file of minute bars, from its beginning, through the proxy.

        Every other one packs several ticks into a record.
        """
        settings = {
            "AGGREGATE": str(len(self._producers) % 2 == 0),
            "FEED": "replay",
            "REPLAY_FILE": str(DATA / "inda_1min.csv"),
            "REPLAY_SPEED": "6000",
            "SYMBOL": "REAL",
        }
        with (self._folder / f"producer-{len(self._producers)}.log").open("wb") as log:
            producer = subprocess.Popen(
                [sys.executable, "-m", "tickertape", "produce"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.pipeline.environment() | settings,
            )
        self._producers.append(producer)
        return producer

    def producers(self) -> list[subprocess.Popen[bytes]]:
        """Those that run."""
        return [producer for producer in self._producers if producer.poll() is None]

    def settle(self) -> None:
        """End the traffic and all faults, and wait until everything is processed and archived."""
        self.proxy.inject()
        self._quiet.set()
        self._publishing.join()
        for supply in self.supplies.all:
            supply.settle()
        for producer in self.producers():
            producer.terminate()
        for producer in self._producers:
            producer.wait(60)
        deadline = time.monotonic() + _DRAIN_SECONDS
        ends = self.pipeline.last_positions()
        while left := self.pipeline.unfinished(ends):
            assert time.monotonic() < deadline, f"not processed after {_DRAIN_SECONDS} s: {left}"
            time.sleep(0.5)

    def verdict(self) -> tuple[int, Tally, list[str]]:
        """Compare all that is stored with what the oracle makes of the stream, once all is settled.

        Returns
        -------
        How many records are in the stream, what is lost or doubled, and differences in words.

        """
        export = self.pipeline.export(self._folder / "export")
        stream = self.pipeline.records()
        expected = expect(stream, replace(SETTINGS, row_seconds=self._row_seconds))
        found = differences(export, expected, same_bytes=True, retention_days=RETENTION_DAYS, repeats_allowed=True)
        found += [difference for supply in self.supplies.all for difference in supply.differences(stream)]
        return len(expected.archived) + len(expected.quarantined), tally(export, expected), found

    def _publish(self) -> None:
        """Put mixed traffic at its pace, straight into the stream: what is put there is what must come out."""
        for puts in self._traffic():
            if self._quiet.is_set():
                return
            self.pipeline.put(puts)
            self._quiet.wait(len(puts) / self._pace)

    def _traffic(self) -> Iterator[list[Put]]:
        symbols = {str(tick["symbol"]) for tick in bars(DATA / "sp500_daily.csv")}
        everything = traffic(self._seed, minutes=3000, symbols=symbols)
        for start in range(0, len(everything), _PUTS_AT_A_TIME):
            yield everything[start : start + _PUTS_AT_A_TIME]

    def _kill_producers(self) -> None:
        for producer in self.producers():
            producer.kill()
            producer.wait()
