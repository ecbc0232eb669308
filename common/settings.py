"""How settings are read: one class is both the flags and the environment variables."""

import re
import sys
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ValidationError
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from pydantic_settings import SettingsError as PydanticSettingsError

from common.errors import SettingsError
from common.tick import WIRE_FIELDS


class CommandSettings(BaseSettings):
    """The base of every command's settings: ``stream_name`` is ``--stream-name`` and ``STREAM_NAME``; a flag wins."""

    model_config = SettingsConfigDict(
        frozen=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_enforce_required=False,
        cli_exit_on_error=False,
        env_ignore_empty=True,
    )


def _names_are_of_fields(names: dict[str, str]) -> dict[str, str]:
    by_field: dict[str, str] = {}
    for name, field in names.items():
        if field not in WIRE_FIELDS:
            raise ValueError(f"{field!r} is no field of a tick; these are: {', '.join(WIRE_FIELDS)}")
        if field in by_field:
            raise ValueError(f"both {by_field[field]!r} and {name!r} stand for {field!r}")
        by_field[field] = name
    return names


FieldMap = Annotated[dict[str, str], AfterValidator(_names_are_of_fields)]
"""A tick's fields by the names that other producers have for them: of each field one."""


Settings = TypeVar("Settings", bound=CommandSettings)


def read_settings(kind: type[Settings], arguments: list[str], command: str) -> Settings:
    """Read settings from flags and environment.

    Raises
    ------
    SettingsError
        A value is missing or wrong: one line names each.

    """
    program, sys.argv[0] = sys.argv[0], f"tickertape {command}"  # argparse shows it in --help
    try:
        return CliApp.run(kind, cli_args=arguments)
    except ValidationError as error:
        problems = (_describe(problem["loc"], problem["msg"], problem.get("input")) for problem in error.errors())
        raise SettingsError("; ".join(problems)) from None
    except PydanticSettingsError as error:
        raise SettingsError(_what_is_no_json(str(error)) or " ".join(str(error).split())) from None
    finally:
        sys.argv[0] = program


def _what_is_no_json(message: str) -> str | None:
    found = re.search(r'^error parsing value for field "(\w+)"', message)
    return f'{found[1].upper()}: it is no JSON; give it as {{"name": value}}' if found else None


def _describe(location: tuple[int | str, ...], message: str, value: object) -> str:
    reason = message.removeprefix("Value error, ")
    if not location:
        return reason
    name = str(location[0]).upper()
    shown = f" (it is {str(value)[:80]!r})" if isinstance(value, str | int | float) else ""
    return f"{name}: {reason}{shown}"
