"""A topic that was deleted and created again is noticed before a record of it is passed over, on a real broker."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.contracts.topics import MESSAGES_EVENTS
from tests.infrastructure import declare_topics
from tests.shared.promise.testbed import DeliveryTestbed, SampleService, event, until

pytestmark = pytest.mark.integration
PLACES = "rules.progress where topic = 'messages.events'"


async def recreate(testbed: DeliveryTestbed) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=testbed.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([testbed.prefix + MESSAGES_EVENTS.name])
    finally:
        await admin.close()
    await until(lambda: _is_there_again(testbed))


async def _is_there_again(testbed: DeliveryTestbed) -> bool:
    """The topic may be gone only after it was found, so that it was not created."""
    await declare_topics(testbed.bootstrap, testbed.prefix)
    try:
        ends = await asyncio.wait_for(testbed.ends(), 5)
    except (TimeoutError, KafkaError):
        return False
    return not any(ends.values())


async def read_sample(testbed: DeliveryTestbed) -> SampleService:
    """A service that has read a hundred records."""
    sample = await testbed.sample()
    await testbed.produce(event(f"before{number}", number) for number in range(100))
    await until(testbed.all_read)
    return sample


async def _has_ended(sample: SampleService) -> bool:
    return not sample.alive


async def named(sample: SampleService) -> bool:
    return await sample.has_logged("messages.events:0") and await sample.has_logged("stet topics reread")


@pytest.mark.parametrize("records", [0, 20, 500])
async def test_a_service_that_starts_names_a_recreated_topic_and_passes_over_no_record(
    testbed: DeliveryTestbed, records: int
) -> None:
    sample = await read_sample(testbed)
    await sample.stop()
    await recreate(testbed)
    await testbed.produce(event(f"after{number}", number) for number in range(records))
    again = await testbed.sample("again")
    await until(lambda: _has_ended(again), seconds=90)
    assert await named(again)
    assert await testbed.count() == 100


async def test_a_service_that_runs_names_a_recreated_topic(testbed: DeliveryTestbed) -> None:
    sample = await read_sample(testbed)
    await recreate(testbed)
    await testbed.produce(event(f"after{number}", number) for number in range(500))
    await until(lambda: _has_ended(sample), seconds=90)
    assert await named(sample)


async def test_a_topic_that_is_read_again_has_each_effect_once(testbed: DeliveryTestbed) -> None:
    sample = await read_sample(testbed)
    await sample.stop()
    await recreate(testbed)
    await testbed.produce(event(f"before{number}", number) for number in range(50))
    await testbed.produce(event(f"after{number}", number) for number in range(500))
    await testbed.run_sql(f"delete from {PLACES}")  # noqa: S608 -- a name of ours
    await testbed.sample("again")
    await until(testbed.all_read)
    assert await testbed.count() == 600


async def test_progress_of_before_topics_had_ids_takes_that_of_the_topic(testbed: DeliveryTestbed) -> None:
    sample = await read_sample(testbed)
    await sample.stop()
    await testbed.run_sql("update rules.progress set topic_id = null")
    await testbed.sample("again")
    await testbed.produce(event(f"after{number}", number) for number in range(100))
    await until(testbed.all_read)
    assert await testbed.rows(f"select 1 from {PLACES} and topic_id is null") == []  # noqa: S608 -- as above
