"""The worker: one write of an ordering key at a time and in order, whatever fails around it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from services.writeback import metrics, worker
from services.writeback.circuit_breaker import CircuitBreaker, PauseReason
from services.writeback.metrics import BacklogReporter
from services.writeback.store import enqueue_writes, save_people
from services.writeback.worker import WriteWorker
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import ContactId, PersonId
from shared.runtime.clock import SystemClock, machine_now
from shared.runtime.failures import CONNECTION_LOST
from tests.services.writeback.samples import follow_up, metadata, pitch, request
from tests.services.writeback.writeback_under_test import WritebackUnderTest

pytestmark = pytest.mark.integration
PITCHES, MESSAGES = 4, 6


def conversations() -> list[Event]:
    """A pitch and then messages, for several ordering keys, interleaved."""
    pitches = [pitch(dedupe_key=f"d{n}", reference=f"R{n}") for n in range(PITCHES)]
    events = [request(each, f"c{n}", f"acquisitions/R{n}", None) for n, each in enumerate(pitches)]
    for message in range(MESSAGES):
        for n in range(PITCHES):
            more = follow_up(f"wamid.{n}.{message}").replace(reference=f"R{n}")
            events.append(request(more, f"m{n}.{message}", f"acquisitions/R{n}", None))
    return events


@asynccontextmanager
async def second_replica(writeback: WritebackUnderTest) -> AsyncIterator[WriteWorker]:
    worker = WriteWorker(writeback.worker._connect, writeback.worker._executor, CircuitBreaker(PITCHES))
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_two_replicas_keep_the_order_of_every_key(narrow_writeback: WritebackUnderTest) -> None:
    await narrow_writeback.inject_fault("latency", count=None, seconds=0.1)
    async with second_replica(narrow_writeback) as other:
        await narrow_writeback.enqueue(*conversations())
        await narrow_writeback.wait_for_outcomes(*["verified"] * PITCHES * (MESSAGES + 1))
        assert other.started > 0
    for created in await narrow_writeback.control("GET", "state/acquisitions"):
        number = created["reference"].removeprefix("R")
        expected = [f"wamid.{number}.{message}" for message in range(MESSAGES)]
        assert [entry["source_message_id"] for entry in created["entries"]] == expected


async def test_lost_connections_lose_no_write(writeback: WritebackUnderTest, postgres_database: str) -> None:
    await writeback.enqueue(*conversations())
    await writeback.wait_until(lambda: has_appended_some(writeback))
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    await connection.close()
    await writeback.wait_until(lambda: has_nothing_pending(writeback))
    assert len(await writeback.mutation_log("appendToAcquisition")) == PITCHES * MESSAGES


async def has_appended_some(writeback: WritebackUnderTest) -> bool:
    return len(await writeback.mutation_log("appendToAcquisition")) > PITCHES


async def has_nothing_pending(writeback: WritebackUnderTest) -> bool:
    with suppress(*CONNECTION_LOST):
        backlog = await writeback.store.fetch_backlog()
        return backlog.pending == 0
    return False


async def test_a_pause_ends_in_time_after_the_clock_was_set_back(
    writeback: WritebackUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writeback.inject_fault("http_503", count=None)
    await writeback.enqueue(request(metadata()))
    await writeback.wait_until(lambda: is_paused(writeback))
    monkeypatch.setattr(worker, "machine_now", lambda: machine_now() - timedelta(hours=1))
    await writeback.control("DELETE", "faults")
    async with asyncio.timeout(20):
        await writeback.wait_for_outcomes("verified", "approved")


async def is_paused(writeback: WritebackUnderTest) -> bool:
    return writeback.breaker.pause_reason is not None


async def test_a_person_without_a_name_is_stored_without_one(writeback: WritebackUnderTest) -> None:
    event = request(metadata())
    nameless = PersonObserved(person_id=PersonId("p2"), observed_at=event.time, version=1)
    async with writeback.pool.acquire() as connection:
        await save_people(connection, [event.replace(data=nameless, type=nameless.kind)])
    assert await writeback.pool.fetchval("select display_name from people where person_id = 'p2'") == ""


@pytest.mark.parametrize("is_one_batch", [True, False])
async def test_an_older_state_of_a_person_changes_nothing(writeback: WritebackUnderTest, *, is_one_batch: bool) -> None:
    event = request(metadata())
    older = PersonObserved(person_id=PersonId("p2"), display_name="Ada", observed_at=event.time, version=1)
    states = [older.replace(version=2, display_name=None, erased=True), older]
    async with writeback.pool.acquire() as connection:
        for batch in [states] if is_one_batch else [[state] for state in states]:
            await save_people(connection, [event.replace(data=state, type=state.kind) for state in batch])
    row = await writeback.pool.fetchrow("select display_name, erased, version from people where person_id = 'p2'")
    assert tuple(row) == ("", True, 2)


async def test_a_newer_state_of_a_person_takes_the_place_of_the_older_one(writeback: WritebackUnderTest) -> None:
    event = request(metadata())
    first = PersonObserved(person_id=PersonId("p2"), display_name="Ada", observed_at=event.time, version=1)
    contact = first.replace(display_name="Ada Byron", contact_id=ContactId(7), version=2)
    merged = first.replace(display_name=None, erased=True, merged_into=PersonId("p3"), version=4)
    states, rows = (first, contact, contact.replace(display_name="Late"), merged), []
    async with writeback.pool.acquire() as connection:
        for state in states:
            await save_people(connection, [event.replace(data=state, type=state.kind)])
            rows.append(tuple(await connection.fetchrow("select * from people where person_id = 'p2'")))
    expected = [(one.contact_id, one.display_name or "", one.erased, one.version, one.merged_into) for one in states]
    assert [row[2:] for row in rows] == [expected[0], expected[1], expected[1], expected[3]]


# ------------------------------------------------------------------ unexpected errors


def deferred_writes() -> float:
    samples = (sample for metric in metrics.DEFERRED.collect() for sample in metric.samples)
    return float(sum(sample.value for sample in samples if sample.name.endswith("_total")))


async def enqueue_with_undecodable(writeback: WritebackUnderTest, document: str) -> None:
    """Two writes of two ordering keys; the request of the first is replaced by ``document``."""
    events = [request(metadata(), "w1"), request(pitch(), "w2", "acquisitions/R1", None)]
    async with writeback.pool.acquire() as connection, connection.transaction():
        await enqueue_writes(connection, events)
        await connection.execute("update writes set request = $1 where record = 'works/61421'", document)


@pytest.mark.parametrize("document", ["null", "[]", "{}", '{"write_id": 5}'])
async def test_a_write_that_cannot_be_decoded_is_deferred_and_the_others_go_on(
    writeback: WritebackUnderTest, document: str
) -> None:
    before = deferred_writes()
    await enqueue_with_undecodable(writeback, document)
    await writeback.wait_for_outcomes("verified")
    assert deferred_writes() > before


async def test_later_writes_go_on_beside_one_that_cannot_be_decoded(writeback: WritebackUnderTest) -> None:
    async with writeback.pool.acquire() as connection, connection.transaction():
        await enqueue_writes(connection, [request(metadata(), "odd", "works/61418", 61418)])
        await connection.execute("update writes set request = '{}'")
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")


async def test_a_write_that_cannot_even_be_deferred_does_not_end_the_worker(
    writeback: WritebackUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(writeback.store, "defer", fail)
    await enqueue_with_undecodable(writeback, "{}")
    await writeback.wait_for_outcomes("verified")


async def test_an_introspection_that_cannot_be_read_is_repeated(
    writeback: WritebackUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_schema, failures_left = writeback.client.fetch_schema, [2]

    async def fail_twice() -> Any:
        failures_left[0] -= 1
        if failures_left[0] >= 0:
            raise TypeError
        return await fetch_schema()

    monkeypatch.setattr(writeback.client, "fetch_schema", fail_twice)
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")
    assert failures_left[0] < 0


async def test_the_backlog_reporter_continues_after_an_error_of_any_kind(
    writeback: WritebackUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_REFRESH_SECONDS", 0.01)
    calls = [0]

    async def fail() -> Any:
        calls[0] += 1
        raise ValueError

    monkeypatch.setattr(writeback.store, "fetch_backlog", fail)
    running = asyncio.create_task(BacklogReporter(writeback.store, SystemClock()).run())
    await writeback.wait_until(lambda: is_at_least(calls, 3))
    assert not running.done()
    running.cancel()


async def is_at_least(calls: list[int], count: int) -> bool:
    return calls[0] >= count


async def test_a_refused_key_is_named_until_it_is_accepted(writeback: WritebackUnderTest) -> None:
    await writeback.inject_fault("revoked_key", count=None)
    await writeback.enqueue(request(metadata()))
    await writeback.wait_until(lambda: has_refused_key(writeback))
    assert (await writeback.client.key_detail()).startswith("STET_CONSONANCE_KEY: ")
    await writeback.control("DELETE", "faults")
    await writeback.wait_for_outcomes("verified", "approved")
    assert await writeback.client.key_detail() == ""


async def has_refused_key(writeback: WritebackUnderTest) -> bool:
    return writeback.breaker.pause_reason is PauseReason.KEY_REFUSED
