"""Ownership: one replica at a time sends for the portfolio, because its limiters live in memory.

Owning is holding a session's advisory lock. Intents are committed over that very session, so whoever lost the lock can
begin nothing; what it began before is fenced by its lease. A process that stands still says nothing over its session,
which the database then ends: the portfolio is another's before its messages are late.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.contracts.ids import TenantId
from shared.runtime.postgres import Connection, advisory_lock_key

OWNERS_SESSION = {"idle_session_timeout": "15s"}
SPEAK_EVERY = 1.0
"""Seconds after which an owner with nothing to do shows that it is there."""

_ASK_AGAIN = 0.5  # seconds between two tries for the lock
_TRY = "select pg_try_advisory_lock($1)"

Connect = Callable[[], Awaitable[Connection]]


@dataclass(frozen=True, slots=True)
class Portfolio:
    """``connect`` opens the session that holds the lock; it is nobody else's."""

    connect: Connect
    tenant: TenantId

    @asynccontextmanager
    async def owned(self) -> AsyncIterator[Connection]:
        """Waits for the lock; the connection given is the one that holds it, and ends with the block."""
        number = advisory_lock_key(f"stet/dispatcher/portfolio/{self.tenant}")
        connection = await self.connect()
        try:
            while not await connection.fetchval(_TRY, number):
                await asyncio.sleep(_ASK_AGAIN)
            yield connection
        finally:
            connection.terminate()
