"""An environment of its own for MiniStack, which pins libraries that we use, too."""

import subprocess
import sys
from pathlib import Path

from tests.installing import installed

_LOCK = Path(__file__).with_name("requirements.lock")
_CACHE = Path(__file__).parents[2] / ".venv" / "ministack"
_INSTALL_SECONDS = 120


def python() -> Path:
    """Give its Python; the first time, install it."""
    return installed(_LOCK, _CACHE, _install) / "bin" / "python"


def _install(folder: Path) -> None:
    _uv("venv", "--python", sys.executable, str(folder))
    _uv("pip", "install", "--python", str(folder / "bin" / "python"), "--require-hashes", "-r", str(_LOCK))


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    ended = subprocess.run([str(uv), *arguments], capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    assert ended.returncode == 0, f"MiniStack could not be installed, is there a network? {ended.stderr}"
