"""Elects a leader: one process at a time does a task, because its state is in memory or its order matters.

The leader is the process whose PostgreSQL session holds an advisory lock. A leader commits over that very session only,
so that a process that lost the lock can commit nothing more. Used by the relay of the outbox, the dispatcher's sender
and ingest's poll; a new use needs a name, a connection and the word by which ``stet_leader`` counts it, as in
``LeaderLease("stet/rules/relay", connect, task="relay")``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass

from shared.contracts.topics import SERVICES
from shared.runtime.metrics import Metrics, Replicas, label
from shared.runtime.postgres import Connection, advisory_lock_key

_LEADER = Metrics.of(*SERVICES).gauge(
    "stet_leader",
    "1 while this replica leads the task; over all replicas it must be 1.",
    label("task", description="`relay` and `audit` in every service, `poll` in ingest, `sender` in dispatcher"),
    replicas=Replicas.SUM,
)
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
    _: KW_ONLY
    task: str

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Connection]:
        """Wait until this process leads; the connection holds the lease, and both end with the block.

        Raises what ``connect`` and the connection raise, before and while it leads.
        """
        key = advisory_lock_key(self.name)
        _LEADER.labels(self.task).set(0)
        connection = await self.connect()
        try:
            while not await connection.fetchval(_TRY_LOCK, key):
                await asyncio.sleep(self.poll_seconds)
            _LEADER.labels(self.task).set(1)
            yield connection
        finally:
            _LEADER.labels(self.task).set(0)
            connection.terminate()
