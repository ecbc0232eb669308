"""MiniStack: an AWS whose IAM says no, in an environment of its own, as it pins libraries that we use, too."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from cfnlint.decode import cfn_yaml

_FOLDER = Path(__file__).parents[1] / "ministack"
_CACHE = Path(__file__).parents[2] / ".venv" / "ministack"
_INSTALL_SECONDS = 120

UNKNOWN = {
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Athena::NamedQuery",
    "AWS::Budgets::Budget",
}
"""Types of resources that it refuses; docs/deploy.md says so."""


def command() -> list[str]:
    """Give the command that starts it and prints its URL; the first time, install it."""
    lock = _FOLDER / "requirements.lock"
    installed = _CACHE / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if not installed.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            made = Path(scratch) / "venv"
            _uv("venv", "--python", sys.executable, str(made))
            _uv("pip", "install", "--python", str(made / "bin" / "python"), "--require-hashes", "-r", str(lock))
            try:
                made.rename(installed)  # whole or not at all: others may be installing it too
            except OSError:
                if not installed.exists():
                    raise
    return [str(installed / "bin" / "python"), str(_FOLDER / "serve.py")]


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([str(uv), *arguments], capture_output=True, timeout=_INSTALL_SECONDS, check=True)


def understood(path: Path, unknown: Collection[str] = UNKNOWN) -> str:
    """Give a template without what it refuses."""
    template = cfn_yaml.load(str(path))
    resources = template["Resources"]
    template["Resources"] = {name: r for name, r in resources.items() if r["Type"] not in unknown}
    return json.dumps(template)
