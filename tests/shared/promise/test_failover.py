"""Another PostgreSQL takes over: a working service follows it, and says meanwhile that it is not ready."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from dev.ports import free_ports
from dev.postgres import EmbeddedPostgres, login_of
from ops.migrate import migrate
from shared.contracts.topics import MESSAGES_REQUESTED
from shared.runtime.failures import CONNECTION_LOST
from shared.runtime.postgres import connect_writable
from tests.frozen_processes import frozen
from tests.shared.promise.testbed import DeliveryTestbed, SampleService, event, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
COUNT = 600
EVENTS = [event(f"person-{number % 20}", number) for number in range(COUNT)]


@pytest.fixture
async def second_postgres(own_postgres: EmbeddedPostgres, run_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A standby of ``own_postgres``."""
    standby = EmbeddedPostgres(run_folder / "standby")
    try:
        await standby.follow(own_postgres)
        yield standby
    finally:
        await standby.stop()


@pytest.fixture
async def pair(
    kafka_bootstrap: str, own_postgres: EmbeddedPostgres, second_postgres: EmbeddedPostgres, run_folder: Path,
    unique_suffix: str,
) -> AsyncIterator[DeliveryTestbed]:  # fmt: skip
    """The address of its database names both servers, the standby first."""
    dsn = f"postgresql://postgres@{second_postgres.address},{own_postgres.address}/postgres"
    await migrate(dsn)
    testbed = DeliveryTestbed(kafka_bootstrap, own_postgres.dsn, run_folder, f"{unique_suffix}.")
    await testbed.prepare()
    testbed.dsn = dsn
    try:
        yield testbed
    finally:
        await testbed.end()


async def test_a_service_follows_when_the_primary_dies(
    pair: DeliveryTestbed, own_postgres: EmbeddedPostgres, second_postgres: EmbeddedPostgres
) -> None:
    sample, _ = await half_done(pair, own_postgres)
    await own_postgres.kill()
    await second_postgres.promote()
    await all_done(pair, sample, second_postgres)


async def test_a_service_leaves_a_primary_that_takes_no_writes_any_more(
    pair: DeliveryTestbed, own_postgres: EmbeddedPostgres, second_postgres: EmbeddedPostgres
) -> None:
    sample, ready = await half_done(pair, own_postgres)
    await fence(own_postgres)
    await until(lambda: has_logged(ready, 503, "database"))
    await second_postgres.promote()
    await all_done(pair, sample, second_postgres)
    await until(lambda: has_logged(ready, 200, "ready"))


async def test_a_service_leaves_a_primary_that_hangs(
    pair: DeliveryTestbed, own_postgres: EmbeddedPostgres, second_postgres: EmbeddedPostgres
) -> None:
    sample, ready = await half_done(pair, own_postgres)
    with frozen(own_postgres.child.pid):
        await until(lambda: has_logged(ready, 503, "database"))
        await second_postgres.promote()
        await all_done(pair, sample, second_postgres)
        await until(lambda: has_logged(ready, 200, "ready"))


async def test_a_session_on_a_server_that_hangs_is_given_up_soon(own_postgres: EmbeddedPostgres) -> None:
    """After the time of its command, and not when a cancellation that is never answered took as long again."""
    connection = await connect_writable(own_postgres.dsn, command_timeout=8.0)
    await connection.execute("begin")
    with frozen(own_postgres.child.pid):
        with pytest.raises(TimeoutError):
            await connection.execute("select 1")
        began = time.monotonic()
        with pytest.raises(CONNECTION_LOST):
            await connection.execute("rollback")
        assert time.monotonic() - began < 6
        connection.terminate()


async def half_done(testbed: DeliveryTestbed, primary: EmbeddedPostgres) -> tuple[SampleService, str]:
    """A sample in the middle of its work on the primary, and where it says whether it is ready."""
    both, testbed.dsn = testbed.dsn, primary.dsn
    await testbed.produce(EVENTS)
    (port,) = free_ports(1)
    dsn = login_of(both, "rules")
    sample = await testbed.sample(STET_POSTGRES_DSN=dsn, STET_SAMPLE_PAUSE="0.05", STET_HEALTH_PORT=str(port))
    await until(lambda: testbed.reached(100))
    return sample, f"http://127.0.0.1:{port}/readyz"


async def all_done(testbed: DeliveryTestbed, sample: SampleService, primary: EmbeddedPostgres) -> None:
    """Every event had its one effect, by the same process, as the new primary has it."""
    testbed.dsn = primary.dsn
    await until(testbed.all_read, 90)
    assert Counter(event_id for event_id, _ in await testbed.effects()) == Counter(one.id for one in EVENTS)
    assert len({record.value for record in await testbed.read(MESSAGES_REQUESTED.name)}) == COUNT
    assert sample.alive


async def fence(server: EmbeddedPostgres) -> None:
    """As an operator, or what manages a cluster, takes a server out of use while its sessions live on."""
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("alter system set default_transaction_read_only = on")
    await connection.execute("select pg_reload_conf()")
    await connection.close()


async def has_logged(url: str, status: int, words: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status == status and words in await answer.text()


async def test_progress_that_a_failover_lost_is_read_again_without_a_new_record(testbed: DeliveryTestbed) -> None:
    """As after a failover to a standby that lacked the last commits: progress and effects are older than believed."""
    sample = await testbed.sample()
    await testbed.produce(EVENTS)
    await until(testbed.all_read)
    await testbed.run_sql(
        "delete from rules.effects; delete from rules.inbox; update rules.progress set next_offset = 0"
    )
    await until(lambda: sample.has_logged("progress.lost"))
    await until(testbed.all_read)
    assert {event_id for event_id, _ in await testbed.effects()} == {one.id for one in EVENTS}
    assert sample.alive
