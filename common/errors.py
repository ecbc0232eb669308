"""Errors that people can act on."""


class UserError(Exception):
    """Something that the person at the keyboard can fix: the message says what is wrong and what to do.

    The commands print it as one line, without a traceback, and leave with ``exit_code``: 2 for wrong settings, 1 for
    everything else.
    """

    exit_code = 1


class SettingsError(UserError):
    """A setting is missing or wrong."""

    exit_code = 2
