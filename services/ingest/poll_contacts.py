"""A pass over Consonance's contacts: all of them each time, for nothing says which have changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from services.ingest.addresses import phone_key
from services.ingest.contact_states import address_locks, state_event
from services.ingest.database import reachable, writing
from services.ingest.house_words import Words
from services.ingest.observe import contact_view
from services.ingest.parking import Parks
from services.ingest.people import People
from services.ingest.reading import Node, read_all
from services.ingest.recognise import introduce
from services.ingest.records import Frame
from services.ingest.snapshots import Snapshot, Snapshots
from services.ingest.views import ContactView
from shared.clock import Clock
from shared.events.values import encode, read_as
from shared.ids import TenantId, person_of_contact
from shared.postgres import Pool
from shared.topics import CONTACTS
from shared.transaction import Transaction

_AT_ONCE = 200
_DOOR = "polled contacts"


class Contacts(Protocol):
    async def contacts(self) -> list[Node]:
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
        nodes = await self.contacts.contacts()
        views, bad = read_all(ContactView, nodes, partial(contact_view, words=self.words))
        if bad:
            await self.parking.park(bad, _DOOR)
        return sum([await self._take(some) for some in _batches(views)])

    async def _take(self, views: Sequence[ContactView]) -> int:
        with reachable():
            before = await self._snapshots.load(self.pool, [view.contact_id for view in views])
        changed = [view for view in views if _before(before, view) != view]
        if not changed:
            return 0
        addresses = [phone_key(view.phone) for view in changed if view.phone]
        persons = [person_of_contact(self.tenant, view.contact_id) for view in changed]
        locks = address_locks(self.tenant, [*addresses, *persons])
        async with writing(self.pool, self.clock, locks) as tx:
            register = await People(self.tenant).take(tx.connection, addresses, persons)
            for view in changed:
                introduce(register, view, _before(before, view), self.tenant, tx.now)
            states = register.changed(tx.now)
            await People(self.tenant).save(tx.connection, states)
            await self._save(changed, before, tx)
            for state in states:
                tx.publish(CONTACTS, state_event(state, Frame(self.tenant, tx.now, {})))
        return len(states)

    async def _save(self, changed: Sequence[ContactView], before: Mapping[int, Snapshot], tx: Transaction) -> None:
        snapshots = [Snapshot(view.contact_id, _next(before, view), encode(view).decode()) for view in changed]
        await self._snapshots.save(tx.connection, snapshots, tx.now)

    @property
    def _snapshots(self) -> Snapshots:
        return Snapshots(self.tenant, "contacts")


def _batches(views: Sequence[ContactView]) -> Iterator[Sequence[ContactView]]:
    return (views[start : start + _AT_ONCE] for start in range(0, len(views), _AT_ONCE))


def _before(snapshots: Mapping[int, Snapshot], view: ContactView) -> ContactView | None:
    snapshot = snapshots.get(view.contact_id)
    return None if snapshot is None else read_as(ContactView, snapshot.view)


def _next(snapshots: Mapping[int, Snapshot], view: ContactView) -> int:
    snapshot = snapshots.get(view.contact_id)
    return 1 if snapshot is None else snapshot.version + 1
