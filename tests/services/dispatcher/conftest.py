"""Fixtures: the simulator, its webhook, and a dispatcher between them with a database of the test's own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.runtime.clock import DevelopmentClock
from tests.dev.whatsapp.simulator_under_test import (
    RIGHTS_REQUEST,
    RecordingWebhook,
    SimulatorUnderTest,
    recording_webhook,
    running_simulator,
)
from tests.services.dispatcher.dispatcher_under_test import DispatcherUnderTest, running_dispatcher


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    path = tmp_path / "clock"
    DevelopmentClock.create(path, datetime(2026, 11, 24, 9, tzinfo=UTC))
    return path


@pytest.fixture
async def webhook() -> AsyncIterator[RecordingWebhook]:
    async with recording_webhook() as webhook:
        yield webhook


@pytest.fixture
async def simulator(webhook: RecordingWebhook, clock_file: Path) -> AsyncIterator[SimulatorUnderTest]:
    async with running_simulator(webhook, clock_file) as simulator:
        await simulator.tell("templates", [RIGHTS_REQUEST])
        yield simulator


@pytest.fixture
async def dispatcher(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> AsyncIterator[DispatcherUnderTest]:
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook) as dispatcher:
        yield dispatcher
