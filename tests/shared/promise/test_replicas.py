"""Several replicas share the partitions; one that was frozen wakes up to find that the others have read on."""

import signal
from collections import Counter

import pytest

from shared.contracts.topics import MESSAGES_REQUESTED
from tests.shared.promise.stand import Stand, event, until

pytestmark = pytest.mark.integration
KEYS = [f"person-{number}" for number in range(40)]
EACH = 100
EVENTS = [event(key, number) for number in range(EACH) for key in KEYS]


async def each_once_in_order(stand: Stand) -> None:
    await until(stand.all_read)
    ids = [event_id for event_id, _ in await stand.effects()]
    assert Counter(ids) == Counter(one.id for one in EVENTS)
    for key in KEYS:
        of_key = [event_id for event_id in ids if event_id.startswith(f"{key}#")]
        assert of_key == sorted(of_key)


@pytest.mark.timeout(120)
async def test_replicas_come_and_go(stand: Stand) -> None:
    """The second half comes when both are there, so that none has read it all before the other could."""
    half = len(EVENTS) // 2
    await stand.produce(EVENTS[:half])
    first = await stand.house("first", STET_HOUSE_PAUSE="0.6")
    await until(lambda: stand.reached(500))
    second = await stand.house("second", STET_HOUSE_PAUSE="0.6")
    await until(lambda: second.says("partitions.assigned"))
    await stand.produce(EVENTS[half:])
    await until(lambda: stand.workers(2))
    await first.stop()
    await each_once_in_order(stand)


@pytest.mark.timeout(180)
async def test_a_frozen_replica_wakes_up_too_late(stand: Stand) -> None:
    await stand.produce(EVENTS)
    frozen = await stand.house("frozen", STET_HOUSE_PAUSE="0.2")
    await until(lambda: stand.reached(500))
    frozen.signal(signal.SIGSTOP)
    await stand.house("other")
    await until(stand.all_read, 80)
    frozen.signal(signal.SIGCONT)
    await stand.produce([event("person-1", 999_999)])
    await until(lambda: stand.reached(len(EVENTS) + 1))
    await until(stand.all_read)
    ids = [event_id for event_id, _ in await stand.effects()]
    assert set(Counter(ids).values()) == {1}
    assert len({record.value for record in await stand.read(MESSAGES_REQUESTED.name)}) == len(EVENTS) + 1
