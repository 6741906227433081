"""Fixtures: writeback's worker between a database of its own and a Consonance simulator."""

from collections.abc import AsyncIterator

import pytest

from tests.services.writeback.writeback_under_test import WritebackUnderTest, running_writeback


@pytest.fixture
async def writeback(postgres_database: str) -> AsyncIterator[WritebackUnderTest]:
    async with running_writeback(postgres_database) as writeback:
        yield writeback


@pytest.fixture
async def narrow_writeback(postgres_database: str) -> AsyncIterator[WritebackUnderTest]:
    """Executes at most two writes at once."""
    async with running_writeback(postgres_database, concurrency=2) as writeback:
        yield writeback
