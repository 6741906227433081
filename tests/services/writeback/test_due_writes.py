"""Which writes are begun: the first of each ordering key, behind no task of its record, and none of a paused tenant."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from services.writeback.store import QUERIES, WriteStore, enqueue_writes
from services.writeback.write_state import WriteState
from shared.contracts.ids import derive_id
from shared.runtime.clock import SystemClock, machine_now
from shared.runtime.postgres import Pool
from tests.services.writeback.samples import TENANT, milestone, request
from tests.services.writeback.writeback_under_test import open_pool

pytestmark = pytest.mark.integration
WORK, OTHER = "works/1", "works/2"


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_database) as pool:
        yield pool


async def due(pool: Pool, *writes: tuple[str, str, WriteState], busy: tuple[str, ...] = ()) -> list[str]:
    """``writes`` are, in their order, the ordering key, the record and the state of each, named by their place."""
    names = {derive_id(f"w{place}"): f"w{place}" for place in range(len(writes))}
    events = [
        request(milestone(), name, record, None).replace(partitionkey=key)
        for name, (key, record, _) in zip(names.values(), writes, strict=True)
    ]
    async with pool.acquire() as connection:
        await enqueue_writes(connection, events)
    for write_id, (_, _, state) in zip(names, writes, strict=True):
        await pool.execute("update writes set state = $1 where write_id = $2", state, write_id)
    return [names[one.write_id] for one in await WriteStore(pool, SystemClock()).fetch_due(busy, 10)]


QUEUED, INTENT, MANUAL, SETTLED = WriteState.QUEUED, WriteState.INTENT, WriteState.MANUAL, WriteState.SETTLED


@pytest.mark.parametrize(
    ("writes", "expected"),
    [
        ([(WORK, "a", QUEUED), (WORK, "b", QUEUED), (OTHER, "c", QUEUED)], ["w0", "w2"]),
        ([(WORK, "a", INTENT), (WORK, "b", QUEUED)], ["w0"]),
        ([(WORK, "a", SETTLED), (WORK, "a", QUEUED)], ["w1"]),
        ([(WORK, "a", MANUAL), (WORK, "a", QUEUED), (WORK, "b", QUEUED)], ["w2"]),  # behind the task of its record
        ([(WORK, "a", QUEUED), (WORK, "a", MANUAL)], ["w0"]),
        ([(WORK, "a", MANUAL), (WORK, "a", QUEUED), (WORK, "a", QUEUED)], []),
    ],
)
async def test_the_first_write_of_each_key_is_due_that_no_task_holds(
    pool: Pool, writes: list[tuple[str, str, WriteState]], expected: list[str]
) -> None:
    assert await due(pool, *writes) == expected


async def test_the_keys_that_are_busy_are_left_out(pool: Pool) -> None:
    assert await due(pool, (WORK, "a", QUEUED), (OTHER, "b", QUEUED), busy=(WORK,)) == ["w1"]


@pytest.mark.parametrize(("paused", "expected"), [(TENANT, ["w1"]), ("another", ["w0", "w1"])])
async def test_no_write_of_a_paused_tenant_begins_and_one_under_way_is_finished(
    pool: Pool, paused: str, expected: list[str]
) -> None:
    await pool.execute("insert into pauses values ($1, 'tenant', $1, now(), 'ada', 'a test')", paused)
    assert await due(pool, (WORK, "a", QUEUED), (OTHER, "b", INTENT)) == expected


async def put_off(pool: Pool, name: str, minutes: int) -> None:
    at = machine_now() + timedelta(minutes=minutes)
    await pool.execute("update writes set due_at = $1 where write_id = $2", at, derive_id(name))


async def test_a_write_that_is_tried_again_later_holds_up_those_of_its_key_and_no_others(pool: Pool) -> None:
    assert await due(pool, (WORK, "a", QUEUED), (WORK, "b", QUEUED), (OTHER, "c", QUEUED)) == ["w0", "w2"]
    await put_off(pool, "w0", 10)
    assert [one.write_id for one in await WriteStore(pool, SystemClock()).fetch_due((), 10)] == [derive_id("w2")]


async def test_a_write_is_due_that_was_put_off_by_a_clock_that_has_been_set_back_since(pool: Pool) -> None:
    """It would wait for as long as the step: no wait of writeback's own is as long as an hour."""
    await due(pool, (WORK, "a", QUEUED))
    await put_off(pool, "w0", 24 * 60)
    assert [one.write_id for one in await WriteStore(pool, SystemClock()).fetch_due((), 10)] == [derive_id("w0")]


async def test_the_write_that_is_due_longest_comes_first_and_of_those_due_together_the_oldest(pool: Pool) -> None:
    await due(pool, *((f"works/{number}", "a", QUEUED) for number in range(4)))
    await put_off(pool, "w1", -20)
    first = await WriteStore(pool, SystemClock()).fetch_due((), 3)
    assert [one.write_id for one in first] == [derive_id(name) for name in ("w1", "w0", "w2")]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


async def test_the_index_of_due_writes_is_not_read_for_what_stands_before_each(postgres_database: str) -> None:
    """Where PostgreSQL expects nothing to wait, it takes any index that it may, and reads it from end to end."""
    owner = await asyncpg.connect(postgres_database)
    await owner.execute("set search_path = writeback; set enable_seqscan = off; drop index writes_ordering")
    plan = await owner.fetchval(f"explain (format json) {QUERIES.fetch_due}", machine_now(), [], 10)
    (earlier,) = (node for node in _nodes(orjson.loads(plan)[0]["Plan"]) if node.get("Alias") == "earlier")
    assert "writes_due" not in {node.get("Index Name") for node in _nodes(earlier)}
    await owner.close()
