"""What the tests of ingest's places and of its process ask for."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.ingest.measures import Measures
from shared.postgres import Pool, role_of


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    """Ingest's own view of a migrated database."""
    settings = {"search_path": "ingest", "role": role_of("ingest")}
    async with asyncpg.create_pool(postgres_database, min_size=1, max_size=4, server_settings=settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def measures() -> Measures:
    return Measures()
