import asyncio
from datetime import timedelta
from types import SimpleNamespace

import asyncpg
import pytest

from shared.contracts.envelope import parse_event
from shared.contracts.golden import golden
from shared.contracts.ids import EventId, TenantId
from shared.contracts.topics import CONTACTS, WHATSAPP_STATUSES, Topic
from shared.runtime.batch import ReceivedEvent, enter_inbox, inbox_expiries
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool
from shared.runtime.retention import delete_expired_once
from tests.shared.test_personal_data import service_pool

pytestmark = pytest.mark.integration
INBOX = """
insert into inbox (tenant, source, id, brief, seen_at)
select 't', 's', $1 || n, $2 = 'brief', $3 from generate_series(1, $4::int) as n
"""
PARKED = """
insert into parked (topic, value, reason, sentence, state, parked_at, settled_at) values ('t', '', 'r', 's', $1, $2, $3)
"""


async def test_ids_of_events_and_settled_parked_records_go_when_they_expire(postgres_database: str) -> None:
    now = machine_now()
    async with service_pool(postgres_database, "writeback") as pool:
        await pool.execute(INBOX, "old", "long", now - timedelta(days=101), 2_500)
        await pool.execute(INBOX, "kept", "long", now - timedelta(days=99), 3)
        await pool.execute(INBOX, "old status", "brief", now - timedelta(days=15), 2)
        await pool.execute(INBOX, "kept status", "brief", now - timedelta(days=13), 1)
        for state, days in (("discarded", 91), ("replayed", 89), ("parked", None)):
            settled_at = None if days is None else now - timedelta(days=days)
            await pool.execute(PARKED, state, now - timedelta(days=99), settled_at)

        assert await delete_expired_once(now, inbox_expiries(pool, 100, 90)) == 2_500 + 2 + 1

        assert await pool.fetchval("select count(*) from inbox") == 3 + 1
        assert [row["state"] for row in await pool.fetch("select state from parked order by state")] == [
            "parked", "replayed",
        ]  # fmt: skip


async def test_a_short_retention_of_the_inbox_is_that_of_statuses_too(postgres_database: str) -> None:
    now = machine_now()
    async with service_pool(postgres_database, "writeback") as pool:
        await pool.execute(INBOX, "status", "brief", now - timedelta(days=11), 1)
        assert await delete_expired_once(now, inbox_expiries(pool, 10, 90)) == 1


def received(name: str, topic: Topic = CONTACTS, tenant: str = "acme") -> ReceivedEvent:
    event = parse_event(golden("contacts.person.observed.v1"), CONTACTS.kinds)
    event = event.replace(id=EventId(name), tenantid=TenantId(tenant))
    return ReceivedEvent(event, topic, 0, 0, SimpleNamespace(value=b"", headers=()))


async def enter(pool: Pool, *events: ReceivedEvent) -> list[str]:
    async with pool.acquire() as connection, connection.transaction():
        return [f"{one.event.tenantid} {one.event.id}" for one in await enter_inbox(connection, events)]


async def test_an_event_is_new_once_and_the_others_of_its_batch_keep_their_order(postgres_database: str) -> None:
    async with service_pool(postgres_database, "writeback") as pool:
        assert await enter(pool, received("b"), received("a"), received("b")) == ["acme b", "acme a"]
        batch = (received("d"), received("a"), received("c"), received("a", tenant="other"))
        assert await enter(pool, *batch) == ["acme d", "acme c", "other a"]
        assert await enter(pool, *batch, received("e", WHATSAPP_STATUSES)) == ["acme e"]
        kept = await pool.fetch("select id, brief from inbox order by tenant, id")
        assert [row["id"] for row in kept] == ["a", "b", "c", "d", "e", "a"]
        assert [row["id"] for row in kept if row["brief"]] == ["e"]


@pytest.mark.parametrize("first_commits", [True, False])
async def test_of_two_batches_with_an_event_at_one_time_the_first_to_commit_has_it(
    postgres_database: str, *, first_commits: bool
) -> None:
    settings = {"search_path": "writeback"}
    async with asyncpg.create_pool(postgres_database, min_size=1, max_size=3, server_settings=settings) as pool:
        connection = await pool.acquire()
        first = connection.transaction()
        await first.start()
        assert len(await enter_inbox(connection, [received("a"), received("b")])) == 2
        second = asyncio.create_task(enter(pool, received("c"), received("b")))
        while not await pool.fetchval(_WAITS):
            await asyncio.sleep(0.01)
        await (first.commit() if first_commits else first.rollback())
        await pool.release(connection)

        assert await second == (["acme c"] if first_commits else ["acme c", "acme b"])


_WAITS = """
select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')
"""
