"""Java's memory of the KCL's classes: it is used, and one that does not fit does no harm."""

import subprocess
from pathlib import Path

import pytest

from consumer.daemon import class_cache, class_cache_options, class_path, find_java


def version(*options: str) -> tuple[int, str, str]:
    """Ask Java what it is: exit code, stdout, stderr."""
    command = [find_java(), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *options, "-version"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout, run.stderr


def test_the_one_that_was_made_is_used() -> None:
    """With the cache that `make` has made, Java shares classes: it fits the jars, and the daemon's options."""
    options = class_cache_options(class_cache(find_java()))
    assert options, "there is no cache: make .venv/fast-java"
    assert "sharing" in version(*options, "-cp", class_path())[2]


@pytest.mark.parametrize("harm", ["other-jars", "cut", "nonsense", "empty"])
def test_one_that_does_not_fit_is_ignored_in_silence(harm: str, tmp_path: Path) -> None:
    """Of other jars, damaged or none at all: Java starts as without it, and says nothing more."""
    made, cache = class_cache(find_java()), tmp_path / "cache"
    content = {"cut": made.read_bytes()[:1_000_000], "nonsense": b"x" * 10_000, "empty": b""}
    cache.write_bytes(content.get(harm, made.read_bytes()))
    options = class_cache_options(cache)
    assert str(cache) in options[0]
    assert version(*options, "-cp", str(tmp_path)) == version()


def test_without_one_java_is_told_nothing(tmp_path: Path) -> None:
    """Where none was made, the command line is as if there could be none."""
    assert class_cache_options(tmp_path / "cache") == []
