"""How the tests are shared out among the processes that `make test` runs them in."""

import os

import pytest

_MOST_WORKERS = 8
"""Beyond that, it is the longest tests that take the time."""


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: most of the tests wait, most of the time, for processes that they have started."""
    return min(2 * (os.cpu_count() or 1), _MOST_WORKERS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that share what a fixture of their module makes, like a server, in one process."""
    for item in items:
        if isinstance(item, pytest.Function) and _shares_with_its_module(item):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


def _shares_with_its_module(item: pytest.Function) -> bool:
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return any(fixture.scope == "module" for overridden in definitions for fixture in overridden)
