"""A jar that is not the one that was tested is noticed, and the message says which."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import UserError
from consumer.jars import FOLDER, LIST, check, read_list
from infra.templates import ROOT

JARS = {"a-1.0.jar": b"one", "b-2.0.jar": b"two"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Jars as they should be, and what else may be there."""
    for name, content in JARS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "__init__.py").touch()
    return tmp_path


EXPECTED = {name: hashlib.sha256(content).hexdigest() for name, content in JARS.items()}


def test_what_was_tested_is_taken(folder: Path) -> None:
    """The jars of the list, all of them and no others, are in order."""
    check(folder, EXPECTED)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "a-1.0.jar").unlink(), "(a-1.0.jar missing)"),
        (lambda folder: (folder / "b-2.0.jar").write_bytes(b"twp"), "(b-2.0.jar not the ones that were tested)"),
        (lambda folder: (folder / "c-3.0.jar").touch(), "(c-3.0.jar unknown)"),
        (lambda folder: (folder / "a-1.0.jar").rename(folder / "a-1.1.jar"), "(a-1.0.jar missing; a-1.1.jar unknown)"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, harm: Callable[[Path], object], said: str) -> None:
    """A jar that is missing, changed or too many is named, with what to do."""
    harm(folder)
    with pytest.raises(UserError) as error:
        check(folder, EXPECTED)
    assert said in str(error.value)
    assert "pip install --force-reinstall" in str(error.value)


def test_the_list_is_of_the_jars_that_are_installed() -> None:
    """The command that set-up and image build run finds our jars as the list has them: the KCL's own among them."""
    expected = read_list(LIST)
    assert {jar.name for jar in FOLDER.glob("*.jar")} == expected.keys()
    assert [name for name in expected if name.startswith("amazon-kinesis-client-multilang-")]
    run = subprocess.run([sys.executable, "-m", "consumer.jars"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_set_up_and_image_build_look(file: str) -> None:
    """Neither an environment nor an image is made of jars that nobody has looked at."""
    assert "python -m consumer.jars" in (ROOT / file).read_text()
