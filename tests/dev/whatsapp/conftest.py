"""The simulator's own fixtures: a webhook, and a simulator before it on a clock file to move."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.dev.whatsapp.simulator_under_test import (
    RIGHTS_REQUEST,
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
    return datetime(2026, 11, 24, 9, tzinfo=UTC)


@pytest.fixture
async def simulator(webhook: RecordingWebhook, clock_file: Path) -> AsyncIterator[SimulatorUnderTest]:
    """Without disorder, on the development clock, with one template registered."""
    async with running_simulator(webhook, clock_file) as simulator:
        await simulator.tell("templates", [RIGHTS_REQUEST])
        yield simulator
