"""Moments as people write them: a time, or how long ago."""

import time
from datetime import UTC, datetime
from re import compile as regex
from typing import Annotated

from pydantic import AfterValidator

from common.tick import NotATickError, normalise_timestamp, timestamp_of

_AGO = regex(r"(\d{1,6}(?:\.\d{1,3})?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def moment(text: str) -> str:
    """Read ``90s``, ``30m``, ``1h``, ``2d`` or ``1w`` ago, or an ISO 8601 time (no offset means UTC).

    Returns
    -------
    ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.

    Raises
    ------
    ValueError
        It is neither.

    """
    ago = _AGO.fullmatch(text.strip())
    if ago:
        then = time.time() - float(ago[1]) * _SECONDS[ago[2]]
        return timestamp_of(max(0, int(then * 1000)))
    try:
        return normalise_timestamp(text.strip())
    except NotATickError:
        raise ValueError("give how long ago, as 90s, 30m, 1h, 2d or 1w, or a time as 2026-01-31T14:30Z") from None


Moment = Annotated[str, AfterValidator(moment)]


def epoch_ms(timestamp: str) -> int:
    """Give the epoch milliseconds of ``YYYY-MM-DDTHH:MM:SS.ffffffZ``."""
    return round(datetime.fromisoformat(timestamp).astimezone(UTC).timestamp() * 1000)
