"""Ownership: one replica at a time sends for the portfolio, because its limiters live in memory.

Owning is holding a session's advisory lock. Intents are committed over that very session, so whoever lost the lock can
begin nothing; what it began before is fenced by its lease.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.ids import TenantId
from shared.postgres import Connection, Pool, lock_number

_ASK_AGAIN = 0.5  # seconds between two tries for the lock
_TRY = "select pg_try_advisory_lock($1)"
_GIVE_BACK = "select pg_advisory_unlock($1)"


@dataclass(frozen=True, slots=True)
class Portfolio:
    pool: Pool
    tenant: TenantId

    @asynccontextmanager
    async def owned(self) -> AsyncIterator[Connection]:
        """Waits for the lock; the connection given is the one that holds it."""
        number = lock_number(f"stet/dispatcher/portfolio/{self.tenant}")
        async with self.pool.acquire() as connection:
            while not await connection.fetchval(_TRY, number):
                await asyncio.sleep(_ASK_AGAIN)
            try:
                yield connection
            finally:
                if not connection.is_closed():
                    await connection.execute(_GIVE_BACK, number)
