"""A stand for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.shared.promise.stand import Stand


@pytest.fixture
async def stand(
    kafka_bootstrap: str, postgres_database: str, run_folder: Path, unique_suffix: str
) -> AsyncIterator[Stand]:
    stand = Stand(kafka_bootstrap, postgres_database, run_folder, f"{unique_suffix}.")
    await stand.prepare()
    try:
        yield stand
    finally:
        await stand.end()
