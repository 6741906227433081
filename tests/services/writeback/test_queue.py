"""The queue: one write of a lane at a time and in order, whoever takes it up, and whatever becomes of the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from services.writeback import intake
from services.writeback.gate import Gate
from services.writeback.queue import Queue
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import PersonId
from shared.contracts.writes import CreateAcquisition
from shared.runtime.postgres import CONNECTION_LOST
from tests.services.writeback.desk import Desk
from tests.services.writeback.samples import follow_up, metadata, pitch, request

pytestmark = pytest.mark.integration
PITCHES, MESSAGES = 4, 6


def conversations() -> list[Event]:
    """A pitch and then messages, for several lanes, interleaved."""
    asked = [request(one, f"c{n}", f"acquisitions/R{n}", None) for n in range(PITCHES) for one in [a_pitch(n)]]
    for message in range(MESSAGES):
        for n in range(PITCHES):
            more = follow_up(f"wamid.{n}.{message}").replace(reference=f"R{n}")
            asked.append(request(more, f"m{n}.{message}", f"acquisitions/R{n}", None))
    return asked


def a_pitch(number: int) -> CreateAcquisition:
    return pitch(dedupe_key=f"d{number}", reference=f"R{number}")


@asynccontextmanager
async def second_replica(desk: Desk) -> AsyncIterator[Queue]:
    queue = Queue(desk.queue._connect, desk.ledger, desk.queue._carrier, desk.queue._consonance, Gate(PITCHES))
    running = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_two_replicas_keep_the_order_of_every_lane(narrow_desk: Desk) -> None:
    await narrow_desk.fault("latency", count=None, seconds=0.1)
    async with second_replica(narrow_desk) as other:
        await narrow_desk.ask(*conversations())
        await narrow_desk.heard(*["verified"] * PITCHES * (MESSAGES + 1))
        assert other.turns > 0
    for made in await narrow_desk.stand.tell("GET", "state/acquisitions"):
        number = made["reference"].removeprefix("R")
        expected = [f"wamid.{number}.{message}" for message in range(MESSAGES)]
        assert [entry["source_message_id"] for entry in made["entries"]] == expected


async def test_lost_connections_lose_no_write(desk: Desk, postgres_database: str) -> None:
    await desk.ask(*conversations())
    await desk.until(lambda: begun(desk))
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    await connection.close()
    await desk.until(lambda: finished(desk))
    assert len(await desk.log("appendToAcquisition")) == PITCHES * MESSAGES


async def test_a_write_nobody_understands_stops_no_other(desk: Desk) -> None:
    async with desk.pool.acquire() as connection, connection.transaction():
        await intake.enqueue(connection, [request(metadata(), "odd", "works/61418", 61418)])
        await connection.execute("update writes set request = '{}'")
    await desk.ask(request(metadata()))
    await desk.heard("verified", "approved")


async def begun(desk: Desk) -> bool:
    return len(await desk.log("appendToAcquisition")) > PITCHES


async def finished(desk: Desk) -> bool:
    with suppress(*CONNECTION_LOST):
        return (await desk.ledger.backlog()).moving == 0
    return False


async def test_a_person_without_a_name_is_remembered_without_one(desk: Desk) -> None:
    asked = request(metadata())
    nameless = PersonObserved(person_id=PersonId("p2"), observed_at=asked.time, version=1)
    async with desk.pool.acquire() as connection:
        await intake.remember_people(connection, [asked.replace(data=nameless, type=nameless.kind)])
    assert await desk.pool.fetchval("select display_name from people where person_id = 'p2'") == ""
