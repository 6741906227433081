"""Erasures by ingest: names on works, every id of a person, stored files, and records that no reader needs any more."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from dev.postgres import login_of
from services.ingest.erasure import (
    CompletedErasures,
    ErasureRequests,
    deletable_offset,
    erase_names,
    named_contacts,
    without_erased,
)
from services.ingest.identity import address_hash
from services.ingest.media.file_rows import StoredFiles, object_key
from services.ingest.media.file_store import FileStore
from services.ingest.person_directory import FormerAddress
from services.ingest.poll.snapshots import Contributor, WorkSnapshot
from services.ingest.store import PersonStore
from shared.contracts.consonance import ErasureRequested
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.errors import Unavailable
from shared.contracts.ids import Bsuid, ContactId, EventId, PersonId, Phone, WorkId, person_id_of_contact
from shared.contracts.topics import CONTACTS, Topic
from shared.contracts.values import decode
from shared.contracts.vocabulary import PartyKind, Role
from shared.runtime.clock import SystemClock, machine_now
from shared.runtime.postgres import Pool, session_settings
from shared.runtime.redaction import ERASED
from shared.runtime.retention import delete_expired_once
from tests.services.ingest.payloads import CONTEXT, PSEUDONYMS

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
TENANT = CONTEXT.tenant
_FILE = """
insert into media_files (
    tenant, file_id, person_id, attempts, state, object_key, due_at, line, media_id, received_at, expires_at, settled_at
) values ($1, $2, $3, $4, $5, $6, $7, 'main', 'm', $7, $7, now())
"""


def test_a_work_does_not_name_an_erased_contributor() -> None:
    ana, bo = (
        Contributor(contact_id=ContactId(number), kind=PartyKind.PERSON, name=name, role=Role("author"))
        for number, name in ((1, "Ana Loewe"), (2, "Bo Berg"))
    )
    work = WorkSnapshot(work_id=WorkId(7), title="T", contributors_display="Ana Loewe, Bo Berg", people=(ana, bo))
    assert without_erased(work, {1}) == work.replace(people=(bo,), contributors_display=f"{ERASED}, Bo Berg")
    assert without_erased(work, {3}) is work


def test_a_pushed_event_does_not_name_an_erased_contact() -> None:
    pushed = {"data": {"holder": {"contact_id": 1, "display_name": "Ana"}, "others": [{"contact_id": 2}]}}
    assert named_contacts([pushed]) == {1, 2}
    erase_names(pushed, {1})
    assert pushed["data"]["holder"] == {"contact_id": 1, "display_name": ERASED}


def test_the_credits_of_a_pushed_work_do_not_name_an_erased_contact_whom_the_event_names() -> None:
    work = {"work_id": 7, "contributors_display": "Ana Loewe, Bo Berg"}
    pushed = {"data": {"work": work, "people": [{"contact_id": 1, "display_name": "Ana Loewe"}]}}
    erase_names(pushed, {1})
    assert work["contributors_display"] == f"{ERASED}, Bo Berg"


def test_a_pushed_event_of_any_depth_is_read() -> None:
    deepest: dict[str, Any] = {"contact_id": 1, "display_name": "Ana"}
    pushed: Any = deepest
    for _ in range(100_000):
        pushed = {"a": [pushed]}
    assert named_contacts([pushed, {"contact_id": 2**64}, {"contact_id": "1"}]) == {1}
    erase_names(pushed, {1})
    assert deepest["display_name"] == ERASED
    while pushed is not deepest:
        (pushed,) = pushed["a"]  # freed from the outside, since Python frees a nested object by calling itself


@pytest.mark.parametrize(
    ("end", "committed", "until"),
    [(9, [], 9), (9, [9, 9], 9), (9, [9, 4], 4), (9, [9, None], 0), (9, [12], 9)],
    ids=["no reader", "all have read it", "one is behind", "one never read", "committed beyond"],
)
def test_records_go_as_far_as_every_reader_has_committed(end: int, committed: list[int | None], until: int) -> None:
    assert deletable_offset(end, committed) == until


# ------------------------------------------------------------------ on a real database


@asynccontextmanager
async def ingest_pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await asyncpg.create_pool(
        login_of(dsn, "ingest"), min_size=1, max_size=2, server_settings=session_settings("ingest")
    )
    try:
        yield pool
    finally:
        pool.terminate()


async def bytes_of(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


@pytest.mark.integration
async def test_the_files_of_an_erased_person_leave_the_store(postgres_database: str, tmp_path: Path) -> None:
    """The stored one at once; the one that a process may be storing when its attempt has ended."""
    store, now = FileStore(tmp_path.as_uri()), machine_now()
    stored, others, in_flight = (object_key(TENANT, one, "application/pdf") for one in ("aa1", "bb2", "cc3"))
    for key in (stored, others, in_flight):
        await store.put(key, "application/pdf", bytes_of("%PDF-"))
    async with ingest_pool(postgres_database) as pool:
        rows = [
            ("aa1", "p1", 1, "stored", stored, now),
            ("bb2", "p2", 1, "stored", others, now),
            ("cc3", "p1", 1, "waiting", None, now + timedelta(minutes=3)),
            ("dd4", "p1", 0, "waiting", None, now),
            ("ee5", "p1", 1, "waiting", None, now + timedelta(days=3)),  # by a clock that was set back since
        ]
        await pool.executemany(_FILE, [(TENANT, *row) for row in rows])
        assert await StoredFiles(pool, TENANT, None).erase(PersonId("p1")) == 3  # no store, so nothing in it can go
        files = StoredFiles(pool, TENANT, store)
        assert await files.erase(PersonId("p1")) == 1
        assert not (tmp_path / stored).exists()
        assert (tmp_path / in_flight).exists()
        await pool.execute("update media_files set due_at = $1 where file_id = 'cc3'", now - timedelta(minutes=1))
        assert await files.erase(PersonId("p1")) == 0
        assert not (tmp_path / in_flight).exists()
        assert (tmp_path / others).exists()
        assert await files.delete_expired(now - timedelta(days=1)) == 0
        assert await files.delete_expired(now + timedelta(days=1)) == 1
        assert not (tmp_path / others).exists()


class KeepingStore(FileStore):
    """A store with objects that it does not delete, as by a lock of the bucket."""

    def __init__(self, url: str, *locked: str) -> None:
        super().__init__(url)
        self._locked = locked

    async def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key in self._locked:
                raise Unavailable("the file store: PermissionDeniedError")
            await super().delete([key])


@pytest.mark.integration
async def test_a_file_that_the_store_does_not_delete_holds_up_no_other(postgres_database: str, tmp_path: Path) -> None:
    now = machine_now()
    names = [f"f{number}" for number in range(6)]
    store = KeepingStore(tmp_path.as_uri(), *(object_key(TENANT, one, "application/pdf") for one in names[:3]))
    async with ingest_pool(postgres_database) as pool:
        for name in names:
            key = object_key(TENANT, name, "application/pdf")
            await store.put(key, "application/pdf", bytes_of("%PDF-"))
            await pool.execute(_FILE, TENANT, name, "p1", 1, "stored", key, now)
        files = StoredFiles(pool, TENANT, store)
        with pytest.raises(Unavailable):
            await files.delete_expired(now + timedelta(days=1))  # the three that are kept come first
        assert await files.delete_expired(now + timedelta(days=1)) == 3
        assert [
            row["file_id"] for row in await pool.fetch("select file_id from media_files order by file_id")
        ] == names[:3]
        assert await files.delete_expired(now + timedelta(days=1)) == 0, "those that are kept are tried a day later"
        await pool.execute(
            "update media_files set due_at = $1", now + timedelta(days=9)
        )  # the clock was set back since
        with pytest.raises(Unavailable):
            await files.delete_expired(now + timedelta(days=1))
        await pool.execute(_FILE, TENANT, "g1", "p1", 1, "stored", object_key(TENANT, "g1", "application/pdf"), now)
        assert await files.erase(PersonId("p1")) == 3


@pytest.mark.integration
async def test_an_erasure_takes_every_id_of_a_person(postgres_database: str) -> None:
    """A contact into whom a visitor was merged, into whom another was: all get the erased state, and stay merged."""
    clock = SystemClock()
    contact = person_id_of_contact(TENANT, ContactId(7))
    merges = {contact: None, PersonId("v1"): contact, PersonId("v2"): PersonId("v1"), PersonId("v3"): None}
    known = [
        PersonObserved(
            person_id=person,
            contact_id=ContactId(7) if person == contact else None,
            display_name=f"Name of {person}",
            merged_into=into,
            observed_at=NOW,
            version=1,
        )
        for person, into in merges.items()
    ]
    async with ingest_pool(postgres_database) as pool:
        await PersonStore(TENANT).save(pool, known)
        requests = ErasureRequests(pool, clock, TENANT, PSEUDONYMS)
        await requests.begin([erasure_request(ContactId(7))])
        while people := await pool.fetch("select person_id from erasures where passes = 0"):
            for (person,) in people:
                await requests.publish_erased(person, 0)
                await pool.execute("update erasures set passes = 1 where person_id = $1", person)
        states = [decode(PersonObserved, row["state"]) for row in await pool.fetch("select state::text from people")]
        assert {one.person_id: one.merged_into for one in states if one.erased} == {
            person: into for person, into in merges.items() if person != "v3"
        }
        assert [one.display_name for one in states if one.display_name] == ["Name of v3"]
        words = {row["person_id"]: row["words"] for row in await pool.fetch("select person_id, words from erasures")}
        assert words == {person: [f"Name of {person}"] for person in (contact, "v1", "v2")}
        assert await requests.expire_visitors(NOW + timedelta(days=1)) == 1
        assert await requests.expire_visitors(NOW + timedelta(days=1)) == 0, "its erasure is under way"


@pytest.mark.integration
async def test_a_visitor_who_is_just_being_merged_is_erased_too(postgres_database: str) -> None:
    """The erasure waits for the merge, which holds the contact's row, and then takes the visitor along."""
    contact, visitor = person_id_of_contact(TENANT, ContactId(7)), PersonId("v1")
    known = [
        PersonObserved(person_id=contact, contact_id=ContactId(7), observed_at=NOW, version=1),
        PersonObserved(person_id=visitor, display_name="Ana Loewe", observed_at=NOW, version=1),
    ]
    merged = [known[0].replace(version=2), known[1].replace(merged_into=contact, version=2)]
    async with ingest_pool(postgres_database) as pool, pool.acquire() as merging:
        await PersonStore(TENANT).save(pool, known)
        requests = ErasureRequests(pool, SystemClock(), TENANT, PSEUDONYMS)
        async with merging.transaction():
            await PersonStore(TENANT).save(merging, merged)
            erasing = asyncio.create_task(requests.publish_erased(contact, 0))
            while not await merging.fetchval("select exists(select from pg_locks where not granted)"):
                await asyncio.sleep(0.02)
        await erasing
        states = [decode(PersonObserved, row["state"]) for row in await pool.fetch("select state::text from people")]
        assert {one.person_id for one in states if one.erased} == {contact, visitor}
        assert await pool.fetchval("select words from erasures where person_id = $1", visitor) == ["Ana Loewe"]


@pytest.mark.integration
async def test_an_erasure_takes_nothing_of_another_person(postgres_database: str) -> None:
    """Others stay: a visitor merged into another contact, numbers that were left, and the work with the same number."""
    erased, other = (person_id_of_contact(TENANT, ContactId(number)) for number in (7, 9))
    known = [
        PersonObserved(person_id=erased, contact_id=ContactId(7), observed_at=NOW, version=1),
        PersonObserved(person_id=other, contact_id=ContactId(9), observed_at=NOW, version=1),
        PersonObserved(person_id=PersonId("v9"), merged_into=other, observed_at=NOW, version=1),
    ]
    left = {person: {FormerAddress(address=number, until=NOW)} for person, number in ((erased, LEFT), (other, "+2"))}
    snapshot = "insert into snapshots (tenant, entity, id, version, view, observed_at) values ($1, $2, $3, 1, '{}', $4)"
    async with ingest_pool(postgres_database) as pool:
        await PersonStore(TENANT).save(pool, known, left)
        for entity, number in (("contacts", 7), ("contacts", 9), ("works", 7)):
            await pool.execute(snapshot, TENANT, entity, number, NOW)
        requests = ErasureRequests(pool, SystemClock(), TENANT, PSEUDONYMS)
        await requests.begin([erasure_request(ContactId(7))])
        await requests.publish_erased(erased, 0)
        states = [decode(PersonObserved, row["state"]) for row in await pool.fetch("select state::text from people")]
        assert [one.person_id for one in states if one.erased] == [erased]
        assert [row["person_id"] for row in await pool.fetch("select person_id from erasures")] == [erased]
        assert [row["address"] for row in await pool.fetch("select address from former_addresses")] == ["+2"]
        rows = await pool.fetch("select entity, id from snapshots order by entity")
        assert [tuple(row) for row in rows] == [("contacts", 9), ("works", 7)]
        hashes = [row["address_hash"] for row in await pool.fetch("select address_hash from erased_addresses")]
        assert hashes == [address_hash(TENANT, LEFT, PSEUDONYMS)]


LEFT = Phone("+447700900123")


@pytest.mark.integration
async def test_an_address_of_another_person_is_not_refused_after_an_erasure(postgres_database: str) -> None:
    """Messages from the erased person's own addresses are refused up to the last request."""
    own, shared = Phone("+447700900124"), [Phone(f"+44770090013{digit}") for digit in range(2)]
    erased = PersonObserved(
        person_id=PersonId("v1"),
        addresses=Addresses(phone=own, wa_id=shared[0], bsuid=Bsuid("GB.1")),
        observed_at=NOW,
        version=1,
    )
    left = {PersonId("v1"): {FormerAddress(address=shared[1], until=NOW)}}
    others = [
        Addresses(phone=Phone("+447700900140"), bsuid=Bsuid("GB.1")),
        Addresses(phone=Phone("+447700900141"), wa_id=shared[0]),
        Addresses(phone=shared[1]),
    ]
    sharing = [
        PersonObserved(person_id=PersonId(f"p{number}"), addresses=addresses, observed_at=NOW, version=1)
        for number, addresses in enumerate(others)
    ]
    begun = "insert into erasures (tenant, person_id, requested_at, words, next_at) values ($1, $2, $3, '{}', $3)"
    later = "insert into erased_addresses (tenant, address_hash, erased_at) values ($1, $2, $3)"
    async with ingest_pool(postgres_database) as pool:
        await PersonStore(TENANT).save(pool, [erased, *sharing], left)
        await pool.execute(begun, TENANT, "v0", NOW - timedelta(days=9))
        await pool.execute(begun, TENANT, "v1", NOW)
        await ErasureRequests(pool, SystemClock(), TENANT, PSEUDONYMS).publish_erased(PersonId("v1"), 0)
        noted = [tuple(row) for row in await pool.fetch("select address_hash, erased_at from erased_addresses")]
        assert noted == [(address_hash(TENANT, own, PSEUDONYMS), NOW)]
        await pool.execute("delete from erased_addresses")
        await pool.execute(later, TENANT, noted[0][0], NOW + timedelta(days=1))
        await PersonStore(TENANT).save(pool, [erased.replace(version=5)])
        requests = ErasureRequests(pool, SystemClock(), TENANT, PSEUDONYMS)
        await requests.publish_erased(PersonId("v1"), 0)
        assert await pool.fetchval("select erased_at from erased_addresses") == NOW + timedelta(days=1)
        assert await delete_expired_once(NOW + timedelta(days=10), [requests.old_addresses(9)]) == 0
        assert await delete_expired_once(NOW + timedelta(days=11), [requests.old_addresses(9)]) == 1


@pytest.mark.integration
async def test_a_pseudonym_stays_until_its_tombstone_is_with_the_broker(postgres_database: str) -> None:
    done = "insert into erasures (tenant, person_id, requested_at, words, completed_at) values ($1, 'v1', $2, '{}', $2)"
    erased = PersonObserved(person_id=PersonId("v1"), erased=True, observed_at=NOW, version=2)
    async with ingest_pool(postgres_database) as pool:
        await PersonStore(TENANT).save(pool, [erased])
        await pool.execute(done, TENANT, NOW)
        broker = BrokerUnderTest()
        completed = CompletedErasures(pool, SystemClock(), broker)
        with pytest.raises(Unavailable):
            await completed.delete(NOW + timedelta(days=1))
        assert await pool.fetchval("select count(*) from people join erasures using (tenant, person_id)") == 1
        broker.is_away = False
        assert await completed.delete(NOW + timedelta(days=1)) == 1
        assert await pool.fetchval("select count(*) from people") == 0
        assert await completed.delete(NOW + timedelta(days=1)) == 0


class BrokerUnderTest:
    is_away = True

    async def forget(self, topic: Topic, keys: Sequence[str]) -> None:
        assert (topic, keys) == (CONTACTS, [f"{TENANT}/persons/v1"])
        if self.is_away:
            raise Unavailable("Kafka: away")


@pytest.mark.integration
async def test_visitors_of_one_day_expire_together_at_its_end(postgres_database: str) -> None:
    """So each day costs one erasure, whether one visitor expires or many: it empties texts, and shortens topics.

    A contact never expires, nor one who was merged, or erased before.
    """
    midnight = NOW.replace(hour=0)
    wrote = [midnight + timedelta(seconds=1), NOW, midnight + timedelta(hours=23, minutes=59), midnight + timedelta(1)]
    known = [
        PersonObserved(person_id=PersonId(f"v{number}"), observed_at=at, version=1) for number, at in enumerate(wrote)
    ]
    old = PersonObserved(person_id=PersonId("v"), observed_at=midnight - timedelta(days=9), version=1)
    known += [
        old.replace(person_id=PersonId("p9"), contact_id=ContactId(9)),
        old.replace(person_id=PersonId("v9"), merged_into=PersonId("p9")),
        old.replace(person_id=PersonId("v8"), erased=True),
    ]
    async with ingest_pool(postgres_database) as pool:
        await PersonStore(TENANT).save(pool, known)
        requests = ErasureRequests(pool, SystemClock(), TENANT, PSEUDONYMS)
        assert await requests.expire_visitors(midnight + timedelta(hours=23, minutes=59)) == 0
        assert await requests.expire_visitors(midnight + timedelta(days=1)) == 3
        assert await requests.expire_visitors(midnight + timedelta(days=1, hours=23)) == 0


def erasure_request(contact: ContactId) -> Event:
    return CONTEXT.event(ErasureRequested(contact_id=contact, requested_at=NOW), id=EventId("e1"), key="k", at=NOW)
