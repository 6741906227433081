"""What the tests of ingest's places and of its process ask for."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from services.ingest.measures import Measures
from shared.runtime.postgres import Pool, role_name
from tests.infrastructure import _execute, _in_a_loop, at_database
from tests.services.ingest.service import Ingest, Sender, ingest, prepare, sender


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    """Ingest's own view of a migrated database."""
    settings = {"search_path": "ingest", "role": role_name("ingest")}
    async with asyncpg.create_pool(postgres_database, min_size=1, max_size=4, server_settings=settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def measures() -> Measures:
    return Measures()


@pytest.fixture(scope="package")
def running_ingest(kafka_bootstrap: str, postgres_dsn: str, postgres_template: str) -> Iterator[Ingest]:
    """One process for all tests that only talk to it; each uses ids of its own."""
    folder = Path(tempfile.mkdtemp(prefix="stet-ingest-"))
    name = f"ingest_{folder.name[-8:].lower()}"
    service = ingest(kafka_bootstrap, at_database(postgres_dsn, name), folder)
    _in_a_loop(_begin(service, folder, postgres_dsn, f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}"'))
    yield service
    _in_a_loop(_finish(service, postgres_dsn, f'DROP DATABASE "{name}" WITH (FORCE)'))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def post(running_ingest: Ingest) -> AsyncIterator[Sender]:
    async with sender(running_ingest) as ready:
        yield ready


async def _begin(service: Ingest, folder: Path, dsn: str, statement: str) -> None:
    await _execute(dsn, statement)
    await prepare(service, folder)
    await service.start()


async def _finish(service: Ingest, dsn: str, statement: str) -> None:
    await service.child.stop()
    await _execute(dsn, statement)
