"""When Consonance misbehaves, no unseen write is reported and none is repeated without need."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from services.writeback import executor
from services.writeback.capabilities import Capabilities
from services.writeback.circuit_breaker import PauseReason
from services.writeback.executor import WriteExecutor, _UnreadableRecords
from services.writeback.operation_mapping import load_mapping
from services.writeback.protocol import next_step
from services.writeback.store import DueWrite, WriteStore, enqueue_writes
from services.writeback.write_state import StoredWrite
from shared.clients.consonance_graphql import ConsonanceClient, RequestNotSent
from shared.contracts.consonance import MetadataField
from shared.runtime.clock import SystemClock, machine_now
from shared.runtime.postgres import Pool
from tests.dev.consonance.simulator_under_test import SimulatorUnderTest, running_simulator
from tests.services.writeback.samples import item, metadata, pitch, request
from tests.services.writeback.writeback_under_test import (
    MAPPING,
    WritebackUnderTest,
    consonance_client,
    open_pool,
    running_worker,
    running_writeback,
)

pytestmark = pytest.mark.integration


async def test_errors_in_a_200_are_a_failure_and_the_write_is_repeated(writeback: WritebackUnderTest) -> None:
    await writeback.inject_fault("ok_with_errors", operation="SetWorkSubtitle")
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")
    assert len(await writeback.mutation_log("updateWork")) == 1


async def test_a_refusal_in_the_payload_becomes_a_task_with_its_message(writeback: WritebackUnderTest) -> None:
    await writeback.inject_fault("ok_with_errors", operation="SetWorkSubtitle", place="payload", message="is too odd")
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("manual")
    (task,) = await writeback.pool.fetch("select reason, error_messages from tasks")
    assert (task["reason"], task["error_messages"]) == ("refused", '["base: is too odd"]')


async def test_a_write_that_landed_without_an_answer_is_verified_and_not_repeated(
    writeback: WritebackUnderTest,
) -> None:
    await writeback.inject_fault("write_then_timeout", operation="CreateAcquisition", seconds=0.2)
    await writeback.enqueue(request(pitch(), "w1", "acquisitions/PITCH-7", None))
    await writeback.wait_for_outcomes("verified")
    assert len(await writeback.mutation_log("createAcquisition")) == 1


async def test_a_write_that_may_still_land_is_unknown_until_it_does(postgres_database: str) -> None:
    async with running_writeback(postgres_database, request_seconds=1) as writeback:
        await writeback.inject_fault("latency", operation="SetWorkSubtitle", seconds=1.6)
        await writeback.enqueue(request(metadata()))
        await writeback.wait_for_outcomes("unknown", "verified", "approved")
        assert len(await writeback.mutation_log("updateWork")) == 1


async def test_a_write_that_never_landed_is_unknown_and_then_repeated(postgres_database: str) -> None:
    async with running_writeback(postgres_database, effect_window=0.5) as writeback:
        await writeback.inject_fault("http_503", operation="SetWorkSubtitle")
        await writeback.enqueue(request(metadata()))
        await writeback.wait_for_outcomes("unknown", "verified", "approved")
        assert len(await writeback.mutation_log("updateWork")) == 1


async def test_while_consonance_is_down_the_queue_keeps_everything(writeback: WritebackUnderTest) -> None:
    await writeback.inject_fault("http_503", count=None)
    await writeback.enqueue(*(request(metadata(), f"w{n}") for n in range(20)))
    await writeback.wait_until(lambda: paused(writeback, PauseReason.DOWN))
    assert (await writeback.store.fetch_backlog()).pending == 20
    await writeback.control("DELETE", "faults")
    await writeback.wait_until(lambda: finished(writeback))
    assert await writeback.outcomes() == ["verified", "approved"] + ["already_applied", "approved"] * 19


async def test_a_revoked_key_pauses_everything_until_it_is_good_again(writeback: WritebackUnderTest) -> None:
    await writeback.inject_fault("revoked_key", count=None)
    await writeback.enqueue(request(metadata()))
    await writeback.wait_until(lambda: paused(writeback, PauseReason.KEY_REFUSED))
    assert await writeback.outcomes() == []
    await writeback.control("DELETE", "faults")
    await writeback.wait_for_outcomes("verified", "approved")


async def test_a_changed_schema_is_introspected_again(writeback: WritebackUnderTest) -> None:
    refused = "Cannot query field 'subtitle' on type 'Work'."
    await writeback.inject_fault("ok_with_errors", operation="ReadWorkSubtitle", message=refused)
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")


async def test_a_record_that_cannot_be_read_becomes_a_task(writeback: WritebackUnderTest) -> None:
    await writeback.inject_fault("ok_with_errors", operation="ReadWorkSubtitle", count=None)
    async with asyncio.timeout(30):
        await writeback.enqueue(request(metadata()))
        await writeback.wait_for_outcomes("manual")
    assert (await writeback.events())[0]["data"]["detail"] == "unreadable"


async def paused(writeback: WritebackUnderTest, pause: PauseReason) -> bool:
    return writeback.breaker.pause_reason is pause


async def finished(writeback: WritebackUnderTest) -> bool:
    return (await writeback.store.fetch_backlog()).pending == 0


async def test_one_failed_read_after_many_good_ones_opens_no_task(writeback: WritebackUnderTest) -> None:
    await writeback.inject_fault("ok_with_errors", operation="ReadWorkSubtitle")
    async with writeback.pool.acquire() as connection, connection.transaction():
        await enqueue_writes(connection, [request(metadata())])
        await connection.execute("update writes set reads = 9")
    await writeback.wait_until(lambda: has_failed_read(writeback))
    await read_now(writeback)
    await writeback.wait_for_outcomes("verified", "approved")


async def test_one_failed_read_back_after_a_retry_opens_no_task(writeback: WritebackUnderTest) -> None:
    await writeback.inject_fault(
        "ok_with_errors", operation="SetWorkSubtitle"
    )  # the attempt fails, so the next one waits
    async with writeback.pool.acquire() as connection, connection.transaction():
        await enqueue_writes(connection, [request(metadata())])
        await connection.execute("update writes set reads = 9")
    await writeback.wait_until(lambda: attempted(writeback))
    await writeback.inject_fault("ok_with_errors", operation="ReadWorkSubtitle")
    await writeback.wait_for_outcomes("verified", "approved")


async def has_failed_read(writeback: WritebackUnderTest) -> bool:
    return bool(await writeback.pool.fetchval("select failed_reads from writes"))


async def read_now(writeback: WritebackUnderTest) -> None:
    """Not after the half minute that ten reads are followed by."""
    async with writeback.pool.acquire() as connection, connection.transaction():
        await connection.execute("update writes set due_at = now()")
        await connection.execute("select pg_notify('stet_writeback_queue', '')")


async def attempted(writeback: WritebackUnderTest) -> bool:
    return bool(await writeback.pool.fetchval("select attempts from writes"))


async def test_a_request_in_the_middle_of_a_write_may_still_land_after_a_crash(postgres_database: str) -> None:
    """A write of several changes may take longer than one request may: the last request counts, not the first."""
    effect_window, copy = timedelta(seconds=3), "Forty sleeper lines and what can be seen from each at dawn."
    texts = item("Forty **lines**, and dawn.", copy, field=MetadataField.COVER_COPY, item_id="i2")
    async with (
        running_simulator() as simulator,
        consonance_client(f"{simulator.url}/graphql", 10) as client,
        open_pool(postgres_database) as pool,
    ):
        for operation in ("SetWorkSubtitle", "CreateCoverCopy"):
            await simulator.tell("POST", "faults", {"kind": "latency", "operation": operation, "seconds": 2.5})
        capabilities, store = Capabilities(load_mapping(MAPPING)), WriteStore(pool, SystemClock())
        await capabilities.refresh(client)
        async with pool.acquire() as connection, connection.transaction():
            await enqueue_writes(connection, [request(metadata(item(), texts))])
        (due,) = await store.fetch_due([], 1)
        stored = await store.fetch(due)
        assert stored is not None
        began = machine_now()
        executing = asyncio.create_task(WriteExecutor(store, client, capabilities, effect_window).execute(stored))
        while not await simulator.tell("GET", "log?operation=updateWork"):
            await asyncio.sleep(0.02)
        async with asyncio.timeout(20):
            while await pool.fetchval("select asked_at from writes") - began <= timedelta(seconds=2):
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)  # the second request, before which that was committed, is on its way
        executing.cancel()
        async with running_worker(postgres_database, simulator, client, effect_window) as writeback:
            await writeback.wait_until(lambda: finished(writeback))
            assert (await writeback.outcomes())[-2:] == ["verified", "approved"]
            await asyncio.sleep(2.5)  # by then the request that was on its way has landed
            assert len(await writeback.mutation_log("createMarketingText")) == 1


@dataclass
class EnqueuedWrite:
    """A write in the table, not begun, with what carries it out in this process; ``stored`` is how it was then."""

    store: WriteStore
    client: ConsonanceClient
    capabilities: Capabilities
    due: DueWrite
    stored: StoredWrite

    async def execute(self, effect_window: timedelta) -> None:
        """Carry it out from the state that is stored now."""
        stored = await self.store.fetch(self.due)
        assert stored is not None
        await WriteExecutor(self.store, self.client, self.capabilities, effect_window).execute(stored)


@asynccontextmanager
async def enqueued(
    database: str, store_class: type[WriteStore] = WriteStore
) -> AsyncIterator[tuple[EnqueuedWrite, SimulatorUnderTest, Pool]]:
    async with (
        running_simulator() as simulator,
        consonance_client(f"{simulator.url}/graphql", 10) as client,
        open_pool(database) as pool,
    ):
        capabilities, store = Capabilities(load_mapping(MAPPING)), store_class(pool, SystemClock())
        await capabilities.refresh(client)
        async with pool.acquire() as connection, connection.transaction():
            await enqueue_writes(connection, [request(metadata())])
        (due,) = await store.fetch_due([], 1)
        stored = await store.fetch(due)
        assert stored is not None
        yield EnqueuedWrite(store, client, capabilities, due, stored), simulator, pool


class FrozenStore(WriteStore):
    """Its process stands still after the intent is committed, before it goes on."""

    async def start_attempt(self, stored: StoredWrite, before: Mapping[str, str | None]) -> bool:
        is_started = await super().start_attempt(stored, before)
        time.sleep(0.3)  # noqa: ASYNC251 -- the whole process stands still
        return is_started


async def test_a_process_that_stood_still_after_its_intent_sends_nothing(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock may be another replica's by now, which waited for this attempt and wrote."""
    monkeypatch.setattr(executor, "_MAX_INTENT_AGE", timedelta(seconds=0.2))
    async with enqueued(postgres_database, FrozenStore) as (write, simulator, pool):
        with pytest.raises(RequestNotSent):
            await write.execute(timedelta(seconds=3))
        assert await simulator.tell("GET", "log?operation=updateWork") == []
        assert await pool.fetchval("select state from writes") == "queued"


async def test_a_process_that_stood_still_after_it_read_reads_again(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person may have changed the value meanwhile: their edit would be overwritten."""
    effect_window = timedelta(seconds=0.2)

    def judge_late(*arguments: Any) -> Any:
        step = next_step(*arguments)
        time.sleep(0.3)  # the whole process stands still
        return step

    async with enqueued(postgres_database) as (write, simulator, pool):
        with monkeypatch.context() as frozen:
            frozen.setattr(executor, "_MAX_INTENT_AGE", timedelta())
            frozen.setattr(executor, "next_step", judge_late)
            await write.execute(effect_window)
        assert await simulator.tell("GET", "log?operation=updateWork") == []
        assert await pool.fetchval("select state from writes") == "queued"
        await write.execute(effect_window)
        assert len(await simulator.tell("GET", "log?operation=updateWork")) == 1
        assert await pool.fetchval("select outcome from writes") == "verified"


async def test_a_record_is_asked_for_again_in_time_after_the_clock_was_set_back(
    writeback: WritebackUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")
    stored, unreadable = await overtaken(writeback), _UnreadableRecords()
    unreadable.add(stored)
    seconds = time.monotonic()
    monkeypatch.setattr(executor, "machine_now", lambda: machine_now() - timedelta(hours=1))
    monkeypatch.setattr(executor, "time", SimpleNamespace(monotonic=lambda: seconds + 6), raising=False)
    assert stored not in unreadable


async def test_the_time_in_which_an_attempt_may_take_effect_begins_anew_where_the_clock_was_set_back(
    postgres_database: str,
) -> None:
    """Its attempt was noted by a clock a day ahead, and was never answered: it is not in doubt for a day."""
    effect_window = timedelta(seconds=0.2)
    async with enqueued(postgres_database) as (write, _, pool):
        assert await write.store.start_attempt(write.stored, {})
        await pool.execute("update writes set asked_at = now() + interval '1 day'")
        for _ in range(100):  # it is in doubt for a moment, and a second attempt waits for a second
            if await pool.fetchval("select outcome from writes") is not None:
                break
            await write.execute(effect_window)
            await asyncio.sleep(0.1)
        assert await pool.fetchval("select outcome from writes") == "verified"


async def test_a_process_that_was_overtaken_publishes_nothing(writeback: WritebackUnderTest) -> None:
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")
    stored = await overtaken(writeback)
    await writeback.store.postpone(stored, SystemClock().now(), is_unknown=True, failed_reads=0)
    assert await writeback.outcomes() == ["verified", "approved"]


async def overtaken(writeback: WritebackUnderTest) -> StoredWrite:
    """The write as a process knew it that lost its lock before another settled it."""
    await writeback.pool.execute("update writes set state = 'intent'")
    (due,) = await writeback.store.fetch_due([], 1)
    stored = await writeback.store.fetch(due)
    await writeback.pool.execute("update writes set state = 'settled'")
    assert stored is not None
    return stored
