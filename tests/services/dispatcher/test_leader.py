"""A leader sends nothing before any replicas have read everything that was published earlier."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.contracts.topics import (
    CONTACTS,
    MESSAGES_REQUESTED,
    WHATSAPP_ACCOUNT,
    WHATSAPP_MESSAGES,
    WHATSAPP_STATUSES,
    Topic,
)
from shared.runtime.progress import Partition
from tests.dev.whatsapp.simulator_under_test import RecordingWebhook, SimulatorUnderTest
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    person_observed,
    running_dispatcher,
    send_request,
    wait_until,
)

pytestmark = pytest.mark.integration


class FakeBroker:
    """Has ten records in one partition; ``away`` is how often it fails to respond first."""

    def __init__(self, topic: Topic, away: int = 0) -> None:
        self.place = (topic.name, 7)
        self.asked = 0
        self._away = away

    async def __call__(self, places: Iterable[Partition], /) -> dict[Partition, int]:
        places = list(places)
        if (WHATSAPP_STATUSES.name, 0) in places:  # it wants to know what a new leader has to read first
            self.asked += 1
            if self.asked <= self._away:
                raise KafkaConnectionError
        return dict.fromkeys(places, 0) | {self.place: 10}

    async def read_to(self, dispatcher: DispatcherUnderTest, offset: int) -> None:
        await dispatcher.pool.execute(
            "insert into progress (topic, partition, next_offset) values ($1, $2, $3)"
            " on conflict (topic, partition) do update set next_offset = $3",
            *self.place, offset,
        )  # fmt: skip


async def _is_catching_up(dispatcher: DispatcherUnderTest) -> bool:
    """It holds the lease, and is not ready to send."""
    query = "select exists (select from pg_locks where locktype = 'advisory' and granted)"
    return bool(await dispatcher.pool.fetchval(query)) and dispatcher.parts.sender.claimer is None


@pytest.mark.parametrize(
    "topic", [MESSAGES_REQUESTED, WHATSAPP_MESSAGES, WHATSAPP_STATUSES, WHATSAPP_ACCOUNT, CONTACTS]
)
async def test_a_leader_sends_once_every_partition_is_read(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook, topic: Topic
) -> None:
    broker = FakeBroker(topic)
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook, fetch_ends=broker) as dispatcher:
        await dispatcher.handle(person_observed(), send_request())
        for offset in (0, 9):
            await broker.read_to(dispatcher, offset)
            await wait_until(lambda: _is_catching_up(dispatcher))
            assert await dispatcher.state() == "waiting"
        await broker.read_to(dispatcher, 10)
        await dispatcher.wait_for_state("accepted")
        assert broker.asked == 1


async def test_a_broker_that_is_away_is_waited_for(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    broker = FakeBroker(MESSAGES_REQUESTED, away=2)
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook, fetch_ends=broker) as dispatcher:
        await dispatcher.handle(person_observed(), send_request())
        await broker.read_to(dispatcher, 10)
        await wait_until(lambda: _is_catching_up(dispatcher))
        assert await dispatcher.state() == "waiting"
        await dispatcher.wait_for_state("accepted")
        assert broker.asked == 3
