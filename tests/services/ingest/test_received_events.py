"""The memory of pushed events is kept as long as a repetition may come, and no longer, however many there are."""

from datetime import timedelta

import pytest

from services.ingest.store import RECEIVED_DAYS, ReceivedEventStore
from shared.contracts.ids import TenantId
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool
from shared.runtime.retention import delete_expired_once

pytestmark = pytest.mark.integration
FILL = """
insert into pushed (tenant, source, id, taken_at)
select 'penrose', 'consonance', $1 || number, $2::timestamptz from generate_series(1, $3::int) as number
"""


async def test_everything_that_is_old_is_deleted_at_once_and_the_rest_is_kept(pool: Pool) -> None:
    now = machine_now()
    old = now - timedelta(days=RECEIVED_DAYS)
    await pool.execute(FILL, "old-", old - timedelta(minutes=1), 2_500)
    await pool.execute(FILL, "new-", old + timedelta(minutes=1), 10)
    assert await delete_expired_once(now, [ReceivedEventStore(pool, TenantId("penrose")).expiry()]) == 2_500
    assert (
        await pool.fetchval("select count(*) from pushed where id like 'new-%'")
        == await pool.fetchval("select count(*) from pushed")
        == 10
    )
