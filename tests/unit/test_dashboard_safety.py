"""Who may see the page, and what a browser may do with it."""

import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from common.errors import SettingsError
from common.settings import read_settings
from desk.dashboard.__main__ import main
from desk.dashboard.app import PAGE
from desk.dashboard.safety import Safety
from desk.dashboard.settings import DashboardSettings

TOKEN = "a token of twenty-six char"  # noqa: S105  (nobody else's)
LARGEST_PAGE_BYTES = 150_000


def client(token: str | None = None, names: frozenset[str] = frozenset()) -> httpx.AsyncClient:
    """Ask a page that says who it is, behind the safety."""
    page = Starlette(routes=[Route("/{path:path}", lambda _: PlainTextResponse("the page"))])
    transport = httpx.ASGITransport(Safety(page, token, names))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765")


async def get(
    path: str = "/",
    headers: Mapping[str, str | bytes] | None = None,
    token: str | None = None,
    names: frozenset[str] = frozenset(),
) -> httpx.Response:
    """Ask once."""
    async with client(token, names) as asking:
        return await asking.get(path, headers=dict(headers or {}))  # type: ignore[arg-type]  # it takes both


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that the server has."""
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765", "[::1]", "192.168.1.7:80", "desk.example.com"],
)
async def test_own_names_are_answered(host: str) -> None:
    """Addresses, localhost, and the names that were allowed: nobody can make the first two resolve to somebody else."""
    answer = await get(headers={"host": host}, names=frozenset({"desk.example.com"}))
    assert (answer.status_code, answer.text) == (200, "the page")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "localhost.evil.example"]
)
async def test_other_names_are_refused(host: str) -> None:
    """A site whose name resolves to this machine does not read the page as its own."""
    answer = await get(headers={"host": host})
    assert answer.status_code == 421
    assert "--allow-host" in answer.text


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/chart", "/nothing"])
async def test_the_browser_keeps_to_our_files(path: str) -> None:
    """Every answer says that only what comes from here may be loaded, run and framed."""
    headers = (await get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.anyio
async def test_refusals_have_the_headers_too() -> None:
    """What is said to strangers is no less safe."""
    assert "content-security-policy" in (await get(headers={"host": "evil.example"})).headers


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "cors", 403),
        ("same-site", "no-cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
    ],
)
async def test_other_sites_may_link_and_not_read(site: str, mode: str, status: int) -> None:
    """A page elsewhere cannot even have the tables polled; a link to ours works."""
    assert (await get(headers={"sec-fetch-site": site, "sec-fetch-mode": mode})).status_code == status


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/events", "/chart?symbol=KO", "/page/app.js"])
async def test_nothing_is_shown_without_the_token(path: str) -> None:
    """Where there is a token, every address needs it; the answer says what to do."""
    answer = await get(path, token=TOKEN)
    assert answer.status_code == 401
    assert "tickertape dashboard" in answer.text


@pytest.mark.anyio
@pytest.mark.parametrize("given", ["x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü"])
async def test_a_wrong_token_is_refused(given: str) -> None:
    """Also one that is nearly right, in the address or in the cookie."""
    assert (await get(f"/?token={given}", token=TOKEN)).status_code == 403
    assert (await get(headers={"cookie": f"tickertape_token={given}".encode()}, token=TOKEN)).status_code == 401


@pytest.mark.anyio
async def test_the_right_token_goes_from_the_address_into_a_cookie() -> None:
    """It stays in no address: the browser is sent to the same view, and knows the token from then on."""
    async with client(TOKEN) as asking:
        answer = await asking.get("/alerts", params={"token": TOKEN, "severity": "critical"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/alerts?severity=critical")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert (await asking.get("/alerts?severity=critical")).text == "the page"


@pytest.mark.parametrize("host", ["192.168.1.7", "::", "0.0.0.0", "desk.example.com"])  # noqa: S104  (refused)
def test_others_need_a_token(host: str) -> None:
    """Another address than loopback is refused without one."""
    with pytest.raises(SettingsError, match="--token random"):
        read_settings(DashboardSettings, ["--host", host], "dashboard")
    assert read_settings(DashboardSettings, ["--host", host, "--token", TOKEN], "dashboard").secret() == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    """What only this machine can reach is open to it."""
    assert read_settings(DashboardSettings, ["--host", host], "dashboard").secret() is None


def test_a_token_that_can_be_guessed_is_refused() -> None:
    """It has 16 characters at least."""
    with pytest.raises(SettingsError, match="fewer than 16"):
        read_settings(DashboardSettings, ["--token", "secret"], "dashboard")


def test_random_tokens_differ() -> None:
    """Each start makes another one, of 192 bits."""
    settings = read_settings(DashboardSettings, ["--token", "random"], "dashboard")
    first, second = settings.secret(), settings.secret()
    assert first != second
    assert len(first or "") == 32
    assert (first or "") not in repr(settings)


def test_a_port_in_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says what to do, and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tickertape: port {port} of 127.0.0.1 cannot be listened on")
    assert "--port 0" in line


def test_the_page_is_small() -> None:
    """All that a browser loads, the charts' library too, is less than a picture."""
    assert sum(file.stat().st_size for file in PAGE.rglob("*") if file.is_file()) < LARGEST_PAGE_BYTES


def test_the_page_names_no_other_host() -> None:
    """Nothing is loaded from elsewhere, and no script or style stands in the page itself."""
    for file in PAGE.glob("*.*"):
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text), file
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|<script>|\son\w+=|style=", html)


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    """What is installed has every file of the page, and the licence of what is not ours."""
    root = Path(__file__).parents[2]
    command = [str(Path(sys.executable).with_name("uv")), "build", "--quiet", "--wheel"]
    subprocess.run([*command, "--out-dir", str(tmp_path), str(root)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = {str(file.relative_to(root)) for file in PAGE.rglob("*") if file.is_file()}
    assert "desk/dashboard/page/uplot/LICENSE" in files
    assert files <= packed
