"""The progress of partitions in the database: who may move it on, and up to which instant nothing is missing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import NoneType
from uuid import UUID

import asyncpg
import pytest

from shared.runtime.postgres import Pool
from shared.runtime.progress import (
    Fenced,
    OffsetRange,
    Partition,
    TopicRecreated,
    advance_progress,
    load_progress,
    read_progress,
    record_caught_up,
)

pytestmark = pytest.mark.integration
NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
ONE: Partition = ("contacts", 0)
TWO: Partition = ("contacts", 1)


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    """Two partitions, read to 5 and to 7."""
    settings = {"search_path": "rules"}
    async with asyncpg.create_pool(postgres_database, min_size=1, max_size=3, server_settings=settings) as pool:
        await load_progress(pool, {ONE: 5, TWO: 7})
        yield pool


async def caught_up(pool: Pool) -> dict[Partition, datetime | None]:
    rows = await pool.fetch("select topic, partition, caught_up_to from progress")
    return {(row["topic"], row["partition"]): row["caught_up_to"] for row in rows}


async def test_progress_that_is_there_stays(pool: Pool) -> None:
    assert await load_progress(pool, {ONE: 0, TWO: 9}) == {ONE: 5, TWO: 7}


async def test_a_batch_counts_where_all_of_its_partitions_are_where_it_expects_them(pool: Pool) -> None:
    async def advance(first: int, second: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await advance_progress(connection, {ONE: OffsetRange(first, 6), TWO: OffsetRange(second, 8)})

    for first, second in ((5, 8), (6, 7), (4, 6)):
        with pytest.raises(Fenced):
            await advance(first, second)
    assert await read_progress(pool, [ONE, TWO]) == {ONE: 5, TWO: 7}
    await advance(5, 7)
    assert await read_progress(pool, [ONE, TWO]) == {ONE: 6, TWO: 8}


@pytest.mark.parametrize("first_commits", [True, False])
async def test_of_two_replicas_with_the_same_batch_the_first_to_commit_moves_the_partition_on(
    pool: Pool, *, first_commits: bool
) -> None:
    """The second has begun meanwhile: it waits, and must not count where the first did."""

    async def advance(release: asyncio.Event | None) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await advance_progress(connection, {ONE: OffsetRange(5, 6)})
            if release is not None:
                await release.wait()
                if not first_commits:
                    raise ConnectionResetError

    release = asyncio.Event()
    first = asyncio.create_task(advance(release))
    await until(pool, "state = 'idle in transaction'")
    second = asyncio.create_task(advance(None))
    await until(pool, "wait_event_type = 'Lock'")
    release.set()
    results = await asyncio.gather(first, second, return_exceptions=True)

    assert [type(one) for one in results] == ([NoneType, Fenced] if first_commits else [ConnectionResetError, NoneType])
    assert await read_progress(pool, [ONE]) == {ONE: 6}


async def until(pool: Pool, condition: str) -> None:
    """Wait for a session of this database that is so."""
    query = f"select exists (select from pg_stat_activity where datname = current_database() and {condition})"  # noqa: S608
    while not await pool.fetchval(query):
        await asyncio.sleep(0.01)


async def test_a_partition_is_caught_up_that_is_read_to_its_end(pool: Pool) -> None:
    assert await record_caught_up(pool, {ONE: 5, TWO: 8}, NOW) == {ONE}
    assert await caught_up(pool) == {ONE: NOW, TWO: None}


async def test_a_partition_that_another_replica_found_caught_up_later_is_so_already(pool: Pool) -> None:
    await record_caught_up(pool, {ONE: 5}, NOW)
    assert await record_caught_up(pool, {ONE: 5, TWO: 7}, NOW - SECOND) == {ONE, TWO}
    assert await caught_up(pool) == {ONE: NOW, TWO: NOW - SECOND}


async def test_a_partition_that_a_batch_holds_is_not_idle(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await advance_progress(connection, {ONE: OffsetRange(5, 6)})
        assert await record_caught_up(pool, {ONE: 5, TWO: 7}, NOW) == {TWO}


async def test_a_partition_is_caught_up_to_the_clock_of_now_where_it_was_set_back(pool: Pool) -> None:
    """Else a step would count as reached by all records for a day, and run while an answer lies unread."""
    await record_caught_up(pool, {ONE: 5, TWO: 7}, NOW + DAY)
    assert await record_caught_up(pool, {ONE: 5, TWO: 8}, NOW) == {ONE}
    assert await caught_up(pool) == {ONE: NOW, TWO: NOW + DAY}


async def test_progress_belongs_to_the_topic_that_the_broker_had_then(pool: Pool) -> None:
    """Progress without an id is of an earlier version; a broker without ids says nothing of a topic."""
    first, second = UUID(int=1), UUID(int=2)
    assert await load_progress(pool, {ONE: 0, TWO: 0}, {}) == {ONE: 5, TWO: 7}
    assert await load_progress(pool, {ONE: 0}, {ONE[0]: first}) == {ONE: 5}
    assert await load_progress(pool, {ONE: 0}, {}) == {ONE: 5}
    with pytest.raises(TopicRecreated):
        await load_progress(pool, {ONE: 0}, {ONE[0]: second})
    kept = "select partition, topic_id from progress order by partition"
    assert [tuple(row) for row in await pool.fetch(kept)] == [(0, first), (1, None)]
    assert await load_progress(pool, {TWO: 0}, {TWO[0]: second}) == {TWO: 7}
