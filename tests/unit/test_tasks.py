"""What both templates tell the tasks, and what the commands in them make of it."""

from pathlib import Path

import pytest

from common.errors import SettingsError
from consumer.rule_settings import with_numbers
from consumer.settings import ConsumerSettings
from desk.notify.settings import NotifySettings
from ecs.tasks import check_settings
from infra.templates import SERVICES, SMALL, Template, deployable
from producer.settings import ProducerSettings
from tests.variants import notifier

TEMPLATES = pytest.mark.parametrize("path", [SERVICES, SMALL], ids=lambda path: path.stem)
SETTINGS = (ProducerSettings, with_numbers(ConsumerSettings), NotifySettings)
FIELDS = {name.upper() for kind in SETTINGS for name in kind.model_fields}
OWN_DEFAULTS = {"ARCHIVE_SECONDS": "300", "EMBEDDED_METRICS": "false"}
"""What the small size sets for itself."""


def environment(template: Template) -> dict[str, str]:
    """All variables of all containers."""
    tasks = template.of_type("ECS::TaskDefinition").values()
    containers = [container for task in tasks for container in task["ContainerDefinitions"]]
    return {variable["Name"]: str(variable["Value"]) for c in containers for variable in c["Environment"]}


@TEMPLATES
def test_every_variable_is_a_setting(path: Path) -> None:
    """Nothing is set that no command reads: AWS's own, the KCL's and librdkafka's properties, and settings."""
    names = environment(deployable(path, notifier(path)))
    assert {n for n in names if n != "AWS_REGION" and not n.startswith(("KCL_", "KAFKA_"))} <= FIELDS


@TEMPLATES
def test_parameters_have_the_defaults_of_the_settings(path: Path) -> None:
    """Without parameters, a task runs as the command does without flags."""
    told = environment(deployable(path, notifier(path)))
    for kind in SETTINGS:
        for name, field in kind.model_fields.items():
            value = told.get(name.upper(), "")
            if value and not field.is_required() and not (path == SMALL and OWN_DEFAULTS.get(name.upper()) == value):
                assert value.lower() == str(field.default).lower(), name


@TEMPLATES
def test_the_commands_take_what_they_are_told(path: Path) -> None:
    """By default and with every setting given, both start."""
    check_settings(deployable(path))
    check_settings(deployable(path, notifier(path)))
    given = {"PriceLevels": '{"KO": 60.5}', "AlertThreshold": "0.5", "FieldMap": '{"TICKER": "symbol"}'}
    template = deployable(path, {**given, "ArchiveSeconds": 3600, "AlertCooldownSeconds": 0})
    check_settings(template)
    told = environment(template)
    assert (told["PRICE_LEVELS"], told["ALERT_THRESHOLD"]) == ('{"KO": 60.5}', "0.5")
    assert (told["FIELD_MAP"], told["ARCHIVE_SECONDS"]) == ('{"TICKER": "symbol"}', "3600")
    assert told["ALERT_COOLDOWN_SECONDS"] == "0"


@TEMPLATES
@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"PriceLevels": '{"KO": "dear"}'}, "`consume` would not start .* PRICE_LEVELS"),
        ({"PriceLevels": '{"KO" 60}'}, "PRICE_LEVELS: it is no JSON"),
        ({"PriceLevels": '{"K O": 60}'}, "PRICE_LEVELS"),
        ({"FieldMap": '{"a": "price", "b": "price"}'}, "FIELD_MAP: both 'a' and 'b' stand for 'price'"),
        ({"AlertThreshold": "9999999999"}, "ALERT_THRESHOLD: a price"),
        ({"RowSeconds": 301}, r"ROW_SECONDS \(301\) must not be above ARCHIVE_SECONDS"),
        ({"Symbols": "KO,ko"}, "`produce` would not start .* SYMBOLS: KO is there more than once"),
    ],
    ids=str,
)
def test_what_a_command_would_refuse_is_refused(path: Path, parameters: dict[str, str], said: str) -> None:
    """What no template can see is told in the command's own words, before anything is created."""
    with pytest.raises(SettingsError, match=said) as refused:
        check_settings(deployable(path, parameters))
    assert "\n" not in str(refused.value)


@TEMPLATES
def test_only_the_tasks_environment_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set where one deploys from is none of the task's, and is there afterwards as before."""
    monkeypatch.setenv("ALERT_COOLDOWN_SECONDS", "never")
    monkeypatch.setenv("REPLAY_SPEED", "never")
    check_settings(deployable(path))
    with pytest.raises(SettingsError):
        check_settings(deployable(path, {"PriceLevels": "{x}"}))
    monkeypatch.delenv("REPLAY_SPEED", raising=True)
