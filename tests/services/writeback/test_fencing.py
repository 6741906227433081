"""A process that lost its lock, and whose write another process has moved on since, changes and publishes nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from services.writeback.changes import split_write
from services.writeback.comparison import ChangeComparison, ComparisonStatus, WriteReason
from services.writeback.protocol import ComparedChange, MutationAnswer, SettleWrite
from services.writeback.store import DueWrite, WriteStore, enqueue_writes
from services.writeback.write_state import StoredWrite
from shared.contracts.ids import WriteId, derive_id
from shared.contracts.writes import WriteOutcome
from shared.runtime.clock import SystemClock, machine_now
from shared.runtime.postgres import Pool
from tests.services.writeback.samples import TENANT, milestone, request
from tests.services.writeback.writeback_under_test import open_pool

pytestmark = pytest.mark.integration
LATER = timedelta(minutes=1)


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_database) as pool:
        yield pool


async def begun(pool: Pool, name: str, attempts: int) -> tuple[WriteStore, StoredWrite]:
    """A write after so many attempts, as a process knows it that is about to go on with it."""
    store = WriteStore(pool, SystemClock())
    async with pool.acquire() as connection:
        await enqueue_writes(connection, [request(milestone(), name, f"milestones/{name}", None)])
    due = DueWrite(TENANT, WriteId(derive_id(name)), "")
    for _ in range(attempts):
        stored = await store.fetch(due)
        assert stored is not None
        assert await store.start_attempt(stored, {"done": None})
    stored = await store.fetch(due)
    assert stored is not None
    return store, stored


async def everything(pool: Pool) -> Mapping[str, Any]:
    tables = ("writes", "tasks", "outbox", "evidence_entries")
    rows = "select to_jsonb(t) as row from {} t order by 1"
    return {table: await pool.fetch(rows.format(table)) for table in tables}


def compared(stored: StoredWrite) -> list[ComparedChange]:
    comparison = ChangeComparison(ComparisonStatus.APPLIED, value="2027-03-03")
    return [ComparedChange(change, comparison, is_supported=True) for change in split_write(TENANT, stored.write)]


Step = Callable[[WriteStore, StoredWrite], Awaitable[object]]
STEPS: Mapping[str, Step] = {
    "start": lambda store, stored: store.start_attempt(stored, {"done": "2027-01-01"}),
    "renew": lambda store, stored: store.renew_attempt(stored),
    "answer": lambda store, stored: store.record_answer(stored, MutationAnswer.FAILED),
    "withdraw": lambda store, stored: store.withdraw_attempt(stored, machine_now() + LATER),
    "postpone": lambda store, stored: store.postpone(stored, machine_now() + LATER, is_unknown=True, failed_reads=1),
    "settle": lambda store, stored: store.settle(stored, SettleWrite(WriteOutcome.VERIFIED), compared(stored)),
    "open task": lambda store, stored: store.open_task(stored, WriteReason.NOT_TAKEN, compared(stored)),
}
OF_AN_ATTEMPT = {name for name in STEPS if name not in {"start", "postpone", "settle", "open task"}}


CASES = [(step, attempts) for step in STEPS for attempts in range(3) if attempts or step not in OF_AN_ATTEMPT]


async def test_a_step_changes_nothing_once_another_attempt_has_begun(pool: Pool) -> None:
    for step, attempts in CASES:
        store, stored = await begun(pool, f"{step} {attempts}", attempts)
        assert await store.start_attempt(stored, {"done": None})  # by the other process
        before = await everything(pool)
        assert not await STEPS[step](store, stored), (step, attempts)
        assert await everything(pool) == before, (step, attempts)


@pytest.mark.parametrize("state", ["settled", "manual"])
async def test_a_step_changes_nothing_once_the_write_is_at_rest(pool: Pool, state: str) -> None:
    for step, attempts in CASES:
        store, stored = await begun(pool, f"{step} {attempts}", attempts)
        await pool.execute("update writes set state = $1 where write_id = $2", state, stored.write.write_id)
        before = await everything(pool)
        assert not await STEPS[step](store, stored), (step, attempts)
        assert await everything(pool) == before, (step, attempts)


async def test_the_value_before_the_first_attempt_is_kept(pool: Pool) -> None:
    """It goes into the evidence; what a retry finds may be half of what the first attempt wrote."""
    store, stored = await begun(pool, "w1", 1)
    assert await store.start_attempt(stored, {"done": "half"})
    assert await pool.fetchval("select before ->> 'done' from writes") is None


async def test_the_attempt_before_a_retry_that_never_left_has_failed(pool: Pool) -> None:
    """It had ended without an effect, or there would have been no retry."""
    store, stored = await begun(pool, "w1", 2)
    await store.withdraw_attempt(stored, machine_now())
    again = await store.fetch(DueWrite(TENANT, stored.write.write_id, ""))
    assert again is not None
    assert (again.attempts, again.attempt and again.attempt.answer) == (1, MutationAnswer.FAILED)
