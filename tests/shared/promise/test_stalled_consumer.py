"""A client of Kafka that no longer reads, without a visible error, is replaced, and nothing is lost."""

from collections import Counter

import pytest

from shared.runtime.progress import Partition, StallDetector
from tests.shared.promise.testbed import DeliveryTestbed, event, until

EVENTS = [event(f"person-{number % 20}", number) for number in range(400)]
HALF = len(EVENTS) // 2
FIRST: Partition = ("contacts", 0)
SECOND: Partition = ("contacts", 1)


@pytest.mark.integration
@pytest.mark.timeout(120)
@pytest.mark.parametrize("stall", ["errors", "paused"])
async def test_a_client_that_reads_nothing_any_more_is_replaced(testbed: DeliveryTestbed, stall: str) -> None:
    service = await testbed.service("stalling", "tests.shared.promise.stalling_service", SAMPLE_STALL=stall)
    await testbed.produce(EVENTS[:HALF])
    await until(lambda: testbed.reached(1))
    await testbed.produce(EVENTS[HALF:])
    await until(lambda: service.has_logged("ConsumerStalled"))
    await until(testbed.all_read)
    ids = [event_id for event_id, _ in await testbed.effects()]
    assert Counter(ids) == Counter(one.id for one in EVENTS)


def detector(*observations: tuple[dict[Partition, int], dict[Partition, int]]) -> StallDetector:
    """After observations of (ends, progress)."""
    found = StallDetector()
    for ends, progress in observations:
        found.observe(ends, progress)
    return found


def test_unread_records_that_stay_unread_for_a_minute_are_a_stall() -> None:
    observation = ({FIRST: 5, SECOND: 9}, {FIRST: 3, SECOND: 9})
    assert not detector(*[observation] * 6).is_stalled([FIRST, SECOND])
    assert detector(*[observation] * 7).is_stalled([FIRST, SECOND])


def test_a_partition_read_to_its_end_is_no_stall() -> None:
    assert not detector(*[({FIRST: 5}, {FIRST: 5})] * 50).is_stalled([FIRST])


def test_a_partition_waits_its_turn_while_others_are_read() -> None:
    observations = [({FIRST: 5, SECOND: 900}, {FIRST: 3, SECOND: number}) for number in range(40)]
    assert not detector(*observations[:20]).is_stalled([FIRST, SECOND])
    assert detector(*observations[:35]).is_stalled([FIRST, SECOND])


def test_partitions_of_other_replicas_are_no_stall_of_this_one() -> None:
    observation = ({FIRST: 5, SECOND: 9}, {FIRST: 3, SECOND: 9})
    assert not detector(*[observation] * 50).is_stalled([SECOND])


def test_a_replica_without_partitions_joins_anew_where_a_partition_is_read_by_none() -> None:
    observation = ({FIRST: 5, SECOND: 9}, {FIRST: 3, SECOND: 9})
    assert detector(*[observation] * 7).is_stalled([])
    assert not detector(*[({FIRST: 5}, {FIRST: 5})] * 7).is_stalled([])


def test_a_known_wait_is_not_counted() -> None:
    found = detector(*[({FIRST: 5}, {FIRST: 3})] * 7)
    found.reset()
    found.observe({FIRST: 5}, {FIRST: 3})
    assert not found.is_stalled([FIRST])
