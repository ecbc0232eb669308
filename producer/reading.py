"""How a file of rows is to be read, as far as the file itself does not say."""

from dataclasses import dataclass
from datetime import time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from producer.numbers import Mark

if TYPE_CHECKING:
    from producer.layouts import Column  # it looks at timestamps, and these are read as is said here

PASSED_OVER = "passed over"
"""A name that means nothing to us."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a person says of a file; None leaves it to the file."""

    columns: tuple[str, ...] = ()
    """Names of the columns, in order, of a file without a header, or instead of its header; - is passed over."""
    separator: str | None = None
    """One character between the fields of a text file."""
    decimal: Mark | None = None
    """What begins the decimals of a number: a point or a comma."""
    time_format: str | None = None
    """The format of timestamps, in the letters of strptime."""
    timezone: ZoneInfo | None = None
    """Where clocks showed the timestamps that have no offset; None is UTC."""
    session_timezone: ZoneInfo | None = None
    """Where a session's day is a day, if timestamps have no offset; None is ``timezone``."""
    session_start: time = time(0)
    """When a session's day begins; one after midnight means the evening before."""

    def names(self, own: "tuple[Column, ...]") -> "tuple[Column, ...]":
        """Name the columns of a row: as is said of the file, or else as the file does."""
        if not self.columns:
            return own
        said = (PASSED_OVER if name in {"", "-"} else name for name in self.columns)
        return (*said, *(PASSED_OVER for _ in own))[: len(own)]
