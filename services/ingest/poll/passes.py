"""Passes over Consonance's works and contacts: read, compare with the last snapshots, store, publish.

Works are read by page, one transaction each; a pass that was interrupted continues after its last page. The first
complete pass over a field is its baseline and publishes only states. Contacts are read in full each time, because
nothing shows which of them have changed.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from services.ingest.erasure import erased_among, without_erased
from services.ingest.fields import FieldReader
from services.ingest.identity import address_locks, apply_contact, person_event
from services.ingest.poll.comparison import COMPARED_FIELDS, ComparisonContext, compare_works
from services.ingest.poll.snapshot_parser import (
    ParsedNode,
    last_id,
    parse_contact,
    parse_page,
    parse_work,
    requestable_ids,
)
from services.ingest.poll.snapshots import ContactSnapshot, WorkSnapshot
from services.ingest.poll.vocabulary import TenantVocabulary
from services.ingest.records import EventContext
from services.ingest.store import (
    ParkedInputStore,
    PersonStore,
    PollPass,
    SnapshotStore,
    StoredSnapshot,
    park_in,
    raises_unavailable,
    write_transaction,
)
from shared.clients.phone_numbers import phone_key
from shared.contracts.ids import TenantId, partition_key, person_id_of_contact
from shared.contracts.topics import CONSONANCE_EVENTS, CONTACTS
from shared.contracts.values import JsonObject, Value
from shared.runtime.batch import bisect
from shared.runtime.clock import FAR_AHEAD, Clock, machine_now
from shared.runtime.failures import describe_failure, parking_reason
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import Pool
from shared.runtime.tracing import poll_span

OVERLAP = timedelta(days=1)
"""``changedSince`` counts whole days in an undocumented time zone, so a pass asks for a day more."""

_S = TypeVar("_S", bound=Value)

_CONTACTS_PER_TRANSACTION = 200
_WORKS_ORIGIN = "polled works"
_CONTACTS_ORIGIN = "polled contacts"


def next_pass(last: PollPass | None, now: datetime, fields: Collection[str]) -> PollPass:
    """The interrupted pass, else a new one: over all records while a field still lacks its first pass.

    A pass over changed records cannot be the first pass of a field, so it is not continued where a field was added
    meanwhile. Neither is a pass that began later than ``now``: a clock was set back, and the pass asked for changes
    since another day. ``now`` is Consonance's where this machine's clock is ahead of it: Consonance has no changes
    since a day that has not come.
    """
    if last is None:
        return PollPass(started_at=now)
    if last.started_at > now + FAR_AHEAD:
        return PollPass(started_at=now, fields=last.fields)
    lacks_baseline = not last.fields >= set(fields)
    if last.completed_at is None and (last.changed_since is None or not lacks_baseline):
        return last
    since = None if lacks_baseline else last.started_at.date() - OVERLAP
    return PollPass(started_at=now, changed_since=since, fields=last.fields)


# ------------------------------------------------------------------ works


class WorksClient(Protocol):
    @property
    def clock_lead(self) -> timedelta:
        """How far the clock of this machine is ahead of Consonance's."""

    async def works(self, after: int, changed_since: date | None) -> list[Any]:
        """The next page above ``after``; empty at the end."""

    async def work(self, work_id: int) -> list[Any]:
        """The work with this id in a list, which is empty where there is none."""

    async def products(self, after: int, changed_since: date | None) -> list[Any]:
        """The next page above ``after``; empty at the end."""


@dataclass(frozen=True, slots=True)
class WorksPoll:
    """``source`` names Consonance in the events; ``polled`` are the kinds of event that the poll publishes."""

    client: WorksClient
    pool: Pool
    clock: Clock
    tenant: TenantId
    vocabulary: TenantVocabulary
    parking: ParkedInputStore
    polled: frozenset[str]
    source: str

    async def run(self) -> int:
        """One pass; returns the number of events published. Raises Unavailable."""
        current = await self._begin()
        published, seen, after = 0, set[int](), current.after
        while page := await self.client.works(after, current.changed_since):
            published += await self._process_page(page, current)
            seen.update(requestable_ids(page))
            after = last_id(page, after)
            await self._advance(current, after)
        if current.changed_since is not None:
            published += await self._process_works_of_products(current, seen)
        await self._complete(current)
        return published

    async def _process_works_of_products(self, current: PollPass, seen: set[int]) -> int:
        """Works that were on no page, although a product of theirs changed."""
        published, after = 0, 0
        while page := await self.client.products(after, current.changed_since):
            works = [product.get("work") for product in page if isinstance(product, dict)]
            for work_id in sorted({*requestable_ids(works)} - seen):
                seen.add(work_id)
                published += await self._process_page(await self.client.work(work_id), current)
            after = last_id(page, after)
        return published

    async def _process_page(self, page: Sequence[Any], current: PollPass) -> int:
        parsed, invalid = parse_page(WorkSnapshot, page, self._parse)
        if invalid:
            await self.parking.park(invalid, _WORKS_ORIGIN)
        by_id = {one.snapshot.work_id: one for one in parsed}
        return await _store_or_park(list(by_id.values()), partial(self._store, current), self.parking, _WORKS_ORIGIN)

    async def _store(self, current: PollPass, records: Sequence[ParsedNode[WorkSnapshot]]) -> int:
        locks = [partition_key(self.tenant, "works", one.snapshot.work_id) for one in records]
        async with write_transaction(self.pool, self.clock, locks) as tx:
            await self._snapshots.hold_pass(tx.connection, current)
            contacts = {one.contact_id for record in records for one in record.snapshot.people}
            erased = await erased_among(tx.connection, self.tenant, contacts)
            records = [replace(one, snapshot=without_erased(one.snapshot, erased)) for one in records]
            stored = await self._snapshots.load(tx.connection, [one.snapshot.work_id for one in records])
            changed = [one for one in records if stored[one.snapshot.work_id].snapshot != one.snapshot]
            works = [one.snapshot for one in changed]
            published = sum([self._publish(stored[work.work_id], work, current, tx) for work in works])
            new = [(work.work_id, stored[work.work_id].version + 1, work) for work in works]
            await self._snapshots.save(tx.connection, new, tx.now)
            for one in changed:
                old = stored[one.snapshot.work_id].snapshot
                fields = one.invalid_fields(f"work {one.snapshot.work_id}", old.unread if old else ())
                await park_in(tx, fields, _WORKS_ORIGIN)
        return published

    def _parse(self, node: JsonObject, reader: FieldReader) -> WorkSnapshot:
        return parse_work(node, self.vocabulary, reader)

    def _publish(
        self, stored: StoredSnapshot[WorkSnapshot], work: WorkSnapshot, current: PollPass, tx: Transaction
    ) -> int:
        """The events of one work, in a trace of its own; returns their number."""
        version, key = stored.version + 1, partition_key(self.tenant, "works", work.work_id)
        comparison = ComparisonContext(self.tenant, self.vocabulary, tx.now, version, current.fields, self.polled)
        events = compare_works(stored.snapshot, work, comparison)
        with poll_span("ingest.poll") as traceparent:
            context = EventContext(self.tenant, tx.now, {}, traceparent)
            for one in events:
                event = context.event(one.data, id=one.id, key=key, at=tx.now, source=self.source)
                tx.publish(CONSONANCE_EVENTS, event)
        return len(events)

    async def _begin(self) -> PollPass:
        async with write_transaction(self.pool, self.clock, [f"{self.tenant}/poll/works"]) as tx:
            last = await self._snapshots.last_pass(tx.connection)
            current = next_pass(last, tx.now - self.client.clock_lead, COMPARED_FIELDS)
            if current is not last:
                await self._snapshots.begin_pass(tx.connection, current)
            return await self._snapshots.take_pass(tx.connection, current)

    async def _advance(self, current: PollPass, after: int) -> None:
        with raises_unavailable():
            await self._snapshots.advance_pass(self.pool, current, after)

    async def _complete(self, current: PollPass) -> None:
        with raises_unavailable():
            fields = current.fields | set(COMPARED_FIELDS)
            await self._snapshots.complete_pass(self.pool, current, machine_now(), fields)

    @property
    def _snapshots(self) -> SnapshotStore[WorkSnapshot]:
        return SnapshotStore(self.tenant, "works", WorkSnapshot)


# ------------------------------------------------------------------ contacts


class ContactsClient(Protocol):
    async def contacts(self) -> list[Any]:
        """All contacts of the publisher, in one answer."""


@dataclass(frozen=True, slots=True)
class ContactsPoll:
    client: ContactsClient
    pool: Pool
    clock: Clock
    tenant: TenantId
    vocabulary: TenantVocabulary
    parking: ParkedInputStore

    async def run(self) -> int:
        """One pass; returns the number of people whose state was published. Raises Unavailable."""
        current = await self._begin()
        published = sum([await self._process(current, nodes) for nodes in _batches(await self.client.contacts())])
        with raises_unavailable():
            await self._snapshots.complete_pass(self.pool, current, machine_now(), ())
        return published

    async def _begin(self) -> PollPass:
        async with write_transaction(self.pool, self.clock, [f"{self.tenant}/poll/contacts"]) as tx:
            current = PollPass(started_at=tx.now)
            await self._snapshots.begin_pass(tx.connection, current)
            return await self._snapshots.take_pass(tx.connection, current)

    async def _process(self, current: PollPass, nodes: Sequence[Any]) -> int:
        parsed, invalid = parse_page(ContactSnapshot, nodes, self._parse)
        if invalid:
            await self.parking.park(invalid, _CONTACTS_ORIGIN)
        return await _store_or_park(parsed, partial(self._store, current), self.parking, _CONTACTS_ORIGIN)

    async def _store(self, current: PollPass, records: Sequence[ParsedNode[ContactSnapshot]]) -> int:
        with raises_unavailable():
            erased = await erased_among(self.pool, self.tenant, [one.snapshot.contact_id for one in records])
            records = [one for one in records if one.snapshot.contact_id not in erased]
            stored = await self._snapshots.load(self.pool, [one.snapshot.contact_id for one in records])
        changed = [one for one in records if stored[one.snapshot.contact_id].snapshot != one.snapshot]
        if not changed:
            return 0
        return await self._save(current, changed, stored)

    async def _save(
        self,
        current: PollPass,
        changed: Sequence[ParsedNode[ContactSnapshot]],
        stored: Mapping[int, StoredSnapshot[ContactSnapshot]],
    ) -> int:
        """A contact whose erasure began since they were read is left out: the locked rows order the two."""
        contacts = [one.snapshot for one in changed]
        numbers = [phone_key(contact.phone) for contact in contacts if contact.phone]
        addresses = [*numbers, *(contact.bsuid for contact in contacts if contact.bsuid)]
        persons = [person_id_of_contact(self.tenant, contact.contact_id) for contact in contacts]
        async with write_transaction(self.pool, self.clock, address_locks(self.tenant, [*addresses, *persons])) as tx:
            await self._snapshots.hold_pass(tx.connection, current)
            directory = await PersonStore(self.tenant).load_for_update(tx.connection, addresses, persons)
            erased = await erased_among(tx.connection, self.tenant, [one.contact_id for one in contacts])
            changed = [one for one in changed if one.snapshot.contact_id not in erased]
            contacts = [one.snapshot for one in changed]
            for contact in contacts:
                apply_contact(directory, contact, stored[contact.contact_id].snapshot, self.tenant, tx.now)
            people = directory.changed(tx.now)
            await PersonStore(self.tenant).save(
                tx.connection, people, directory.former_of(one.person_id for one in people)
            )
            new = [(one.contact_id, stored[one.contact_id].version + 1, one) for one in contacts]
            await self._snapshots.save(tx.connection, new, tx.now)
            for person in people:
                tx.publish(CONTACTS, person_event(person, EventContext(self.tenant, tx.now, {})))
            for one in changed:
                old = stored[one.snapshot.contact_id].snapshot
                fields = one.invalid_fields(f"contact {one.snapshot.contact_id}", old.unread if old else ())
                await park_in(tx, fields, _CONTACTS_ORIGIN)
        return len(people)

    def _parse(self, node: JsonObject, reader: FieldReader) -> ContactSnapshot:
        return parse_contact(node, self.vocabulary, reader)

    @property
    def _snapshots(self) -> SnapshotStore[ContactSnapshot]:
        return SnapshotStore(self.tenant, "contacts", ContactSnapshot)


def _batches(nodes: Sequence[Any]) -> Iterator[Sequence[Any]]:
    starts = range(0, len(nodes), _CONTACTS_PER_TRANSACTION)
    return (nodes[start : start + _CONTACTS_PER_TRANSACTION] for start in starts)


async def _store_or_park(
    records: Sequence[ParsedNode[_S]],
    store: Callable[[Sequence[ParsedNode[_S]]], Awaitable[int]],
    parking: ParkedInputStore,
    origin: str,
) -> int:
    """The number of events published; a record that the database refuses is parked, and the others are stored."""
    published: list[int] = []

    async def attempt(some: Sequence[ParsedNode[_S]]) -> None:
        published.append(await store(some))

    async def park(record: ParsedNode[_S], fault: Exception) -> None:
        await parking.park([record.to_invalid_input(parking_reason(fault), describe_failure(fault))], origin)

    await bisect(records, attempt, park)
    return sum(published)
