"""The browser: npm's package of Chromium where there is one for this machine, else the system's."""

import os
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

from common.errors import UserError
from tests import npm
from tests.installing import installed

_PACKAGE = Path(__file__).parent / "node"
_CACHE = Path(__file__).parents[2] / ".venv" / "browser"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--no-sandbox",  # containers and CI have none to give; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--font-render-hinting=none",
    "--lang=en-US",
)


def folder() -> Path:
    """Give the folder with axe-core, and with Chromium; they are installed unless that was done before."""
    return installed(_PACKAGE / "package-lock.json", _CACHE, _install)


def axe() -> str:
    """Give the script that finds what people with impairments cannot use."""
    return (folder() / "node_modules" / "axe-core" / "axe.min.js").read_text()


def find() -> tuple[str, dict[str, str]]:
    """Give the browser's executable, and the environment that it needs.

    Raises
    ------
    UserError
        There is none for this machine.

    """
    ours = folder() / "chromium"
    if ours.exists():
        return str(ours), _environment(ours)
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise UserError("npm's Chromium is for Linux on x86-64: install the system's, apt-get install chromium")
    return found, dict(os.environ)


def _environment(browser: Path) -> dict[str, str]:
    """Add the libraries and fonts that a bare machine lacks."""
    environment = {**os.environ, "LC_ALL": "en_US.UTF-8"}
    said = subprocess.run(["ldd", browser], capture_output=True, text=True, check=False).stdout
    if "not found" in said:
        environment["LD_LIBRARY_PATH"] = str(browser.with_name("libraries") / "lib")
    if not shutil.which("fc-list"):
        environment["FONTCONFIG_PATH"] = str(browser.with_name("fonts"))
    return environment


def _install(folder: Path) -> None:
    npm.install(_PACKAGE, folder)
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return
    packed = folder / "node_modules" / "@sparticuz" / "chromium" / "bin"
    _inflate(folder, packed / "chromium.br", folder / "chromium")
    (folder / "chromium").chmod(0o755)
    for name, archive in (("libraries", "al2023.tar.br"), ("fonts", "fonts.tar.br")):
        _inflate(folder, packed / archive, folder / f"{name}.tar")
        with tarfile.open(folder / f"{name}.tar") as opened:
            opened.extractall(folder / name, filter="data")
        (folder / f"{name}.tar").unlink()
    shutil.rmtree(packed)


def _inflate(folder: Path, packed: Path, target: Path) -> None:
    """Node can read Brotli, which Python cannot."""
    node, _ = npm.find_node()
    subprocess.run([node, folder / "inflate.mjs", packed, target], check=True, capture_output=True)
