"""How a local run is found: while its process lives, by the user whose it is, and by nobody's invention."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from desk import running

_ANNOUNCE = """
import sys
from pathlib import Path
from desk import running
running.announce(Path(sys.argv[1]), {"TICKS_TABLE": sys.argv[2]})
print("announced", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files where no other run is."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def _run(folder: Path, table: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has announced itself."""
    folder.mkdir(mode=0o700, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", _ANNOUNCE, str(folder), table],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"AWS_ENDPOINT_URL": "http://127.0.0.1:5", "SECRET": "x", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"announced\n"
        yield process
        process.kill()


def test_a_run_is_found_while_it_lives(temporary: Path) -> None:
    """What is found is its AWS and its names, and nothing else of its environment; after a kill -9, nothing."""
    folder = temporary / f"{running.FOLDER_PREFIX}a"
    with _run(folder, "ticks"):
        assert running.find() == {"AWS_ENDPOINT_URL": "http://127.0.0.1:5", "TICKS_TABLE": "ticks"}
    assert any(folder.iterdir())
    assert running.find() is None


def test_the_youngest_run_is_meant(temporary: Path) -> None:
    """Of two runs the one that was started last is asked; when it has ended, the other."""
    with _run(temporary / f"{running.FOLDER_PREFIX}b", "first"):
        with _run(temporary / f"{running.FOLDER_PREFIX}a", "second"):
            assert (running.find() or {})["TICKS_TABLE"] == "second"
        assert (running.find() or {})["TICKS_TABLE"] == "first"


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_may_write_is_not_believed(temporary: Path, mode: int) -> None:
    """Whoever can write the file could have others' questions sent to an endpoint of their own."""
    folder = temporary / f"{running.FOLDER_PREFIX}a"
    with _run(folder, "ticks"):
        folder.chmod(mode)
        assert running.find() is None
        folder.chmod(0o700)
        assert running.find() is not None


def test_a_link_to_a_folder_is_not_believed(temporary: Path) -> None:
    """A link may belong to anybody."""
    with _run(temporary / "elsewhere", "ticks"):
        (temporary / f"{running.FOLDER_PREFIX}a").symlink_to(temporary / "elsewhere")
        assert running.find() is None


def test_garbage_is_passed_over(temporary: Path) -> None:
    """A file that is not ours to read, or no announcement, is no run."""
    folder = temporary / f"{running.FOLDER_PREFIX}a"
    with _run(folder, "ticks"):
        (folder / "system.json").write_text("[]")
        assert running.find() is None
