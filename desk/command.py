"""What the commands that ask have in common: their settings, and how they end."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Self

from pydantic import Field, model_validator

from common.errors import SettingsError, run_command
from common.tick import NotATickError, normalise_symbol
from desk.output import Format
from desk.system import SystemSettings

_INTERRUPTED = 130


class QuestionSettings(SystemSettings):
    """The base of the settings of a command that writes rows."""

    format: Format | None = Field(
        None, description="How rows are written; by default a table on a terminal, else tab-separated text."
    )


class FollowSettings(QuestionSettings):
    """The base of the settings of a command that can go on."""

    follow: bool = Field(False, description="Go on and show what is new, until Ctrl-C.")

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.follow and self.format == "json":
            raise ValueError("a JSON array has an end, which --follow has not: choose --format jsonl")
        return self


def run(question: Callable[[], None]) -> int:
    """Ask, and give the exit code; Ctrl-C and a reader that has read enough end it without a word."""
    logging.getLogger().addHandler(logging.NullHandler())  # repeated attempts end in an answer, or in an error
    try:
        code = run_command(question)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes
        return 0
    return code


def symbols_of(names: list[str]) -> list[str]:
    """Fold symbols to upper case.

    Raises
    ------
    SettingsError
        One cannot be a symbol.

    """
    try:
        return list(dict.fromkeys(map(normalise_symbol, names)))
    except NotATickError as error:
        raise SettingsError(str(error)) from None
