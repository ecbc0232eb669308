"""How the tests are shared out among the processes that `make test` runs them in."""

import os

import pytest

_MOST_WORKERS = 8
"""Beyond that, it is the longest tests that take the time."""


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: most of the tests wait, most of the time, for processes that they have started."""
    return min(2 * (os.cpu_count() or 1), _MOST_WORKERS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests that share what a fixture of their module makes in one process; begin with those that take long."""
    for item in items:
        if isinstance(item, pytest.Function) and _shares_with_its_module(item):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
    if hasattr(config, "workerinput"):  # this is one of several processes
        items.sort(key=_limit_seconds, reverse=True)


def _shares_with_its_module(item: pytest.Function) -> bool:
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return any(fixture.scope == "module" for overridden in definitions for fixture in overridden)


def _limit_seconds(item: pytest.Item) -> float:
    """Give the time that a test says it may take at most."""
    mark = item.get_closest_marker("timeout")
    return mark.args[0] if mark else 0
