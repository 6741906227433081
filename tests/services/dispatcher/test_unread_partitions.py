"""People whose partition was not read lately get nothing; all others do. Sending goes on once it is read."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError

from services.dispatcher.unread_partitions import UnreadPartitions
from shared.contracts.ids import partition_key
from shared.contracts.topics import CONTACTS, MESSAGES_REQUESTED, PARTITIONS
from shared.runtime.kafka import partition_for_key
from shared.runtime.postgres import Pool
from shared.runtime.progress import Partition
from tests.dev.whatsapp.simulator_under_test import RecordingWebhook, SimulatorUnderTest
from tests.services.dispatcher.dispatcher_under_test import (
    TENANT,
    DispatcherUnderTest,
    SlowConnection,
    person_observed,
    running_dispatcher,
    send_request,
    wait_until,
)

pytestmark = pytest.mark.integration

READ_TO = (
    "insert into progress (topic, partition, next_offset) values ($1, $2, $3)"
    " on conflict (topic, partition) do update set next_offset = $3"
)


class GrowingBroker:
    """Has ``ends`` and answers at once, or not at all while it is ``away``."""

    def __init__(self) -> None:
        self.ends: dict[Partition, int] = {}
        self.away = False

    async def __call__(self, places: Iterable[Partition], /) -> dict[Partition, int]:
        if self.away:
            raise KafkaConnectionError
        return {place: self.ends.get(place, 0) for place in places}


class DrivenSeconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def partition_of(person_id: str) -> int:
    return partition_for_key(partition_key(TENANT, "persons", person_id))


async def read_to(pool: Pool, topic: str, number: int, offset: int) -> None:
    await pool.execute(READ_TO, topic, number, offset)


@pytest.fixture
def broker() -> GrowingBroker:
    return GrowingBroker()


async def test_a_partition_is_unread_two_seconds_after_a_record_that_no_replica_read(
    dispatcher: DispatcherUnderTest, broker: GrowingBroker
) -> None:
    seconds = DrivenSeconds()
    unread = UnreadPartitions(TENANT, [MESSAGES_REQUESTED, CONTACTS], dispatcher.pool, broker, seconds)
    await unread.compare_ends()
    assert unread.numbers() == frozenset()
    broker.ends[CONTACTS.name, 3] = 5
    await unread.compare_ends()
    assert unread.numbers() == frozenset()
    seconds.now += 2
    await unread.compare_ends()
    assert unread.numbers() == {3}
    await read_to(dispatcher.pool, CONTACTS.name, 3, 5)
    await unread.compare_ends()
    assert unread.numbers() == frozenset()


async def test_a_partition_that_grows_all_the_time_is_read_while_its_reader_follows(
    dispatcher: DispatcherUnderTest, broker: GrowingBroker
) -> None:
    seconds = DrivenSeconds()
    unread = UnreadPartitions(TENANT, [MESSAGES_REQUESTED], dispatcher.pool, broker, seconds)
    await unread.compare_ends()
    for end in range(10, 200, 10):
        broker.ends[MESSAGES_REQUESTED.name, 1] = end
        await read_to(dispatcher.pool, MESSAGES_REQUESTED.name, 1, end - 10)
        await unread.compare_ends()
        assert unread.numbers() == frozenset()
        seconds.now += 0.5


async def test_without_a_broker_s_answer_every_partition_gets_unread(
    dispatcher: DispatcherUnderTest, broker: GrowingBroker
) -> None:
    seconds = DrivenSeconds()
    unread = UnreadPartitions(TENANT, [MESSAGES_REQUESTED], dispatcher.pool, broker, seconds)
    await unread.compare_ends()
    seconds.now += 2
    assert unread.is_everything_unread


async def test_people_of_an_unread_partition_get_nothing_and_others_do(
    postgres_database: str,
    clock_file: Path,
    simulator: SimulatorUnderTest,
    webhook: RecordingWebhook,
    broker: GrowingBroker,
) -> None:
    number = partition_of("p1")
    other = next(f"p{n}" for n in range(2, 100) if partition_of(f"p{n}") != number)
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook, fetch_ends=broker) as dispatcher:
        await wait_until(lambda: _has_read_everything(dispatcher))
        broker.ends[MESSAGES_REQUESTED.name, number] = 1
        await wait_until(lambda: _misses(dispatcher, number))
        await dispatcher.handle(person_observed(), person_observed(person_id=other))
        await dispatcher.handle(send_request("m1"), send_request("m2", person_id=other))
        await dispatcher.wait_for_state("accepted", "m2")
        assert await dispatcher.state("m1") == "waiting"
        await read_to(dispatcher.pool, MESSAGES_REQUESTED.name, number, 1)
        await dispatcher.wait_for_state("accepted", "m1")


async def test_a_claimed_request_is_not_written_while_its_partition_is_unread(
    postgres_database: str,
    clock_file: Path,
    simulator: SimulatorUnderTest,
    webhook: RecordingWebhook,
    broker: GrowingBroker,
) -> None:
    """It waits for a connection, and a withdrawal may lie unread meanwhile."""
    number = partition_of("p1")
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook, fetch_ends=broker) as dispatcher:
        await wait_until(lambda: _has_read_everything(dispatcher))
        slow = SlowConnection(dispatcher.parts.sender._whatsapp)
        dispatcher.parts.sender._whatsapp = slow  # type: ignore[assignment]
        await dispatcher.handle(person_observed(), send_request())
        await dispatcher.wait_for_state("intent")
        broker.ends[MESSAGES_REQUESTED.name, number] = 1
        await wait_until(lambda: _misses(dispatcher, number))
        slow.open.set()
        await dispatcher.wait_for_state("waiting")
        assert await dispatcher.sent() == []
        await read_to(dispatcher.pool, MESSAGES_REQUESTED.name, number, 1)
        await dispatcher.wait_for_state("accepted")


async def test_while_the_broker_is_away_nothing_is_sent(
    postgres_database: str,
    clock_file: Path,
    simulator: SimulatorUnderTest,
    webhook: RecordingWebhook,
    broker: GrowingBroker,
) -> None:
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook, fetch_ends=broker) as dispatcher:
        await wait_until(lambda: _has_read_everything(dispatcher))
        broker.away = True
        await wait_until(lambda: _misses(dispatcher, *range(PARTITIONS)))
        await dispatcher.handle(person_observed(), send_request())
        await asyncio.sleep(0.5)  # several rounds of the leader
        assert await dispatcher.state() == "waiting"
        broker.away = False
        await dispatcher.wait_for_state("accepted")


async def _has_read_everything(dispatcher: DispatcherUnderTest) -> bool:
    claimer = dispatcher.parts.sender.claimer
    return claimer is not None and not claimer.unread.numbers()


async def _misses(dispatcher: DispatcherUnderTest, *numbers: int) -> bool:
    claimer = dispatcher.parts.sender.claimer
    return claimer is not None and set(numbers) <= claimer.unread.numbers()
