"""What is asked for: the variables of `make deploy` and its kin."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from common.errors import SettingsError
from ecs.sizes import SIZES

DEFAULT_STACK = "tickertape"
PLATFORMS = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}


@dataclass(frozen=True)
class Request:
    """Variables of the targets; docs/deploy.md explains each."""

    stack: str
    image: str
    stores: Mapping[str, str]
    services: Mapping[str, str]
    size: str
    """Empty: as it is deployed."""
    architecture: str
    repository: str
    github: str
    empties: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read and check them.

        Raises
        ------
        SettingsError
            One of them cannot be meant so.

        """
        given = {name: value.strip() for name, value in environment.items()}
        return cls(
            stack=_stack(given.get("STACK") or DEFAULT_STACK),
            image=given.get("IMAGE", ""),
            stores=_parameters("STORES", given.get("STORES", "")),
            services=_parameters("SERVICES", given.get("SERVICES", "")),
            size=_one_of("SIZE", given.get("SIZE", ""), ("", *SIZES)),
            architecture=_one_of("ARCH", given.get("ARCH") or "X86_64", tuple(PLATFORMS)),
            repository=given.get("REPOSITORY") or DEFAULT_STACK,
            github=given.get("GITHUB", ""),
            empties=_one_of("EMPTY", given.get("EMPTY", ""), ("", "no", "yes")) == "yes",
        )


def _stack(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,34}", name):  # the bucket's name begins with it, and has 63 characters
        raise SettingsError(f"STACK is 1 to 35 letters, digits and hyphens, a letter first, not {name!r}")
    return name


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SettingsError(f"{name} is {' or '.join(filter(None, allowed))}, not {value!r}")
    return value


def _with_json_quoted(name: str, text: str) -> str:
    """Let JSON be typed as it is, `PriceLevels={"AAPL": 200}`: as a word of a shell it would lose its quotes."""
    found = re.search(r"(?<!\S)[A-Za-z0-9]+=(?=\{)", text)
    if found is None:
        return text
    begin = found.end()
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{name}: {found[0]} is not followed by JSON: {error.msg}") from None
    return text[:begin] + shlex.quote(text[begin:end]) + _with_json_quoted(name, text[end:])


def _parameters(name: str, text: str) -> dict[str, str]:
    try:
        words = shlex.split(_with_json_quoted(name, text))
    except ValueError as error:
        raise SettingsError(f"{name} cannot be read: {error}") from None
    for word in words:
        if not re.match(r"[A-Za-z0-9]+=", word):
            raise SettingsError(f'{name} holds parameters, {name}="Name=value Name=value", not {word!r}')
    return dict(word.split("=", 1) for word in words)
