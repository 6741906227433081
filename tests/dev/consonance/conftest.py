"""The simulator's own fixtures: a webhook, and a simulator before it on a clock file to move."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

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
def clock_start() -> datetime:
    return datetime(2027, 3, 3, 10, tzinfo=UTC)


@pytest.fixture
async def simulator(webhook: RecordingWebhook, clock_file: Path) -> AsyncIterator[SimulatorUnderTest]:
    async with running_simulator(webhook.url, clock_file) as simulator:
        yield simulator
