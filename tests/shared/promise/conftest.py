"""A testbed for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.shared.promise.testbed import DeliveryTestbed


@pytest.fixture
async def testbed(
    kafka_bootstrap: str, postgres_database: str, run_folder: Path, unique_suffix: str
) -> AsyncIterator[DeliveryTestbed]:
    testbed = DeliveryTestbed(kafka_bootstrap, postgres_database, run_folder, f"{unique_suffix}.")
    await testbed.prepare()
    try:
        yield testbed
    finally:
        await testbed.end()
