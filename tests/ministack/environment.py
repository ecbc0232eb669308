"""An environment of its own for MiniStack and the AWS CLI: both pin libraries that we use, too."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

_LOCK = Path(__file__).with_name("requirements.lock")
_CACHE = Path(__file__).parents[2] / ".venv" / "ministack"
_INSTALL_SECONDS = 120


def python() -> Path:
    """Give its Python; the first time, install it."""
    installed = _CACHE / hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    if not installed.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            made = Path(scratch) / "venv"
            _uv("venv", "--python", sys.executable, str(made))
            _uv("pip", "install", "--python", str(made / "bin" / "python"), "--require-hashes", "-r", str(_LOCK))
            try:
                made.rename(installed)  # whole or not at all: others may be installing it too
            except OSError:
                if not installed.exists():
                    raise
    return installed / "bin" / "python"


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    ended = subprocess.run([str(uv), *arguments], capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    assert ended.returncode == 0, f"MiniStack could not be installed, is there a network? {ended.stderr}"
