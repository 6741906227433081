"""The database and the broker are killed under a working service: nothing is lost, and nothing happens twice."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dev.kafka import EmbeddedKafka
from dev.postgres import EmbeddedPostgres
from shared.contracts.topics import MESSAGES_REQUESTED
from tests.shared.promise.testbed import DeliveryTestbed, SampleService, event, until

pytestmark = pytest.mark.integration
COUNT = 3000
EVENTS = [event(f"person-{number % 20}", number) for number in range(COUNT)]


@pytest.fixture
async def own_testbed(
    killable_kafka: EmbeddedKafka, killable_database: str, run_folder: Path, unique_suffix: str
) -> AsyncIterator[DeliveryTestbed]:
    testbed = DeliveryTestbed(killable_kafka.bootstrap, killable_database, run_folder, f"{unique_suffix}.")
    await testbed.prepare()
    try:
        yield testbed
    finally:
        await testbed.end()


async def each_once(testbed: DeliveryTestbed) -> None:
    await until(testbed.all_read, 50)
    assert Counter(event_id for event_id, _ in await testbed.effects()) == Counter(one.id for one in EVENTS)
    said = Counter(record.value for record in await testbed.read(MESSAGES_REQUESTED.name))
    assert len(said) == COUNT


@pytest.mark.timeout(120)
async def test_the_database_is_killed(own_testbed: DeliveryTestbed, killable_postgres: EmbeddedPostgres) -> None:
    await own_testbed.produce(EVENTS)
    sample = await own_testbed.sample(STET_SAMPLE_PAUSE="0.05")
    await until(lambda: own_testbed.reached(500))
    await killable_postgres.kill()
    await until(lambda: sample.has_logged("batch.retried"))
    await killable_postgres.start()
    await each_once(own_testbed)
    assert sample.alive


@pytest.mark.timeout(120)
async def test_the_broker_is_killed(own_testbed: DeliveryTestbed, killable_kafka: EmbeddedKafka) -> None:
    await own_testbed.produce(EVENTS)
    sample = await own_testbed.sample(STET_SAMPLE_PAUSE="0.05")
    await until(lambda: own_testbed.reached(500))
    await killable_kafka.kill()
    await until(lambda: sample.has_logged("lag_monitor.retried"))
    await killable_kafka.start()
    await each_once(own_testbed)
    assert sample.alive


@pytest.mark.timeout(120)
async def test_both_are_away_at_the_start(
    own_testbed: DeliveryTestbed, killable_kafka: EmbeddedKafka, killable_postgres: EmbeddedPostgres
) -> None:
    await own_testbed.produce(EVENTS)
    await killable_postgres.kill()
    await killable_kafka.kill()
    sample = await own_testbed.sample()
    await until(lambda: sample.has_logged("STET_POSTGRES_DSN"))
    await killable_postgres.start()
    await until(lambda: sample.has_logged("STET_KAFKA_BOOTSTRAP"))
    await killable_kafka.start()
    await each_once(own_testbed)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("refuse", "allow"),
    [
        ("revoke insert on rules.effects from stet_rules", "grant insert on rules.effects to stet_rules"),
        ("alter table rules.effects rename to lost", "alter table rules.lost rename to effects"),
        ("alter role stet_rules nologin", "alter role stet_rules login"),
    ],
    ids=("a right is missing", "a table is missing", "the login is refused"),
)
async def test_records_wait_while_the_database_refuses_the_service(
    own_testbed: DeliveryTestbed, refuse: str, allow: str
) -> None:
    await own_testbed.produce(EVENTS)
    sample = await own_testbed.sample(STET_SAMPLE_PAUSE="0.05")
    await until(lambda: own_testbed.reached(500))
    await own_testbed.run_sql(refuse)
    try:
        await own_testbed.run_sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'stet_rules'")
        await until(lambda: has_retried_with_a_hint(sample))
    finally:
        await own_testbed.run_sql(allow)
    await each_once(own_testbed)
    assert sample.alive
    assert not await own_testbed.rows("select * from rules.parked")


async def has_retried_with_a_hint(sample: SampleService) -> bool:
    """Whether a batch was tried again at least three times, and the log said how the cause is ended."""
    retried = [line for line in sample.tail(500).splitlines() if "batch.retried" in line and '"hint"' in line]
    return len(retried) > 2
