"""The README's picture of the page, from a real run of recorded bars: `make picture`."""

import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import ViewportSize, expect, sync_playwright

from tests.browser import chromium
from tests.waiting import wait_for

_ROOT = Path(__file__).parents[2]
_BARS = _ROOT / "tests" / "data" / "inda_1min.csv"
_PICTURE = _ROOT / "docs" / "dashboard.png"
_SIZE: ViewportSize = {"width": 1200, "height": 750}
_SERVING = re.compile(r"serving the dashboard at (\S+)")
_PATIENCE_MS = 120_000


def main() -> None:
    """Replay the bars, open the chart of their last day, and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "tickertape", "local", "--feed=replay", f"--file={_BARS}", "--speed=max"]
        with log.open("wb") as told:
            run = subprocess.Popen([*command, "--symbol=INDA"], stderr=told, stdin=subprocess.DEVNULL, cwd=_ROOT)
        try:
            wait_for(lambda: run.poll() is not None or _SERVING.search(log.read_text()), 120)
            found = _SERVING.search(log.read_text())
            if found is None:
                sys.exit(log.read_text())
            _take(found[1])
        finally:
            run.send_signal(signal.SIGINT)
            run.wait()


def _take(address: str) -> None:
    path, environment = chromium.find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(chromium.ARGUMENTS), env=dict(environment))
        context = browser.new_context(viewport=_SIZE, locale="en-US", timezone_id="America/New_York")
        page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(address)
        last = _BARS.read_text().split()[-1].split(",")[4]
        expect(page.locator("tr[data-symbol=INDA] .price")).to_have_text(f"{float(last):.2f}", timeout=_PATIENCE_MS)
        page.goto(f"{address}symbol/INDA?span=day")
        page.locator(".alerts a").first.wait_for()
        page.locator("#problems").evaluate("element => element.hidden = true")  # of a replay, the ticks are years old
        page.locator(".chart").hover(position={"x": 640, "y": 200})
        page.screenshot(path=_PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
