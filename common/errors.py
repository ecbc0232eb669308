"""Errors that people can act on."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something that the person at the keyboard can fix: the message says what is wrong and what to do.

    The commands print it as one line, without a traceback, and leave with ``exit_code``: 2 for wrong settings, 1 for
    everything else.
    """

    exit_code = 1


class SettingsError(UserError):
    """A setting is missing or wrong."""

    exit_code = 2


def run_command(command: Callable[[], None]) -> int:
    """Run a command and give its exit code; what the person can fix becomes one line on stderr."""
    try:
        command()
    except UserError as error:
        sys.stderr.write(f"tickertape: {error}\n")
        return error.exit_code
    return 0
