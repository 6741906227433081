"""The database and the broker are killed under a working service: nothing is lost, and nothing happens twice."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dev.kafka import EmbeddedKafka
from dev.postgres import EmbeddedPostgres
from ops.migrate import migrate
from shared.contracts.topics import MESSAGES_REQUESTED
from tests.shared.promise.stand import Stand, event, until

pytestmark = pytest.mark.integration
COUNT = 3000
EVENTS = [event(f"person-{number % 20}", number) for number in range(COUNT)]


@pytest.fixture
async def own_stand(own_kafka: EmbeddedKafka, own_postgres: EmbeddedPostgres, run_folder: Path) -> AsyncIterator[Stand]:
    await migrate(own_postgres.dsn)
    stand = Stand(own_kafka.bootstrap, own_postgres.dsn, run_folder, "")
    await stand.prepare()
    try:
        yield stand
    finally:
        await stand.end()


async def each_once(stand: Stand) -> None:
    await until(stand.all_read, 50)
    assert Counter(event_id for event_id, _ in await stand.effects()) == Counter(one.id for one in EVENTS)
    said = Counter(record.value for record in await stand.read(MESSAGES_REQUESTED.name))
    assert len(said) == COUNT


@pytest.mark.timeout(120)
async def test_the_database_is_killed(own_stand: Stand, own_postgres: EmbeddedPostgres) -> None:
    await own_stand.produce(EVENTS)
    house = await own_stand.house(STET_HOUSE_PAUSE="0.05")
    await until(lambda: own_stand.reached(500))
    await own_postgres.kill()
    await until(lambda: house.says("batch.retried"))
    await own_postgres.start()
    await each_once(own_stand)
    assert house.alive


@pytest.mark.timeout(120)
async def test_the_broker_is_killed(own_stand: Stand, own_kafka: EmbeddedKafka) -> None:
    await own_stand.produce(EVENTS)
    house = await own_stand.house(STET_HOUSE_PAUSE="0.05")
    await until(lambda: own_stand.reached(500))
    await own_kafka.kill()
    await until(lambda: house.says("lag_monitor.retried"))
    await own_kafka.start()
    await each_once(own_stand)
    assert house.alive


@pytest.mark.timeout(120)
async def test_both_are_away_at_the_start(
    own_stand: Stand, own_kafka: EmbeddedKafka, own_postgres: EmbeddedPostgres
) -> None:
    await own_stand.produce(EVENTS)
    await own_postgres.kill()
    await own_kafka.kill()
    house = await own_stand.house()
    await until(lambda: house.says("STET_POSTGRES_DSN"))
    await own_postgres.start()
    await until(lambda: house.says("STET_KAFKA_BOOTSTRAP"))
    await own_kafka.start()
    await each_once(own_stand)
