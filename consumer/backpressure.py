"""Waiting for AWS instead of losing what it does not take."""

import os
from collections.abc import Callable
from typing import TypeVar

from common import aws

Result = TypeVar("Result")

_DAEMON = os.getppid()


def persist(call: Callable[[], Result], *, about: str) -> Result:
    """Make ``call`` until it succeeds, for as long as the daemon lives; see `common.aws.persist`.

    The daemon waits for our answer and so cannot tell us that the lease was lost. That does no harm, all effects are
    idempotent; but without a daemon nobody will ever ask again.
    """
    return aws.persist(call, about=about, stop=lambda _: os.getppid() != _DAEMON)
