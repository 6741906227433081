"""The simulator's own fixtures: a webhook, a clock file to move, and a simulator between the two."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.runtime.clock import DevelopmentClock
from tests.dev.consonance.simulator_under_test import (
    RecordingWebhook,
    SimulatorUnderTest,
    recording_webhook,
    running_simulator,
)


@pytest.fixture
async def webhook() -> AsyncIterator[RecordingWebhook]:
    async with recording_webhook() as webhook:
        yield webhook


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    DevelopmentClock.create(path, datetime(2027, 3, 3, 10, tzinfo=UTC))
    return path


@pytest.fixture
def clock(clock_file: Path) -> DevelopmentClock:
    return DevelopmentClock(clock_file)


@pytest.fixture
async def simulator(webhook: RecordingWebhook, clock_file: Path) -> AsyncIterator[SimulatorUnderTest]:
    async with running_simulator(webhook.url, clock_file) as simulator:
        yield simulator
