"""What the README tells people to type is what the commands take."""

import re
import shlex
from pathlib import Path

import pytest

from common.settings import CommandSettings, read_settings
from consumer.rule_settings import with_numbers
from consumer.settings import ConsumerSettings
from infra.local.settings import LocalSettings
from infra.templates import STACK, TEMPLATES, Template, read, services
from producer.settings import ProducerSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURE = (ROOT / "docs" / "configure.md").read_text(encoding="utf-8")


def _runs() -> list[list[str]]:
    """The flags of each ``make run ARGS="..."``."""
    return [shlex.split(flags) for flags in re.findall(r'^make run ARGS="([^"]*)"', README, flags=re.MULTILINE)]


def _table(command: str) -> set[str]:
    """The variables in the table of a command's settings."""
    table = re.search(rf"^\| {command} \| default \| \|\n((?:\|.*\n)+)", CONFIGURE, flags=re.MULTILINE)
    assert table is not None
    first_cells = [line.split("|")[1] for line in table[1].splitlines()]
    return {name for cell in first_cells for name in re.findall(r"`([A-Z_]+)`", cell)}


@pytest.mark.parametrize("flags", _runs(), ids=" ".join)
def test_runs_in_the_readme_are_valid(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each local run that the README shows has flags that exist and files that are there."""
    monkeypatch.chdir(ROOT)
    settings = read_settings(LocalSettings, flags, "local")
    assert settings.producer_flags()


def test_there_are_runs_to_check() -> None:
    """The test above would pass on a README without commands."""
    assert len(_runs()) >= 4


@pytest.mark.parametrize(
    ("command", "kind"), [("producer", ProducerSettings), ("consumer", with_numbers(ConsumerSettings))]
)
def test_settings_in_the_tables_exist(command: str, kind: type[CommandSettings]) -> None:
    """Each variable in the tables of docs/configure.md is a setting of that command."""
    names = _table(command)
    assert len(names) >= 6
    assert names <= {name.upper() for name in kind.model_fields}


@pytest.mark.parametrize(
    "target", ["run", "test", "bench", "test-athena", "chaos", "lint", "format", "lock", "push", "deploy", "destroy"]
)
def test_targets_in_the_readme_exist(target: str) -> None:
    """Each make target that the README names is in the Makefile."""
    assert re.search(rf"\bmake {target}\b", README)
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def _parameters(template: str) -> list[dict[str, str]]:
    """What each ``STORES="..."`` or ``SERVICES="..."`` of the README and the page about cost sets."""
    text = README + (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    return [dict(word.split("=", 1) for word in words.split()) for words in re.findall(rf'{template}="([^"]+)"', text)]


@pytest.mark.parametrize("parameters", _parameters("STORES"), ids=str)
def test_parameters_of_the_stores_are_valid(parameters: dict[str, str]) -> None:
    """Each deployment that is shown sets parameters that infra/stack.yaml takes."""
    assert Template(STACK, parameters).resources


@pytest.mark.parametrize("parameters", _parameters("SERVICES"), ids=str)
def test_parameters_of_the_services_are_valid(parameters: dict[str, str]) -> None:
    """Each deployment that is shown sets parameters that ecs/services.yaml takes."""
    assert services(**parameters).resources


def test_there_are_deployments_to_check() -> None:
    """The two tests above would pass on documents without commands."""
    assert min(len(_parameters("STORES")), len(_parameters("SERVICES"))) >= 3


def test_parameters_in_the_text_exist() -> None:
    """Each parameter that the README names in its text, with its default, is one of a template."""
    section = README[README.index("## Deploy") : README.index("## Cost")]
    named = re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`(?: \((\d+)\))?", section)
    declared = {name: about for path in TEMPLATES for name, about in read(path)["Parameters"].items()}
    assert len(named) >= 8
    for name, default in named:
        assert name in declared
        assert not default or str(declared[name]["Default"]) == default


def test_links_in_the_documentation_lead_somewhere() -> None:
    """Relative links of the README and the documents name files that exist."""
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
