from datetime import timedelta

import pytest

from shared.runtime.batch import inbox_expiries
from shared.runtime.clock import machine_now
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
