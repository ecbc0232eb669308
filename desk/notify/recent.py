"""A memory with an end."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Known = TypeVar("Known", bound=Hashable)

_MOST = 10_000


class Recent(Generic[Known]):
    """Remembers the last 10,000 that were added."""

    def __init__(self) -> None:
        self._known: dict[Known, None] = {}

    def __contains__(self, one: Known) -> bool:
        return one in self._known

    def add(self, one: Known) -> None:
        """Remember one."""
        self._known[one] = None
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
