"""The rows that ingest keeps where two replicas write: the newest state of a person, the pass of the last poll."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from services.ingest.records import InvalidInput
from services.ingest.store import ParkedInputStore, PersonStore, PollPass, SnapshotStore, queries
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import parse_event
from shared.contracts.errors import Unavailable
from shared.contracts.golden import golden
from shared.contracts.ids import PersonId, TenantId
from shared.contracts.topics import CONTACTS
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import Pool, role_name

pytestmark = pytest.mark.integration
TENANT, OTHER = TenantId("acme"), TenantId("another")
NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    settings = {"search_path": "ingest", "role": role_name("ingest")}
    async with asyncpg.create_pool(postgres_database, min_size=1, max_size=3, server_settings=settings) as pool:
        yield pool


def person(version: int, name: str) -> PersonObserved:
    data = parse_event(golden("contacts.person.observed.v1"), CONTACTS.kinds).data
    assert isinstance(data, PersonObserved)
    return data.replace(person_id=PersonId("p1"), version=version, display_name=name)


async def test_an_older_state_of_a_person_overwrites_no_newer_one(pool: Pool) -> None:
    store = PersonStore(TENANT)
    async with pool.acquire() as connection:
        for version, name in ((2, "Two"), (1, "One"), (2, "Another two"), (3, "Three")):
            await store.save(connection, [person(version, name)])
            (known,) = await store.load(pool, [], [PersonId("p1")])
            assert known.display_name == {1: "Two", 2: "Two", 3: "Three"}[version]
        assert list(await PersonStore(OTHER).load(pool, [], [PersonId("p1")])) == []


async def put_person(pool: Pool, name: str, keys: Mapping[str, str], tenant: TenantId = TENANT) -> None:
    await pool.execute(
        "insert into people (tenant, person_id, bsuid, phone_key, wa_key, version, state)"
        " values ($1, $2, $3, $4, $5, 1, jsonb_build_object('name', $2::text))",
        tenant, name, keys.get("bsuid"), keys.get("phone_key"), keys.get("wa_key"),
    )  # fmt: skip


async def put_former_address(pool: Pool, name: str, address: str, tenant: TenantId = TENANT) -> None:
    insert = "insert into former_addresses (tenant, person_id, address, address_key, until) values ($1, $2, $3, $3, $4)"
    await pool.execute(insert, tenant, name, address, NOW)


async def test_the_people_at_an_address_are_found_by_each_of_their_addresses_and_by_a_number_they_share(
    pool: Pool,
) -> None:
    people: dict[str, dict[str, str]] = {
        "by-bsuid": {"bsuid": "B1", "phone_key": "+1", "wa_key": "+2"}, "by-phone": {"phone_key": "+9"},
        "by-wa": {"wa_key": "+9"}, "by-id": {}, "shares-phone": {"phone_key": "+1"}, "has-our-wa": {"phone_key": "+2"},
        "wa-is-our-phone": {"wa_key": "+1"}, "left-it": {"bsuid": "B8"}, "else": {"bsuid": "B7", "phone_key": "+7"},
        "shares-with-else": {"phone_key": "+7", "wa_key": "+7"}, "shares-wa-alone": {"wa_key": "+2"},
    }  # fmt: skip
    for name, keys in people.items():
        await put_person(pool, name, keys)
    for name in ("left-it", "by-id"):
        await put_former_address(pool, name, "B1" if name == "left-it" else "B6")
    await put_person(pool, "other-bsuid", {"bsuid": "B1", "phone_key": "+7", "wa_key": "+7"}, OTHER)
    await put_person(pool, "by-id", {}, OTHER)
    await put_former_address(pool, "else", "B1", OTHER)
    await put_former_address(pool, "by-id", "B5", OTHER)
    rows = await pool.fetch(queries.people_at, TENANT, ["B1", "+9"], ["by-id"])
    found = {str(json.loads(row["state"])["name"]): row["former"] for row in rows}
    assert set(found) == {
        "by-bsuid", "by-phone", "by-wa", "by-id", "shares-phone", "has-our-wa", "wa-is-our-phone", "left-it",
    }  # fmt: skip
    assert len(rows) == len(found)
    assert [one["address"] for one in json.loads(found["by-id"])] == ["B6"]
    assert [one["address"] for one in json.loads(found["left-it"])] == ["B1"]
    assert found["by-bsuid"] is None


async def test_people_are_locked_of_this_tenant_alone_until_the_transaction_ends(pool: Pool) -> None:
    for tenant, name in ((TENANT, "p1"), (TENANT, "p2"), (OTHER, "p1")):
        await put_person(pool, name, {}, tenant)
    async with pool.acquire() as one, one.transaction():
        await one.execute(queries.lock_people, TENANT, ["p1"])
        rows = await pool.fetch("select tenant, person_id from people order by 1, 2 for update skip locked")
    assert [tuple(row) for row in rows] == [(TENANT, "p2"), (OTHER, "p1")]


async def test_only_the_last_poll_that_took_a_pass_holds_advances_and_completes_it(pool: Pool) -> None:
    works = SnapshotStore(TENANT, "works", PersonObserved)
    new = PollPass(NOW, date(2027, 3, 1))
    async with pool.acquire() as connection:
        for tenant, entity in ((TENANT, "works"), (TENANT, "contacts"), (OTHER, "works")):
            await SnapshotStore(tenant, entity, PersonObserved).begin_pass(connection, new)
        first = await works.take_pass(connection, new)
        last = await works.take_pass(connection, new)
        with pytest.raises(Unavailable):
            await works.hold_pass(connection, first)
        await works.hold_pass(connection, last)
        await works.advance_pass(connection, first, 7)
        await works.complete_pass(connection, first, NOW, ["stage"])
        assert await works.last_pass(connection) == new
        await works.advance_pass(connection, last, 5)
        await works.complete_pass(connection, last, NOW, ["stage"])
        completed = PollPass(NOW, date(2027, 3, 1), 5, NOW, frozenset({"stage"}))
        assert await works.last_pass(connection) == completed
        await works.advance_pass(connection, last, 9)
        await works.complete_pass(connection, last, NOW + timedelta(hours=1), [])
        assert await works.last_pass(connection) == completed
        await works.begin_pass(connection, PollPass(NOW + timedelta(days=1)))
        begun = PollPass(NOW + timedelta(days=1), fields=frozenset({"stage"}))
        assert await works.last_pass(connection) == begun
        others = await pool.fetch(
            "select term, after, completed_at from passes where (tenant, entity) <> ('acme', 'works')"
        )
        assert [tuple(row) for row in others] == [(0, 0, None)] * 2


async def test_no_other_poll_takes_a_pass_while_a_transaction_holds_it(pool: Pool) -> None:
    works = SnapshotStore(TENANT, "works", PersonObserved)
    async with pool.acquire() as connection, pool.acquire() as other:
        await works.begin_pass(connection, PollPass(NOW))
        taken = await works.take_pass(connection, PollPass(NOW))
        async with connection.transaction():
            await works.hold_pass(connection, taken)
            await other.execute("set lock_timeout = '50ms'")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await works.take_pass(other, taken)
        assert (await works.take_pass(other, taken)).term == taken.term + 1


async def test_the_same_input_is_parked_once(pool: Pool) -> None:
    store = ParkedInputStore(pool, SystemClock(), TENANT)
    one, two = (InvalidInput(raw, "malformed", "it is not JSON") for raw in (b"{", b"["))
    for inputs in ([one, one], [one, two], [two]):
        await store.park(inputs, "/consonance/events")
    assert await pool.fetchval("select count(*) from parked") == 2
    found = await pool.fetch(
        queries.find_received, OTHER, ["parked"] * 2, [r["id"] for r in await pool.fetch("select id from pushed")]
    )
    assert found == []
