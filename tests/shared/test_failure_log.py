"""A loop whose dependency is away for long: few lines, each with what ends the failure."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
import structlog
from structlog.testing import capture_logs

from shared.runtime import failures as module
from shared.runtime.failures import FailureLog

HINT = "the role of the service lacks a right: stet doctor names it"


class Watch:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    with capture_logs() as written:
        monkeypatch.setattr(module, "log", structlog.get_logger())
        yield written  # type: ignore[misc]


async def test_forty_minutes_of_a_failure_are_some_fifty_lines(lines: list[dict[str, object]]) -> None:
    watch = Watch()
    failures = FailureLog("relay.retried", watch)
    for _ in range(2 * 60 * 40):
        failures.warn(ConnectionRefusedError())
        watch.seconds += 0.5
    assert 40 < len(lines) < 50
    assert "repeated" not in lines[0]
    assert [line.get("repeated") for line in lines[1:4]] == [1, 3, 7]
    assert lines[-1]["repeated"] == 119


async def test_another_error_is_logged_at_once(lines: list[dict[str, object]]) -> None:
    failures = FailureLog("relay.retried", Watch())
    for error in (ConnectionRefusedError(), TimeoutError(), ConnectionRefusedError()):
        failures.warn(error, task="relay")
    assert [(line["error"], line["task"]) for line in lines] == [
        ("ConnectionRefusedError", "relay"),
        ("TimeoutError", "relay"),
    ]


async def test_a_refusal_of_the_database_is_logged_once_with_its_remedy(lines: list[dict[str, object]]) -> None:
    watch = Watch()
    failures = FailureLog("erasure.retried", watch)
    for _ in range(100):
        failures.warn(asyncpg.InsufficientPrivilegeError())
        watch.seconds += 1
    assert [line["event"] for line in lines].count("database.refused") == 1
    assert {line["hint"] for line in lines} == {HINT}


async def test_the_end_is_logged_and_the_next_failure_at_once(
    lines: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_SILENCE_SECONDS", 0.05)
    failures = FailureLog("relay.retried", Watch())
    failures.warn(TimeoutError())
    failures.warn(TimeoutError())
    async with asyncio.timeout(10):
        while len(lines) < 2:
            await asyncio.sleep(0.01)
    failures.warn(TimeoutError())
    assert [line["event"] for line in lines] == ["relay.retried", "failures.ended", "relay.retried"]
    assert (lines[1]["event_name"], lines[1]["failures"]) == ("relay.retried", 2)
