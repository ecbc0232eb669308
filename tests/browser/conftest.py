"""What the browser's tests share: a real pipeline with a real consumer, the dashboard over it, and a browser."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import chromium
from tests.integration.pipeline import Pipeline, Put
from tests.waiting import wait_for

BARS = Path(__file__).parents[1] / "data" / "inda_1min.csv"
SYMBOLS = ("AAPL", "KO", "MSFT")
PATIENCE_MS = 120_000
NO_TICK = b"<img src=x onerror=\"document.title='harmed'\"> is no tick"
Open = Callable[..., Page]


class Dashboard:
    """A `tickertape dashboard` of its own, on a port that stays the same when it is started again."""

    def __init__(self, pipeline: Pipeline, *flags: str) -> None:
        self._environment = pipeline.environment()
        self._flags = flags
        self._port = "0"
        self.start()

    def start(self) -> None:
        """Start it, and learn its address."""
        command = [sys.executable, "-m", "tickertape", "dashboard", "--no-local", "--port", self._port, *self._flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self._environment)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        parts = urlsplit(self.address)
        self._port = str(parts.port)
        self.origin = f"{parts.scheme}://{parts.netloc}"

    def kill(self) -> None:
        """Take it away at once."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def tick(symbol: str, price: float, moment: datetime, **fields: object) -> Put:
    """A tick as a producer puts it."""
    told = {"symbol": symbol, "price": price, "timestamp": moment.isoformat(), **fields}
    return Put(symbol, json.dumps(told).encode())


def bars(number: int, first: int = 0) -> list[Put]:
    """Recorded minute bars of INDA, a little of each second of now: a quote is shown with its age."""
    lines = BARS.read_text().splitlines()[1 + first :][:number]
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=number)
    closes = [float(line.split(",")[4]) for line in lines]
    return [
        tick("INDA", close, begin + timedelta(minutes=place), volume=1000 * (first + place), previous_close=closes[0])
        for place, close in enumerate(closes)
    ]


def walk(symbol: str, number: int, seconds: int = 1) -> list[Put]:
    """Ticks whose prices go up and down a little."""
    begin = datetime.now(UTC) - timedelta(seconds=number * seconds)
    return [
        tick(symbol, 100 + place % 7 / 10, begin + timedelta(seconds=place * seconds), previous_close=99, volume=place)
        for place in range(number)
    ]


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The embedded AWS and a consumer that has processed some ticks of some symbols, and what is no tick."""
    with Pipeline(tmp_path_factory.mktemp("pipeline"), shards=1) as running:
        running.create_leases()
        running.start_consumer({"ALERT_COOLDOWN_SECONDS": "0"})
        puts = [*bars(60), *(put for symbol in SYMBOLS for put in walk(symbol, 30)), Put("x", NO_TICK)]
        running.put(puts)
        wait_for(lambda: running.count_rows() == len(puts) - 1, 120, pause_seconds=0.2)
        yield running


@pytest.fixture(scope="session")
def dashboard(pipeline: Pipeline) -> Iterator[Dashboard]:
    """The page's server."""
    serving = Dashboard(pipeline)
    yield serving
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(20) == 0


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    path, environment = chromium.find()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=list(chromium.ARGUMENTS), env=dict(environment.items())
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, dashboard: Dashboard) -> Iterator[Open]:
    """Open a view; at the end nothing may have gone wrong in it, or been asked of another host."""
    contexts, faults = [], []

    def note(page: Page) -> None:
        page.on("console", lambda said: faults.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(dashboard.origin) else faults.append(asked.url))

    def opened(path: str = "/", **options: Any) -> Page:  # noqa: ANN401  (what a browser can be told)
        usual: Mapping[str, Any] = {"locale": "en-US", "timezone_id": "Europe/Berlin"}
        context = browser.new_context(**{**usual, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        note(page)
        page.goto(dashboard.origin + path)
        return page

    opened.faults = faults  # type: ignore[attr-defined]  # for who expects some
    yield opened
    for context in contexts:
        context.close()
    assert faults == []
