"""How far a long read is, on one line of a terminal."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_PATIENCE_SECONDS = 0.5
_INTERVAL_SECONDS = 0.1


def progress(items: Iterable[Item], about: str, total: int | None = None) -> Iterator[Item]:
    """Pass items on, and say on stderr how many they are by now, if that takes long and somebody looks.

    Parameters
    ----------
    items
        What takes its time to come.
    about
        What they are, for instance ``objects read``.
    total
        How many will come, where that is known.

    """
    if not sys.stderr.isatty():
        yield from items
        return
    due, said = time.monotonic() + _PATIENCE_SECONDS, False
    whole = "" if total is None else f" of {total:,}"
    try:
        for count, item in enumerate(items, 1):
            if time.monotonic() >= due:
                sys.stderr.write(f"\r\x1b[K{count:,}{whole} {about}")
                sys.stderr.flush()
                due, said = time.monotonic() + _INTERVAL_SECONDS, True
            yield item
    finally:
        if said:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
