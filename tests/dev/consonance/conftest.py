"""The simulator's own fixtures: a webhook, a clock file to move, and a simulator between the two."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.runtime.clock import DevelopmentClock
from tests.dev.consonance.stand import Hook, Stand, listening, standing


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with listening() as hook:
        yield hook


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    DevelopmentClock.create(path, datetime(2027, 3, 3, 10, tzinfo=UTC))
    return path


@pytest.fixture
def clock(clock_file: Path) -> DevelopmentClock:
    return DevelopmentClock(clock_file)


@pytest.fixture
async def stand(hook: Hook, clock_file: Path) -> AsyncIterator[Stand]:
    async with standing(hook.url, clock_file) as stand:
        yield stand
