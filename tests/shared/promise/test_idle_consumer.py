"""An idle service hardly wakes, and reads a record at once when it comes."""

import asyncio
import time
from statistics import median

import psutil
import pytest

from tests.shared.promise.testbed import DeliveryTestbed, SampleService, event, until

pytestmark = pytest.mark.integration
SECONDS = 4.0
MOST_WAKES = 60  # a second; the poll of FastStream alone has 100
SOON = 1.0  # seconds; a record is read as soon as the broker has it, and the rest is for a busy machine


@pytest.fixture
async def idle_sample(testbed: DeliveryTestbed) -> SampleService:
    sample = await testbed.sample()
    await testbed.produce([event("before", 0)])
    await until(testbed.all_read)
    await asyncio.sleep(SECONDS)
    return sample


async def test_an_idle_service_hardly_wakes(idle_sample: SampleService) -> None:
    process = psutil.Process(idle_sample.pid)
    before = process.num_ctx_switches().voluntary
    await asyncio.sleep(SECONDS)
    assert (process.num_ctx_switches().voluntary - before) / SECONDS <= MOST_WAKES


@pytest.mark.usefixtures("idle_sample")
async def test_a_record_ends_the_wait_of_an_idle_service(testbed: DeliveryTestbed) -> None:
    took = []
    for number in range(5):
        await asyncio.sleep(0.7)
        await testbed.produce([event("after", number)])
        began = time.monotonic()
        await until(testbed.all_read)
        took.append(time.monotonic() - began)
    assert median(took) <= SOON, took
