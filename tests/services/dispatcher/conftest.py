"""The simulator, its webhook and a dispatcher between them and a database of the test's own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.runtime.clock import DevelopmentClock
from tests.dev.whatsapp.stand import RIGHTS_REQUEST, Hook, Stand, listening, standing
from tests.services.dispatcher.house import House, at_work


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    DevelopmentClock.create(path, datetime(2026, 11, 24, 9, tzinfo=UTC))
    return path


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with listening() as hook:
        yield hook


@pytest.fixture
async def stand(hook: Hook, clock_file: Path) -> AsyncIterator[Stand]:
    async with standing(hook, clock_file) as stand:
        await stand.tell("templates", [RIGHTS_REQUEST])
        yield stand


@pytest.fixture
async def house(postgres_database: str, clock_file: Path, stand: Stand, hook: Hook) -> AsyncIterator[House]:
    async with at_work(postgres_database, clock_file, stand, hook) as house:
        yield house
