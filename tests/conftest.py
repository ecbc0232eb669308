"""How the tests are shared out among the processes that `make test` runs them in."""

import os
import signal

import pytest
from xdist.scheduler import LoadScopeScheduling

_MOST_WORKERS = 8
"""Beyond that, it is the longest tests that take the time."""


def pytest_configure() -> None:
    """Have Ctrl-C mean what it does on a terminal: what a script starts in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Five for two cores: most of the tests wait, most of the time, for processes that they have started."""
    return min(5 * (os.cpu_count() or 1) // 2, _MOST_WORKERS)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Share them out by what they have in common."""
    return _BySharedFixtures(config, log)


class _BySharedFixtures(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """The tests of a module with fixtures of its own, like a server, are one piece; any other test is one by itself."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return file if 'scope="module"' in (self.config.rootpath / file).read_text() else nodeid


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with those that take long."""
    if hasattr(config, "workerinput"):  # this is one of several processes
        items.sort(key=_limit_seconds, reverse=True)


def _limit_seconds(item: pytest.Item) -> float:
    """Give the time that a test says it may take at most."""
    mark = item.get_closest_marker("timeout")
    return mark.args[0] if mark else 0
