"""Fixtures: ingest's database, and a running ingest process."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from services.ingest.metrics import IngestMetrics
from shared.runtime.postgres import Pool, role_name
from tests.infrastructure import _execute, _in_a_loop, at_database, declare_topics
from tests.services.ingest.service import IngestProcess, WebhookClient, ingest_process, sender


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    """The pool of ingest on a migrated database of the test's own."""
    settings = {"search_path": "ingest", "role": role_name("ingest")}
    async with asyncpg.create_pool(postgres_database, min_size=1, max_size=4, server_settings=settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def metrics() -> IngestMetrics:
    return IngestMetrics()


@pytest.fixture(scope="package")
def running_ingest(kafka_bootstrap: str, postgres_dsn: str, postgres_template: str) -> Iterator[IngestProcess]:
    """One process for all tests that only talk to it; each uses ids of its own."""
    folder = Path(tempfile.mkdtemp(prefix="stet-ingest-"))
    name = f"ingest_{folder.name[-8:].lower()}"
    service = ingest_process(kafka_bootstrap, at_database(postgres_dsn, name), folder)
    _in_a_loop(_begin(service, postgres_dsn, f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}"'))
    yield service
    _in_a_loop(_finish(service, postgres_dsn, f'DROP DATABASE "{name}" WITH (FORCE)'))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def post(running_ingest: IngestProcess) -> AsyncIterator[WebhookClient]:
    async with sender(running_ingest) as ready:
        yield ready


async def _begin(service: IngestProcess, dsn: str, statement: str) -> None:
    await _execute(dsn, statement)
    await declare_topics(service.bootstrap, service.prefix)
    await service.start()


async def _finish(service: IngestProcess, dsn: str, statement: str) -> None:
    await service.child.stop()
    await _execute(dsn, statement)
