"""Gives each update about a person its ``person_id``. Known people are only read; changes are stored and published.

The files of messages are queued here as well: what is acknowledged to WhatsApp will be fetched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.ingest.identity import (
    PersonDirectory,
    address_locks,
    identify,
    lookup_keys,
    person_event,
    visitor_id,
)
from services.ingest.media.queue import add_files
from services.ingest.records import KafkaRecord, WebhookContext
from services.ingest.store import PersonStore, raises_unavailable, write_transaction
from services.ingest.webhook_parser import PersonUpdate
from shared.contracts.ids import PersonId, partition_key
from shared.contracts.topics import CONTACTS, WHATSAPP_MESSAGES
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.clock import Clock
from shared.runtime.postgres import Pool

_UPDATES_PER_TRANSACTION = 200
"""Each takes up to five locks, and PostgreSQL has some thousand locks for all sessions."""


class _Sender(NamedTuple):
    """``shared_with`` are other people with the same address."""

    person: PersonId
    shared_with: tuple[PersonId, ...]


@dataclass(frozen=True, slots=True)
class IdentityResolver:
    """States of people leave by outbox; they are committed before the updates that need them are published."""

    pool: Pool
    clock: Clock
    people: PersonStore

    async def resolve(self, updates: Sequence[PersonUpdate], context: WebhookContext) -> list[KafkaRecord]:
        """The records of these updates, in order, each with its person. Raises Unavailable.

        Each 200 updates are one transaction: a body with thousands of strangers takes no more locks than a small one,
        and what is committed before the request's deadline is known when WhatsApp sends the body again.
        """
        records: list[KafkaRecord] = []
        for start in range(0, len(updates), _UPDATES_PER_TRANSACTION):
            records += await self._resolve_some(updates[start : start + _UPDATES_PER_TRANSACTION], context)
        return records

    async def _resolve_some(self, updates: Sequence[PersonUpdate], context: WebhookContext) -> list[KafkaRecord]:
        addresses = sorted({address for update in updates for address in lookup_keys(update.identity)})
        visitors = sorted({_visitor_id(update, context) for update in updates})
        directory = await self.people.load(self.pool, addresses, visitors)
        senders = _identify_senders(directory, updates, context)
        if directory.changed(context.now):
            senders = await self._store_changes(updates, addresses, visitors, context)
        elif files := _messages_with_files(updates, senders):
            with raises_unavailable():
                await add_files(self.pool, context.tenant, files, context.traceparent)
        return [_to_record(update, sender, context) for update, sender in zip(updates, senders, strict=True)]

    async def _store_changes(
        self, updates: Sequence[PersonUpdate], addresses: list[str], visitors: list[PersonId], context: WebhookContext
    ) -> list[_Sender]:
        """Identify the senders again under lock: another process may have changed the people meanwhile."""
        locks = address_locks(context.tenant, [*addresses, *visitors])
        async with write_transaction(self.pool, self.clock, locks) as tx:
            directory = await self.people.load_for_update(tx.connection, addresses, visitors)
            senders = _identify_senders(directory, updates, context)
            changed = directory.changed(context.now)
            await self.people.save(tx.connection, changed)
            for person in changed:
                tx.publish(CONTACTS, person_event(person, context))
            if files := _messages_with_files(updates, senders):
                await add_files(tx.connection, context.tenant, files, context.traceparent)
        return senders


def _identify_senders(
    directory: PersonDirectory, updates: Sequence[PersonUpdate], context: WebhookContext
) -> list[_Sender]:
    persons = [identify(directory, update.identity, _visitor_id(update, context), context.now) for update in updates]
    return [
        _Sender(person, directory.others_at(person, *lookup_keys(update.identity)))
        for update, person in zip(updates, persons, strict=True)
    ]


def _messages_with_files(updates: Sequence[PersonUpdate], senders: Sequence[_Sender]) -> list[MessageReceived]:
    """The messages whose files will be fetched, each with its person."""
    return [
        update.draft.replace(person_id=sender.person)
        for update, sender in zip(updates, senders, strict=True)
        if isinstance(update.draft, MessageReceived) and update.draft.media and update.draft.media.file_id
    ]


def _visitor_id(update: PersonUpdate, context: WebhookContext) -> PersonId:
    return visitor_id(update.identity, context.tenant, context.pseudonyms)


def _to_record(update: PersonUpdate, sender: _Sender, context: WebhookContext) -> KafkaRecord:
    key = partition_key(context.tenant, "persons", sender.person)
    draft = update.draft.replace(person_id=sender.person)
    if isinstance(draft, MessageReceived):
        draft = draft.replace(shared_with=sender.shared_with)
    event = context.event(draft, id=update.id, key=key, at=update.at)
    return KafkaRecord.of(WHATSAPP_MESSAGES, event, update.kind)
