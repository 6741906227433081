"""Evidence is there for every outcome, once, and cannot be altered; erasure and legal holds decide who can read it."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from services.writeback.evidence_chain import EvidenceDraft
from services.writeback.evidence_store import (
    KeyErasure,
    append_evidence,
    destroy_keys,
    erased_among,
    fetch_chain,
    move_older_evidence,
    move_older_forever,
    place_hold,
    release_hold,
)
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import Connection
from tests.services.writeback.samples import NEW_SUBTITLE, NOW, SUBTITLE, TENANT, metadata, request
from tests.services.writeback.test_manual_tasks import command
from tests.services.writeback.writeback_under_test import WritebackUnderTest, open_pool

pytestmark = pytest.mark.integration


def draft(name: str, record: str = "rights/R-9", person: str | None = "p1") -> EvidenceDraft:
    return EvidenceDraft(
        tenant=TENANT,
        record=record,
        entry_id=name,
        kind="asked",
        at=NOW,
        person_id=person,
        public={"rule": "a-rule"},
        content={"rendered": f"May we, {name}?"},
    )


async def append(writeback: WritebackUnderTest, *drafts: EvidenceDraft) -> int:
    async with writeback.pool.acquire() as connection, connection.transaction():
        return await append_evidence(connection, drafts, NOW)


async def readable(writeback: WritebackUnderTest, record: str = "rights/R-9") -> list[bool]:
    async with writeback.pool.acquire() as connection:
        chain = await fetch_chain(connection, TENANT, record)
    assert chain.find_fault() is None
    return [each.content is not None for each in chain.entries]


_ANY_WAITS = "select exists (select from pg_locks where not granted)"


async def until_it_waits(task: asyncio.Task[Any], connection: Connection, seen_by: Connection) -> None:
    """Until the task waits for a lock on ``connection``, or has ended without."""
    waiting = "select count(*) from pg_locks where not granted and pid = $1"  # pg_stat_activity hides it from a role
    for _ in range(500):
        if task.done() or await seen_by.fetchval(waiting, connection.get_server_pid()):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it neither waits nor ends")


async def test_evidence_holds_the_request_its_proof_and_the_value_read_back(
    writeback: WritebackUnderTest, postgres_database: str
) -> None:
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("verified", "approved")
    shown = command(postgres_database, "evidence", "show", "works/61421", "--reason", "a test")
    (line,) = map(orjson.loads, shown.stdout.splitlines())
    content = line["content"]
    assert (line["public"]["outcome"], content["proof"]["reply"], content["proof"]["rendered"]) == (
        "verified",
        "yes",
        "Shall the subtitle read so?",
    )
    (read,) = content["read_back"]
    assert (read["before"], read["asked"], read["read"]) == (SUBTITLE, NEW_SUBTITLE, NEW_SUBTITLE)
    assert await writeback.pool.fetchval("select count(*) from evidence") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "update evidence_entries set outcome = 'conflict'",
        "delete from evidence_entries",
        "truncate evidence_entries",
        "delete from evidence",
    ],
)
async def test_evidence_is_append_only(writeback: WritebackUnderTest, statement: str) -> None:
    await append(writeback, draft("e1"))
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await writeback.pool.execute(statement)


async def test_a_conflict_leaves_evidence(writeback: WritebackUnderTest) -> None:
    await writeback.control("PATCH", "works/61421", {"subtitle": "Theirs"})
    await writeback.enqueue(request(metadata()))
    await writeback.wait_for_outcomes("conflict")
    async with writeback.pool.acquire() as connection:
        (entry,) = (await fetch_chain(connection, TENANT, "works/61421")).entries
    content = entry.document() or {}
    assert (content["outcome"], content["detail"], content["read_back"][0]["read"]) == (
        "conflict",
        "changed_meanwhile",
        "Theirs",
    )


async def test_evidence_appended_twice_is_in_the_chain_once(writeback: WritebackUnderTest) -> None:
    assert await append(writeback, draft("e1"), draft("e2"), draft("e1")) == 2
    assert await append(writeback, draft("e2"), draft("e3", person=None), draft("e4", "works/1")) == 2
    assert await readable(writeback) == [True, True, True]
    assert await readable(writeback, "works/1") == [True]


async def test_an_erased_persons_contents_are_gone_and_the_chain_stays_whole(writeback: WritebackUnderTest) -> None:
    await append(writeback, draft("e1"), draft("e2", person="p2"), draft("e3", person="p3"))
    people = "insert into people (tenant, person_id, display_name, erased, version, merged_into) values "
    await writeback.pool.execute(
        f"{people} ('{TENANT}', 'p1', '', false, 1, 'p0'), ('{TENANT}', 'p0', '', true, 1, null)"
    )
    async with writeback.pool.acquire() as connection, connection.transaction():
        assert await erased_among(connection, TENANT, ["p1", "p2"]) == {"p1"}
        erasure = await destroy_keys(connection, TENANT, ["p0", "p3"], NOW)
    assert (erasure.destroyed, erasure.held) == (("p0", "p1", "p3"), {})
    await append(writeback, draft("e4"))  # came late, about a person who is gone
    assert await readable(writeback) == [False, True, False, False]
    sealed = await writeback.pool.fetchval("select sealed from evidence_entries where entry_id = 'e4'")
    assert sealed is None


async def test_a_legal_hold_postpones_the_erasure_until_it_is_released(writeback: WritebackUnderTest) -> None:
    await append(writeback, draft("e1"), draft("e2", "works/1"), draft("e3", person="p2"))
    async with writeback.pool.acquire() as connection, connection.transaction():
        assert await place_hold(connection, TENANT, "works/1", "ada", "a dispute", NOW)
        assert not await place_hold(connection, TENANT, "works/1", "ada", "again", NOW)
        erasure = await destroy_keys(connection, TENANT, ["p1", "p2"], NOW)
    assert (erasure.destroyed, erasure.held) == (("p2",), {"p1": ("works/1",)})
    assert await readable(writeback) == [True, False]
    async with writeback.pool.acquire() as connection, connection.transaction():
        released = await release_hold(connection, TENANT, "works/1", "ada", "settled", NOW)
        assert await release_hold(connection, TENANT, "works/1", "ada", "settled", NOW) is None
    assert released is not None
    assert released.destroyed == ("p1",)
    assert await readable(writeback) == [False, False]


@pytest.mark.parametrize("has_earlier_entry", [True, False])
async def test_an_entry_that_is_being_made_while_a_hold_and_an_erasure_come_is_kept_by_the_hold(
    writeback: WritebackUnderTest, *, has_earlier_entry: bool
) -> None:
    if has_earlier_entry:
        await append(writeback, draft("e0", "works/1"))
    pool = writeback.pool
    async with pool.acquire() as appending, pool.acquire() as holding, pool.acquire() as erasing:
        entry = appending.transaction()
        await entry.start()
        assert await append_evidence(appending, [draft("e1")], NOW) == 1
        async with holding.transaction():
            assert await place_hold(holding, TENANT, "rights/R-9", "ada", "a dispute", NOW)

        async def erase() -> KeyErasure:
            async with erasing.transaction():
                return await destroy_keys(erasing, TENANT, ["p1"], NOW)

        erasure = asyncio.create_task(erase())
        await until_it_waits(erasure, erasing, seen_by=holding)
        await entry.commit()
        outcome = await erasure
    assert (outcome.destroyed, outcome.held) == ((), {"p1": ("rights/R-9",)})
    assert await readable(writeback) == [True]


async def test_an_erasure_that_is_under_way_leaves_nothing_that_could_be_sealed(
    writeback: WritebackUnderTest,
) -> None:
    """The entry waits for the erasure, and is kept without its content: it came after."""
    await append(writeback, draft("e0", "works/1"))
    pool = writeback.pool
    async with pool.acquire() as erasing:
        erasure = erasing.transaction()
        await erasure.start()
        await destroy_keys(erasing, TENANT, ["p1"], NOW)
        entry = asyncio.create_task(append(writeback, draft("e1")))
        async with asyncio.timeout(20):
            while not entry.done() and not await erasing.fetchval(_ANY_WAITS):
                await asyncio.sleep(0.01)
        assert not entry.done()
        await erasure.commit()
        assert await entry == 1
    assert await writeback.pool.fetchval("select sealed from evidence_entries where entry_id = 'e1'") is None


async def test_two_transactions_append_to_a_chain_one_after_the_other(writeback: WritebackUnderTest) -> None:
    """The number of an entry is the next one: taken twice, a record of Kafka would count as at fault and be parked."""
    await append(writeback, draft("e0", person=None))
    pool = writeback.pool
    async with pool.acquire() as first, pool.acquire() as second, pool.acquire() as third:
        entry = first.transaction()
        await entry.start()
        assert await append_evidence(first, [draft("e1", person=None)], NOW) == 1

        async def append_other() -> int:
            async with second.transaction():
                return await append_evidence(second, [draft("e2", person=None)], NOW)

        other = asyncio.create_task(append_other())
        await until_it_waits(other, second, seen_by=third)
        await entry.commit()
        assert await other == 1
    assert await readable(writeback) == [True, True, True]


async def test_a_chain_that_grows_while_it_is_read_is_whole(
    writeback: WritebackUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entries and its end are read by two queries."""
    await append(writeback, draft("e1"))
    async with writeback.pool.acquire() as connection:
        read_end = asyncpg.Connection.fetchrow

        async def append_and_read_end(*arguments: Any) -> Any:
            await append(writeback, draft("e2"))
            return await read_end(*arguments)

        monkeypatch.setattr(asyncpg.Connection, "fetchrow", append_and_read_end)
        chain = await fetch_chain(connection, TENANT, "rights/R-9")
    assert (len(chain.entries), chain.find_fault()) == (1, None)


async def test_a_hold_that_comes_during_an_erasure_is_placed_after_it(writeback: WritebackUnderTest) -> None:
    """The operator is told how much is not readable any more; that must be true a moment later, too."""
    await append(writeback, draft("e1"))
    pool = writeback.pool
    async with pool.acquire() as erasing, pool.acquire() as holding, pool.acquire() as third:
        erasure = erasing.transaction()
        await erasure.start()
        assert (await destroy_keys(erasing, TENANT, ["p1"], NOW)).destroyed == ("p1",)

        async def hold() -> bool:
            async with holding.transaction():
                return await place_hold(holding, TENANT, "rights/R-9", "ada", "a dispute", NOW)

        placed = asyncio.create_task(hold())
        await until_it_waits(placed, holding, seen_by=third)
        assert not placed.done()
        await erasure.commit()
        assert await placed
    assert await readable(writeback) == [False]


async def test_an_erasure_that_comes_while_its_hold_is_released_is_carried_out(writeback: WritebackUnderTest) -> None:
    """It would be remembered for a hold that is gone, which no other release would ever end."""
    await append(writeback, draft("e1"))
    pool = writeback.pool
    async with pool.acquire() as releasing, pool.acquire() as erasing, pool.acquire() as third:
        async with releasing.transaction():
            assert await place_hold(releasing, TENANT, "rights/R-9", "ada", "a dispute", NOW)
        release = releasing.transaction()
        await release.start()
        assert await release_hold(releasing, TENANT, "rights/R-9", "ada", "settled", NOW) is not None

        async def erase() -> KeyErasure:
            async with erasing.transaction():
                return await destroy_keys(erasing, TENANT, ["p1"], NOW)

        erasure = asyncio.create_task(erase())
        await until_it_waits(erasure, erasing, seen_by=third)
        await release.commit()
        assert (await erasure).destroyed == ("p1",)
    assert await readable(writeback) == [False]


async def test_a_key_that_was_destroyed_keeps_the_day_of_its_erasure(writeback: WritebackUnderTest) -> None:
    await append(writeback, draft("e1"))
    for at in (NOW, NOW + timedelta(days=9)):
        async with writeback.pool.acquire() as connection, connection.transaction():
            await destroy_keys(connection, TENANT, ["p1"], at)
    assert await writeback.pool.fetchval("select destroyed_at from evidence_keys where person_id = 'p1'") == NOW


async def test_evidence_of_an_older_version_moves_into_the_chains_once(writeback: WritebackUnderTest) -> None:
    older = (
        "insert into evidence (tenant, record, write_id, operation, outcome, asked, proof, read_back, recorded_at)"
        " values ($1, 'rights/R-9', $2, 'rights.record_decision', 'verified', '{\"decision\": \"approved\"}',"
        ' \'{"person_id": "p1", "rule": "r"}\', \'[]\', $3)'
    )
    for write in ("w1", "w2", "w3"):
        await writeback.pool.execute(older, TENANT, write, NOW)
    moved = []
    for _ in range(3):
        async with writeback.pool.acquire() as connection, connection.transaction():
            moved.append(await move_older_evidence(connection, 2, NOW))
    assert moved == [2, 1, 0]
    assert await readable(writeback) == [True, True, True]
    in_order = "select array_agg(write_id order by sequence) from evidence_entries where record = 'rights/R-9'"
    assert await writeback.pool.fetchval(in_order) == ["w1", "w2", "w3"]
    assert await writeback.pool.fetchval("select count(*) from evidence") == 0


async def test_a_database_that_is_away_does_not_end_the_move_of_older_evidence(postgres_database: str) -> None:
    """A task that ends is started again, and counted as a fault of the program."""
    async with open_pool(postgres_database) as pool:
        pool.terminate()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(move_older_forever(pool, SystemClock()), 0.5)
