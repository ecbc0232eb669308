"""What the commands in the tasks would say to the settings that a template gives them."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from common.errors import SettingsError
from common.settings import read_settings
from consumer.rule_settings import read_with_numbers
from consumer.settings import ConsumerSettings
from infra.templates import Template
from producer.settings import ProducerSettings


def _read_notifier(arguments: list[str], command: str) -> object:
    from desk.notify.settings import NotifySettings  # noqa: PLC0415  (it brings a hundred chat services)

    return read_settings(NotifySettings, arguments, command)


_READ: Mapping[str, Callable[[list[str], str], object]] = {
    "produce": partial(read_settings, ProducerSettings),
    "consume": partial(read_with_numbers, ConsumerSettings),
    "notify": _read_notifier,
}
_SECRETS = {"NOTIFY_URLS": "json://localhost"}
"""What could be in them: only ECS may read what is."""


def check_settings(services: Template) -> None:
    """See that each container would start with its environment.

    Raises
    ------
    SettingsError
        A command would refuse a setting: its own words.

    """
    for task in services.of_type("ECS::TaskDefinition").values():
        for container in task["ContainerDefinitions"]:
            (command,) = container["Command"]
            told = {variable["Name"]: str(variable["Value"]) for variable in container["Environment"]}
            secrets = {secret["Name"]: _SECRETS[secret["Name"]] for secret in container.get("Secrets", ())}
            with _environment(told | secrets):
                _read(command)


def _read(command: str) -> None:
    try:
        _READ[command]([], command)
    except SettingsError as error:
        raise SettingsError(f"`{command}` would not start with these SERVICES: {error}") from None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these variables and no others, as a task has."""
    ours = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(ours)
