"""Fixtures that every test may ask for, and the order of the test files."""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.infrastructure"]

_UNTIMED = "untimed"


def pytest_configure() -> None:
    """Property tests judge what is computed, never how fast: a busy machine draws and computes slowly."""
    settings.register_profile(_UNTIMED, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(_UNTIMED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests may take longest, so that no process is left alone with one at the end.

    A test's longest permitted time (``timeout``) stands for how long it takes. The order within a file is kept.
    """
    longest: dict[str, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        limit = float(marker.args[0]) if marker is not None and marker.args else 0.0
        file = item.nodeid.partition("::")[0]
        longest[file] = max(longest.get(file, 0.0), limit)
    items.sort(key=lambda item: -longest[item.nodeid.partition("::")[0]])
