"""A pass over Consonance's contacts: all of them each time, for nothing says which have changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.ingest.addresses import phone_key
from services.ingest.contact_states import address_locks, state_event
from services.ingest.database import reachable, writing
from services.ingest.house_words import Words
from services.ingest.notes import Node, Notes
from services.ingest.observe import contact_view
from services.ingest.parking import Parks, park_all
from services.ingest.people import People
from services.ingest.reading import Read, read_all, refused
from services.ingest.recognise import introduce
from services.ingest.records import Frame
from services.ingest.snapshots import Snapshot, Snapshots, view_of
from services.ingest.views import ContactView
from shared.contracts.ids import TenantId, person_id_of_contact
from shared.contracts.topics import CONTACTS
from shared.contracts.values import encode
from shared.runtime.bisect import bisect
from shared.runtime.clock import Clock
from shared.runtime.postgres import Pool
from shared.runtime.transaction import Transaction

_AT_ONCE = 200
_ORIGIN = "polled contacts"


class Contacts(Protocol):
    async def contacts(self) -> list[Any]:
        """All of them."""


@dataclass(frozen=True, slots=True)
class ContactsPoll:
    contacts: Contacts
    pool: Pool
    clock: Clock
    tenant: TenantId
    words: Words
    parking: Parks

    async def run(self) -> int:
        """One pass; returns how many people's states it told."""
        return sum([await self._take(some) for some in _batches(await self.contacts.contacts())])

    async def _take(self, nodes: Sequence[Any]) -> int:
        read, bad = read_all(ContactView, nodes, self._view)
        if bad:
            await self.parking.park(bad, _ORIGIN)
        told: list[int] = []

        async def attempt(some: Sequence[Read[ContactView]]) -> None:
            told.append(await self._tell(some))

        async def refuse(one: Read[ContactView], fault: Exception) -> None:
            await self.parking.park([refused(one, fault)], _ORIGIN)

        await bisect(read, attempt, refuse)
        return sum(told)

    async def _tell(self, read: Sequence[Read[ContactView]]) -> int:
        with reachable():
            before = await self._snapshots.load(self.pool, [one.view.contact_id for one in read])
        changed = [one for one in read if _before(before, one.view) != one.view]
        if not changed:
            return 0
        views = [one.view for one in changed]
        addresses = [phone_key(view.phone) for view in views if view.phone]
        persons = [person_id_of_contact(self.tenant, view.contact_id) for view in views]
        locks = address_locks(self.tenant, [*addresses, *persons])
        async with writing(self.pool, self.clock, locks) as tx:
            register = await People(self.tenant).take(tx.connection, addresses, persons)
            for view in views:
                introduce(register, view, _before(before, view), self.tenant, tx.now)
            states = register.changed(tx.now)
            await People(self.tenant).save(tx.connection, states)
            await self._save(views, before, tx)
            for state in states:
                tx.publish(CONTACTS, state_event(state, Frame(self.tenant, tx.now, {})))
            for one in changed:
                former = _before(before, one.view)
                record = f"contact {one.view.contact_id}"
                await park_all(tx, one.to_park(record, former.unread if former else ()), _ORIGIN)
        return len(states)

    async def _save(self, changed: Sequence[ContactView], before: Mapping[int, Snapshot], tx: Transaction) -> None:
        snapshots = [Snapshot(view.contact_id, _next(before, view), encode(view).decode()) for view in changed]
        await self._snapshots.save(tx.connection, snapshots, tx.now)

    def _view(self, node: Node, notes: Notes) -> ContactView:
        return contact_view(node, self.words, notes)

    @property
    def _snapshots(self) -> Snapshots:
        return Snapshots(self.tenant, "contacts")


def _batches(nodes: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (nodes[start : start + _AT_ONCE] for start in range(0, len(nodes), _AT_ONCE))


def _before(snapshots: Mapping[int, Snapshot], view: ContactView) -> ContactView | None:
    return view_of(ContactView, snapshots.get(view.contact_id))


def _next(snapshots: Mapping[int, Snapshot], view: ContactView) -> int:
    snapshot = snapshots.get(view.contact_id)
    return 1 if snapshot is None else snapshot.version + 1
