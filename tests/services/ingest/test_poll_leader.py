"""Of all replicas that poll one does, and another takes over; with leases of a real database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import asyncpg
import pytest

from dev.postgres import login_of
from services.ingest.metrics import IngestMetrics
from services.ingest.poll import loop as loop_module
from services.ingest.poll.loop import LEADER_SESSION, PollLoop
from shared.runtime.leader import LeaderLease
from shared.runtime.postgres import connect

pytestmark = pytest.mark.integration


class Replica:
    """``polls`` counts its passes."""

    def __init__(self, dsn: str, metrics: IngestMetrics) -> None:
        self.polls = 0
        self.loop = PollLoop({"works": self._pass}, 0.01, metrics)
        session = partial(connect, dsn, "ingest", **LEADER_SESSION)
        self._lease = LeaderLease("stet/ingest/poll/t", session, 0.05, task="poll")

    @contextmanager
    def running(self) -> Iterator[asyncio.Task[None]]:
        task = asyncio.ensure_future(self.loop.run_as_leader(self._lease))
        try:
            yield task
        finally:
            task.cancel()

    async def _pass(self) -> int:
        self.polls += 1
        return 0

    async def polls_on(self) -> None:
        """Wait for two more passes: it leads now."""
        wanted = self.polls + 2
        async with asyncio.timeout(30):
            while self.polls < wanted:
                await asyncio.sleep(0.01)


@pytest.fixture
def dsn(postgres_database: str) -> str:
    return login_of(postgres_database, "ingest")


async def test_one_replica_polls_and_another_takes_over_when_it_ends(dsn: str, metrics: IngestMetrics) -> None:
    first, second = Replica(dsn, metrics), Replica(dsn, metrics)
    with first.running() as task:
        await first.polls_on()
        with second.running():
            await asyncio.sleep(0.5)
            assert (second.polls, second.loop.snapshot_age()) == (0, 0.0)
            task.cancel()
            await second.polls_on()
            before = first.polls
            await asyncio.sleep(0.1)
            assert first.polls == before


async def test_a_replica_whose_session_ended_polls_no_more_until_it_leads_again(
    dsn: str, postgres_database: str, metrics: IngestMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "_RENEW_SECONDS", 0.1)
    replica, rival = Replica(dsn, metrics), Replica(dsn, metrics)
    with replica.running():
        await replica.polls_on()
        with rival.running():
            await _end_sessions_with_a_lease(postgres_database)
            await rival.polls_on()
            await asyncio.sleep(0.5)
            before = replica.polls
            await asyncio.sleep(0.3)
            assert replica.polls == before


async def _end_sessions_with_a_lease(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        ended = await connection.fetch(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted "
            "and database = (select oid from pg_database where datname = current_database())"
        )
        assert len(ended) == 1
    finally:
        await connection.close()
