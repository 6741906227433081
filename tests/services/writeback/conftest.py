"""A desk: writeback's queue at work between a database of its own and a Consonance simulator."""

from collections.abc import AsyncIterator

import pytest

from tests.services.writeback.desk import Desk, at_desk


@pytest.fixture
async def desk(postgres_database: str) -> AsyncIterator[Desk]:
    async with at_desk(postgres_database) as desk:
        yield desk


@pytest.fixture
async def narrow_desk(postgres_database: str) -> AsyncIterator[Desk]:
    """One that carries no more than two writes at once."""
    async with at_desk(postgres_database, width=2) as desk:
        yield desk
