"""Several replicas share the partitions; one that was frozen wakes up to find that the others have read on."""

import signal
from collections import Counter

import pytest

from shared.contracts.topics import MESSAGES_REQUESTED
from tests.shared.promise.testbed import DeliveryTestbed, event, until

pytestmark = pytest.mark.integration
KEYS = [f"person-{number}" for number in range(40)]
EACH = 100
EVENTS = [event(key, number) for number in range(EACH) for key in KEYS]


async def each_once_in_order(testbed: DeliveryTestbed) -> None:
    await until(testbed.all_read)
    ids = [event_id for event_id, _ in await testbed.effects()]
    assert Counter(ids) == Counter(one.id for one in EVENTS)
    for key in KEYS:
        of_key = [event_id for event_id in ids if event_id.startswith(f"{key}#")]
        assert of_key == sorted(of_key)


@pytest.mark.timeout(120)
async def test_replicas_come_and_go(testbed: DeliveryTestbed) -> None:
    """The second half comes when both are there, so that none has read it all before the other could."""
    half = len(EVENTS) // 2
    await testbed.produce(EVENTS[:half])
    first = await testbed.sample("first", STET_SAMPLE_PAUSE="0.6")
    await until(lambda: testbed.reached(500))
    second = await testbed.sample("second", STET_SAMPLE_PAUSE="0.6")
    await until(lambda: second.has_logged("partitions.assigned"))
    await testbed.produce(EVENTS[half:])
    await until(lambda: testbed.workers(2))
    await first.stop()
    await each_once_in_order(testbed)


@pytest.mark.timeout(300)
async def test_a_frozen_replica_wakes_up_too_late(testbed: DeliveryTestbed) -> None:
    await testbed.produce(EVENTS)
    frozen = await testbed.sample("frozen", STET_SAMPLE_PAUSE="0.2")
    await until(lambda: testbed.reached(500))
    frozen.signal(signal.SIGSTOP)
    await testbed.sample("other")
    await until(testbed.all_read, 160)  # its transaction, and then its place in the group, have to end first
    frozen.signal(signal.SIGCONT)
    await testbed.produce([event("person-1", 999_999)])
    await until(lambda: testbed.reached(len(EVENTS) + 1))
    await until(testbed.all_read)
    ids = [event_id for event_id, _ in await testbed.effects()]
    assert set(Counter(ids).values()) == {1}
    assert len({record.value for record in await testbed.read(MESSAGES_REQUESTED.name)}) == len(EVENTS) + 1
