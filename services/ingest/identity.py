"""Whose are these updates? Known people are only read; what teaches us something is written, and told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.ingest.contact_states import address_locks, state_event
from services.ingest.database import writing
from services.ingest.people import People
from services.ingest.recognise import addresses_of, minted, recognise
from services.ingest.records import Personal, Record, WebhookFrame
from services.ingest.register import Register
from shared.contracts.envelope import trace_headers
from shared.contracts.ids import PersonId, partition_key
from shared.contracts.topics import CONTACTS, WHATSAPP_MESSAGES
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.clock import Clock
from shared.runtime.postgres import Pool

_AT_ONCE = 200
"""Updates in one transaction. Each takes up to five locks, of which PostgreSQL has some thousand for everybody."""


@dataclass(frozen=True, slots=True)
class Identity:
    """States leave by outbox, committed before the updates that need them are published."""

    pool: Pool
    clock: Clock
    people: People

    async def settle(self, updates: Sequence[Personal], frame: WebhookFrame) -> list[Record]:
        """The records of these updates, in order, each with its person.

        What is learnt is committed some people at a time: a body of thousands of strangers takes no more locks than a
        small one, and what does not fit into the time for one request is known when it comes again.
        """
        records: list[Record] = []
        for begin in range(0, len(updates), _AT_ONCE):
            records += await self._settle_some(updates[begin : begin + _AT_ONCE], frame)
        return records

    async def _settle_some(self, updates: Sequence[Personal], frame: WebhookFrame) -> list[Record]:
        addresses = sorted({address for update in updates for address in addresses_of(update.sighting)})
        visitors = sorted({_stranger(update, frame) for update in updates})
        register = await self.people.look(self.pool, addresses, visitors)
        senders = _recognise_all(register, updates, frame)
        if register.changed(frame.now):
            senders = await self._learn(updates, addresses, visitors, frame)
        return [_record(update, sender, frame) for update, sender in zip(updates, senders, strict=True)]

    async def _learn(
        self, updates: Sequence[Personal], addresses: list[str], visitors: list[PersonId], frame: WebhookFrame
    ) -> list["_Sender"]:
        """The same again under lock: somebody may have learnt it meanwhile."""
        locks = address_locks(frame.tenant, [*addresses, *visitors])
        async with writing(self.pool, self.clock, locks) as tx:
            register = await self.people.take(tx.connection, addresses, visitors)
            senders = _recognise_all(register, updates, frame)
            states = register.changed(frame.now)
            await self.people.save(tx.connection, states)
            for state in states:
                tx.publish(CONTACTS, state_event(state, frame))
        return senders


class _Sender(NamedTuple):
    """``shared_with`` are reached at the same address."""

    person: PersonId
    shared_with: tuple[PersonId, ...]


def _recognise_all(register: Register, updates: Sequence[Personal], frame: WebhookFrame) -> list[_Sender]:
    persons = [recognise(register, update.sighting, _stranger(update, frame), frame.now) for update in updates]
    return [
        _Sender(person, register.sharing(person, *addresses_of(update.sighting)))
        for update, person in zip(updates, persons, strict=True)
    ]


def _stranger(update: Personal, frame: WebhookFrame) -> PersonId:
    return minted(update.sighting, frame.tenant, frame.pseudonyms)


def _record(update: Personal, sender: _Sender, frame: WebhookFrame) -> Record:
    key = partition_key(frame.tenant, "persons", sender.person)
    draft = update.draft.replace(person_id=sender.person)
    if isinstance(draft, MessageReceived):
        draft = draft.replace(shared_with=sender.shared_with)
    event = frame.event(draft, id=update.id, key=key, at=update.at)
    return Record(WHATSAPP_MESSAGES, key.encode(), event.to_bytes(), update.what, trace_headers(event.traceparent))
