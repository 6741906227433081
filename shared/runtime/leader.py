"""Elects a leader: one process at a time does a task, because its state is in memory or its order matters.

The leader is the process whose PostgreSQL session holds an advisory lock. What a leader commits, it commits over that
very session: a process that lost the lock can commit nothing more. Used by the relay of the outbox and by the
dispatcher's sender; a new use needs a name and a connection, as in ``LeaderLease("stet/rules/relay", connect)``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.runtime.postgres import Connection, advisory_lock_key

_TRY_LOCK = "select pg_try_advisory_lock($1)"


@dataclass(frozen=True, slots=True)
class LeaderLease:
    """``connect`` opens a connection that is used for nothing but this lease and the work done under it.

    Give that session an ``idle_session_timeout`` (``postgres.connect``): PostgreSQL then ends the session of a frozen
    process, and another process leads. A leader without work must send a query more often than that.
    """

    name: str
    connect: Callable[[], Awaitable[Connection]]
    poll_seconds: float = 0.5

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Connection]:
        """Wait until this process leads; the connection holds the lease, and both end with the block.

        Raises what ``connect`` and the connection raise, before and while it leads.
        """
        key = advisory_lock_key(self.name)
        connection = await self.connect()
        try:
            while not await connection.fetchval(_TRY_LOCK, key):
                await asyncio.sleep(self.poll_seconds)
            yield connection
        finally:
            connection.terminate()
