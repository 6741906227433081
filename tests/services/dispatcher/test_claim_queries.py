"""Which messages a claim takes, in which order, and which it lets wait: by rows that differ in one respect each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.dispatcher.reasons import MAY_BE_PASSED
from services.dispatcher.store import QUERIES, DueMessage, LaneCapacity, MessageStore
from shared.contracts.messages import Lane
from shared.runtime.postgres import Connection, Pool, role_name
from tests.services.dispatcher.dispatcher_under_test import TENANT

pytestmark = pytest.mark.integration
NOW, MACHINE = datetime(2027, 3, 3, 10, tzinfo=UTC), datetime(2026, 11, 30, 8, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
STORE = MessageStore(TENANT)
NORMAL = LaneCapacity("main", Lane.NORMAL, 64)
ALL_LANES = tuple(LaneCapacity("main", lane, 64) for lane in (Lane.CRITICAL, Lane.NORMAL, Lane.BULK))


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    settings = {"search_path": "dispatcher", "role": role_name("dispatcher")}
    async with asyncpg.create_pool(postgres_database, min_size=1, max_size=2, server_settings=settings) as pool:
        yield pool


async def put(pool: Connection | Pool, table: str, **row: Any) -> None:
    columns, places = ", ".join(row), ", ".join(f"${place}" for place in range(1, len(row) + 1))
    await pool.execute(f"insert into {table} ({columns}) values ({places})", *row.values())  # noqa: S608 -- our names


async def put_message(pool: Connection | Pool, name: str, **changes: Any) -> None:
    """A message that is due, to a person of its own."""
    row = {
        "tenant": TENANT, "message_id": name, "person_id": f"p-{name}", "line": "main", "lane": 1, "state": "waiting",
        "content": "{}", "button_ids": [], "resend": "never", "requested_at": NOW - HOUR, "expires_at": NOW + DAY,
        "not_before": NOW - HOUR, "changed_at": NOW - HOUR, "request_event": "e", "say": "s",
    }  # fmt: skip
    await put(pool, "messages", **row | changes)


async def due(pool: Pool, lanes: Sequence[LaneCapacity] = (NORMAL,), at_most: int = 64) -> list[str]:
    found = await STORE.find_due(pool, lanes, ["p-busy"], (NOW, MACHINE), at_most)
    return [one.message.message_id if isinstance(one, DueMessage) else one.message_id for one in found]


async def test_a_message_is_due_that_may_go_now_in_a_lane_with_capacity(pool: Pool) -> None:
    found: dict[str, dict[str, Any]] = {
        "as it is": {}, "at its instant": {"not_before": NOW}, "no longer held": {"hold_until": MACHINE - SECOND},
        "held by a clock that has been set back since": {"hold_until": MACHINE + 2 * HOUR},
    }  # fmt: skip
    others: dict[str, dict[str, Any]] = {
        "later": {"not_before": NOW + SECOND}, "in flight": {"state": "intent"}, "in doubt": {"state": "uncertain"},
        "of another line": {"line": "acquisitions"}, "more urgent": {"lane": 0}, "less urgent": {"lane": 2},
        "of another tenant": {"tenant": "another"}, "set aside": {"set_aside": "it cannot be read"},
        "to a busy person": {"person_id": "p-busy"}, "held": {"hold_until": MACHINE + SECOND},
    }  # fmt: skip
    for name, changes in (found | others).items():
        await put_message(pool, name, **changes)
    assert sorted(await due(pool)) == sorted(found)


async def test_the_oldest_go_first_and_no_more_of_a_lane_than_it_has_capacity_for(pool: Pool) -> None:
    await put_message(pool, "third", not_before=NOW - SECOND)
    await put_message(pool, "first")
    await put_message(pool, "second")
    await put_message(pool, "bulk", lane=2)
    assert await due(pool) == ["first", "second", "third"]
    assert await due(pool, [LaneCapacity("main", Lane.NORMAL, 2), LaneCapacity("main", Lane.BULK, 1)]) == [
        "first", "second", "bulk",
    ]  # fmt: skip
    assert await due(pool, [NORMAL, LaneCapacity("main", Lane.BULK, 1)], at_most=1) == ["first"]


async def test_of_ten_messages_one_is_of_the_bulk_and_critical_ones_go_before_all(pool: Pool) -> None:
    normal = [f"n{number:02}" for number in range(12)]
    for name in ("b0", "b1"):
        await put_message(pool, name, lane=2)
    for name in normal:
        await put_message(pool, name)
    await put_message(pool, "c0", lane=0)
    assert await due(pool, ALL_LANES) == ["c0", *normal[:9], "b0", *normal[9:], "b1"]
    owed = [*ALL_LANES[:2], LaneCapacity("main", Lane.BULK, 64, head_start=9)]
    assert await due(pool, owed) == ["c0", "b0", *normal[:9], "b1", *normal[9:]]


async def test_a_message_goes_after_the_earlier_ones_of_its_chat(pool: Pool) -> None:
    later, passed = {"not_before": NOW + HOUR}, {"not_before": NOW + HOUR, "reason": MAY_BE_PASSED[0]}
    holding: dict[str, dict[str, Any]] = {
        "of no chain": later, "of another chain": {**later, "reason": "pair_rate", "chain": "c2"},
        "of its chain, for a template": {**passed, "chain": "c1"}, "in flight": {"state": "intent"},
    }  # fmt: skip
    others: dict[str, dict[str, Any]] = {
        "of another chain, for a template": {**passed, "chain": "c2"}, "gone": {"state": "accepted"},
        "in doubt": {"state": "uncertain"}, "set aside": {"set_aside": "it cannot be read"},
        "of another line": {**later, "line": "acquisitions"}, "of another person": {**later, "person_id": "another"},
        "of another tenant": {**later, "tenant": "another"},
    }  # fmt: skip
    for name, earlier in (holding | others).items():
        await put_message(pool, f"before {name}", **{"person_id": name, **earlier})
        await put_message(pool, name, person_id=name, chain="c1")
        await put_message(pool, f"after {name}", person_id=name, chain="c1", **later)
    assert sorted(await due(pool)) == sorted(others)


async def test_a_due_message_comes_with_its_person_of_now_their_window_and_its_template(pool: Pool) -> None:
    template = {"template_name": "t", "template_language": "en"}
    await put_message(pool, "m1", person_id="merged", **template)
    await put_message(pool, "m2", person_id="unknown", template_name="t", template_language="fr")
    await put_message(pool, "m3", line="acquisitions", **template)
    await put(pool, "people", tenant=TENANT, person_id="merged", phone="+1", version=1, current_id="p1")
    await put(pool, "people", tenant=TENANT, person_id="p1", phone="+2", version=7)
    await put(pool, "people", tenant=TENANT, person_id="a-stranger", phone="+3", version=9)
    windows = {"acquisitions": ("p1",), "main": ("merged", "p1", "a-stranger")}
    for line, people in windows.items():
        for person in people:
            at = NOW - HOUR if (line, person) == ("main", "p1") else NOW - 2 * HOUR
            await put(pool, "windows", tenant=TENANT, line=line, person_id=person, opened_at=at)
    reports = (
        ("a", "t", "en", "OLD", 2), ("b", "t", "en", "NEW", 1), ("b", "t", "es", "NONE", 0),
        ("b", "u", "en", "NONE", 0),
    )  # fmt: skip
    for account, name, language, status, hour in reports:
        await put(
            pool, "account_templates", tenant=TENANT, account=account, name=name, language=language, status=status,
            reported_at=NOW - hour * HOUR, category="UTILITY",
        )  # fmt: skip

    def columns(*accounts: str | None) -> list[Any]:
        lines = (["main", "acquisitions"], [1, 1], [64, 64], [0, 0])
        return [TENANT, *lines, NOW, MACHINE, [], 64, list(MAY_BE_PASSED), 64, list(accounts)]

    found = {row["message_id"]: row for row in await pool.fetch(QUERIES.find_due, *columns(None, None))}
    row = found["m1"]
    assert (row["known"], row["recipient"], row["phone"], row["version"]) == ("p1", "p1", "+2", 7)
    assert (row["opened_at"], row["template_status"]) == (NOW - HOUR, "NEW")
    row = found["m2"]
    assert (row["known"], row["recipient"], row["opened_at"], row["template_status"]) == (None, "unknown", None, None)
    found = {row["message_id"]: row for row in await pool.fetch(QUERIES.find_due, *columns("a", "b"))}
    assert [found[name]["template_status"] for name in ("m1", "m3")] == ["OLD", "NEW"]


async def hold(pool: Pool, many: int, looked_at: int = 100) -> int:
    until = NOW + HOUR
    columns = (TENANT, ["main"], [1], NOW, until, looked_at, many, list(MAY_BE_PASSED), MACHINE, ["p-busy"])
    held: int = await pool.fetchval(QUERIES.hold_followers, *columns)
    return held


async def held(pool: Pool) -> dict[str, datetime]:
    rows = await pool.fetch("select message_id, not_before from messages where reason = 'earlier_message'")
    return {row["message_id"]: row["not_before"] for row in rows}


async def put_chat(pool: Pool, singles: int) -> None:
    """Four messages behind one, ``singles`` that are behind none, and others that are not looked at."""
    for number in range(5):
        await put_message(pool, f"m{number}", person_id="p1", **({"expires_at": NOW + SECOND} if number == 4 else {}))
    await pool.execute("update messages set not_before = $1 where message_id = 'm3'", NOW)
    for number in range(singles):
        await put_message(pool, f"single{number}")
    other: dict[str, dict[str, Any]] = {
        "late": {"not_before": NOW + SECOND}, "lane": {"lane": 2},
        "line": {"line": "acquisitions"}, "line2": {"line": "acquisitions"},
        "gone": {"state": "intent"}, "set": {"set_aside": "x"}, "held": {"hold_until": MACHINE + SECOND},
        "tenant": {"tenant": "another"},
    }  # fmt: skip
    for name, changes in other.items():
        await put_message(pool, name, **{"person_id": "p1", **changes})
    for number in range(2):
        await put_message(pool, f"busy{number}", person_id="p-busy")


async def test_many_messages_behind_an_earlier_one_are_taken_out_of_the_way_of_a_claim(pool: Pool) -> None:
    """Many: in number, and half of what is due."""
    await put_chat(pool, singles=5)
    assert await hold(pool, many=1) == 0
    await pool.execute("delete from messages where message_id in ('single3', 'single4')")
    assert await hold(pool, many=5) == 0
    assert await held(pool) == {}
    assert await hold(pool, many=4) == 4
    assert await held(pool) == {**dict.fromkeys(("m1", "m2", "m3"), NOW + HOUR), "m4": NOW + SECOND}


async def test_nothing_is_held_behind_a_message_that_just_changes(pool: Pool) -> None:
    """It may end meanwhile, and would release nothing."""
    await put_chat(pool, singles=3)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from messages where message_id = 'm0' for update")
        assert await hold(pool, many=1) == 0
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from messages where message_id = 'm2' for update")
        assert await hold(pool, many=1) == 3
    assert set(await held(pool)) == {"m1", "m3", "m4"}


async def test_messages_are_held_of_those_alone_that_are_due_first(pool: Pool) -> None:
    for number in range(3):
        await put_message(pool, f"single{number}", not_before=NOW)
    for number in range(3):
        await put_message(pool, f"m{number}", person_id="p1")
    assert await hold(pool, many=1, looked_at=3) == 2
    assert set(await held(pool)) == {"m1", "m2"}


async def test_a_message_of_the_same_id_at_another_tenant_is_neither_locked_nor_held(pool: Pool) -> None:
    await put_chat(pool, singles=3)
    for name in ("m0", "m1", "m2"):
        await put_message(pool, name, tenant="another", person_id="p1")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from messages where tenant = $1 and message_id = 'm0' for update", TENANT)
        assert await hold(pool, many=1) == 0
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from messages where tenant = $1 and message_id = 'm2' for update", TENANT)
        async with asyncio.timeout(5):
            assert await hold(pool, many=1) == 3
    rows = await pool.fetch("select tenant from messages where reason = 'earlier_message'")
    assert {row["tenant"] for row in rows} == {TENANT}


HELD: dict[str, Any] = {"reason": "earlier_message", "not_before": NOW + HOUR}


async def released(pool: Pool) -> list[tuple[str, str]]:
    """The messages that wait for nothing at their old places, with their tenants."""
    rows = await pool.fetch(
        "select tenant, message_id from messages where not_before = requested_at and reason is null order by sequence"
    )
    return [(row["tenant"], row["message_id"]) for row in rows]


async def test_a_follower_is_released_whatever_else_is_held_before_it(pool: Pool) -> None:
    """Each of these would be taken for the next message of the chat, if it counted as one."""
    others: dict[str, dict[str, Any]] = {
        "of another person": {"person_id": "p9"}, "on another line": {"line": "acquisitions"},
        "next": {"tenant": "another"}, "ended": {"state": "withdrawn"},
        "of another chain": {"reason": "quiet_hours", "chain": "c1"},
    }  # fmt: skip
    for name, changes in others.items():
        await put_message(pool, name, **{"person_id": "p1", **HELD, **changes})
    await put_message(pool, "next", person_id="p1", chain="c2", **HELD)
    await put_message(pool, "after", person_id="p1", chain="c2", **HELD)
    await STORE.release_followers(pool, [("p1", "main")])
    assert await released(pool) == [(TENANT, "next")]


async def test_only_what_is_held_behind_a_message_of_another_chain_may_pass_it(pool: Pool) -> None:
    await put_message(pool, "passed", tenant="another", person_id="p9", chain="c9", **HELD)
    await put_message(pool, "passed", person_id="p1", chain="c1", reason="quiet_hours", not_before=NOW + HOUR)
    await put_message(pool, "not asked", person_id="p8", chain="c8", reason="quiet_hours", not_before=NOW + HOUR)
    found: dict[str, dict[str, Any]] = {"of another chain": {"chain": "c2"}, "of none": {}}
    others: dict[str, dict[str, Any]] = {
        "of its chain": {"chain": "c1"}, "of another person": {"person_id": "p9"}, "to another": {"person_id": "p8"},
        "on another line": {"line": "acquisitions"}, "ended": {"state": "withdrawn"},
        "of none": {"tenant": "another"}, "waits for its hours": {"reason": "quiet_hours"},
    }  # fmt: skip
    for name, changes in (*found.items(), *others.items()):
        await put_message(pool, name, **{"person_id": "p1", **HELD, **changes})
    await pool.execute(QUERIES.release_other_chains, TENANT, ["passed"])
    assert await released(pool) == [(TENANT, name) for name in found]


async def test_each_of_several_messages_of_one_transaction_waits_for_its_own_instant(pool: Pool) -> None:
    """Their rows have the same version."""
    async with pool.acquire() as connection, connection.transaction():
        for name in ("m1", "m2"):
            await put_message(connection, name)
    version = await pool.fetchval("select xmin::text from messages limit 1")
    await STORE.postpone(pool, [("m1", NOW, "first", version), ("m2", NOW + HOUR, "second", version)])
    rows = await pool.fetch("select message_id, not_before, reason from messages order by message_id")
    assert [tuple(row) for row in rows] == [("m1", NOW, "first"), ("m2", NOW + HOUR, "second")]


async def test_the_next_message_of_each_chat_is_released_at_its_old_place(pool: Pool) -> None:
    waits = {"reason": "earlier_message", "not_before": NOW + HOUR}
    await put_message(pool, "m1", person_id="p1", **waits)
    await put_message(pool, "m2", person_id="p1", **waits)
    await put_message(pool, "first", person_id="p2", not_before=NOW + HOUR)
    await put_message(pool, "m3", person_id="p2", **waits)
    await put_message(pool, "m4", person_id="p3", **waits)
    await put_message(pool, "m5", person_id="p1", line="acquisitions", **waits)
    await put_message(pool, "m6", person_id="p4", reason="quiet_hours", not_before=NOW + HOUR)
    await put_message(pool, "m7", tenant="another", person_id="p1", **waits)
    chats = [(person, "main") for person in ("p1", "p2", "p4")]
    await STORE.release_followers(pool, chats)
    rows = await pool.fetch("select message_id, reason from messages where not_before = requested_at")
    assert [tuple(row) for row in rows] == [("m1", None)]


async def test_a_message_waits_as_it_was_planned_unless_it_has_changed_since_it_was_read(pool: Pool) -> None:
    for name, changes in {"m1": {}, "m2": {}, "m3": {"state": "intent"}, "m4": {"tenant": "another"}, "m5": {}}.items():
        await put_message(pool, name, **changes)
    versions = {row["message_id"]: row["version"] for row in await pool.fetch(_VERSIONS)}
    await pool.execute("update messages set lane = 0 where message_id = 'm2'")
    waits = [
        (name, NOW + place * HOUR, f"reason{place}", versions[name]) for place, name in enumerate(sorted(versions))
    ]
    await STORE.postpone(pool, waits[:4])
    rows = await pool.fetch("select message_id, not_before from messages where reason is not null")
    assert [tuple(row) for row in rows] == [("m1", NOW)]
    assert await pool.fetchval("select reason from messages where message_id = 'm1'") == "reason0"


_VERSIONS = "select message_id, xmin::text as version from messages"


async def test_a_lease_has_expired_that_ended_or_is_of_a_clock_that_was_set_back(pool: Pool) -> None:
    leases: dict[str, dict[str, Any]] = {
        "ended": {"lease_until": MACHINE - SECOND}, "now": {"lease_until": MACHINE},
        "runs": {"lease_until": MACHINE + SECOND}, "ahead": {"lease_until": MACHINE + 2 * HOUR},
        "own": {"lease_until": MACHINE - SECOND},
        "waits": {"state": "waiting", "lease_until": MACHINE - SECOND},
        "set aside": {"set_aside": "x", "lease_until": MACHINE - SECOND},
        "another": {"tenant": "another", "lease_until": MACHINE - SECOND},
    }  # fmt: skip
    for name, changes in leases.items():
        await put_message(pool, name, **{"state": "intent", **changes})
    assert sorted(await STORE.expired_leases(pool, MACHINE, ["own"], 500)) == ["ahead", "ended"]
    assert len(await STORE.expired_leases(pool, MACHINE, ["own"], 1)) == 1


async def test_silence_settles_the_oldest_uncertain_sends_that_may_be_repeated_or_are_withdrawn(pool: Pool) -> None:
    unproven: dict[str, Any] = {"state": "uncertain", "resend": "if_unproven", "attempts": 1}
    found: dict[str, dict[str, Any]] = {"m1": {}, "m2": {"resend": "never", "withdrawal": "chain_ended"}}
    others: dict[str, dict[str, Any]] = {
        "of another tenant": {"tenant": "another"}, "sent": {"state": "accepted"}, "in flight": {"state": "intent"},
        "never again": {"resend": "never"}, "set aside": {"set_aside": "it cannot be read"},
    }  # fmt: skip
    for place, (name, changes) in enumerate((found | others).items()):
        await put_message(pool, name, **unproven | changes)
        await put_attempt(pool, name, NOW - place * SECOND, tenant=changes.get("tenant", TENANT))
    await put_attempt(pool, "m1", NOW - HOUR, tenant="another")
    limits = (NOW - HOUR, (NOW - HOUR, NOW))
    assert await STORE.settled_by_silence(pool, *limits, 9) == ["m2", "m1"]
    assert await STORE.settled_by_silence(pool, *limits, 1) == ["m2"]


async def put_attempt(pool: Pool, name: str, at: datetime, tenant: str = TENANT) -> None:
    row = {"tenant": tenant, "message_id": name, "attempt": 1, "wording": "template", "lease_until": at}
    await put(pool, "attempts", **row, begun_at=NOW - HOUR, machine_at=at)
