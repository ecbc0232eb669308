"""`make run` shows the page."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.waiting import wait_for

_SERVING = re.compile(r"serving the dashboard at (http://127\.0\.0\.1:\d+/)")


@pytest.mark.timeout(240)
def test_a_local_run_serves_the_page(browser: Browser, tmp_path: Path) -> None:
    """Its address is told, quotes are shown while it runs, and nothing is left of it afterwards."""
    log = tmp_path / "log"
    with log.open("wb") as told:
        run = subprocess.Popen([sys.executable, "-m", "tickertape", "local"], stderr=told, stdin=subprocess.DEVNULL)
    context = browser.new_context(locale="en-US")
    try:
        wait_for(lambda: run.poll() is not None or _SERVING.search(log.read_text()), 120)
        found = _SERVING.search(log.read_text())
        assert found, log.read_text()
        page = context.new_page()
        page.goto(found[1])
        expect(page.locator("tbody tr")).to_have_count(12, timeout=120_000)
    finally:
        context.close()
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(found[1])
