"""Fixtures that every test may ask for, which files are imported, their order, and how long tests may take."""

from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.infrastructure"]

_UNTIMED = "untimed"
_ON_SERVERS = "integration or flow"  # the run of ``make test`` on real servers
_SERVER_MARKERS = ("mark.integration", "mark.flow")
_FIRST = ("tests/flow/test_chaos.py", "tests/flow/test_observability.py", "tests/flow/test_kills.py")
_AROUND_SECONDS = 240.0
_LIMITS = pytest.StashKey["TimeLimit"]()


class TimeLimit(NamedTuple):
    """The settings of a test, as pytest-timeout names them: ``timeout`` in seconds, and how it is enforced."""

    timeout: float
    method: str
    func_only: bool
    disable_debugger_detection: bool


def pytest_configure() -> None:
    """Property tests judge what is computed, never how fast: a busy machine draws and computes slowly."""
    settings.register_profile(_UNTIMED, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(_UNTIMED)


# ------------------------------------------------------------------ which files, and their order


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave aside what a run on servers alone would import for nothing: four of five files."""
    if config.option.markexpr != _ON_SERVERS or collection_path.suffix != ".py":
        return None
    return True if not needs_servers(collection_path) else None


@cache
def needs_servers(file: Path) -> bool:
    """Whether tests in ``file`` are marked as tests on real servers."""
    text = file.read_text()
    return any(marker in text for marker in _SERVER_MARKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests may take longest, so that no process is left alone with one at the end.

    A test's longest permitted time (``timeout``) stands for how long it takes. The order within a file is kept.
    Of two processes, the one that gets the first file, of a single test, gets the third as well: the kills of
    ``test_kills`` are not made beside those of ``test_chaos``.
    """
    longest: dict[str, float] = {}
    for item in items:
        if _on_servers(item) and not needs_servers(item.path):
            raise pytest.UsageError(f"{item.nodeid} needs servers, so its file has to name one of {_SERVER_MARKERS}")
        marker = item.get_closest_marker("timeout")
        limit = float(marker.args[0]) if marker is not None and marker.args else 0.0
        file = _file(item)
        longest[file] = max(longest.get(file, 0.0), limit)
    items.sort(key=lambda item: (_place(_file(item)), -longest[_file(item)]))


def _on_servers(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("integration", "flow"))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _place(file: str) -> int:
    return _FIRST.index(file) if file in _FIRST else len(_FIRST)


# ------------------------------------------------------------------ how long a test may take


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: TimeLimit) -> None:
    """Keep a test's own limit, with which pytest-timeout begins."""
    item.stash.setdefault(_LIMITS, settings)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Setting up has a limit of its own: starting servers is slow on a busy machine, and is not what a test judges."""
    _limit(item, _AROUND_SECONDS)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    _limit(item, 0.0)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    _limit(item, _AROUND_SECONDS)
    return (yield)


def _limit(item: pytest.Item, more: float) -> None:
    """Start the time of a test anew, with so many seconds more than its own limit; a test without one keeps none."""
    own = item.stash.get(_LIMITS, None)
    if own is not None:
        item.config.hook.pytest_timeout_cancel_timer(item=item)
        item.config.hook.pytest_timeout_set_timer(item=item, settings=own._replace(timeout=own.timeout + more))
