"""Gives each update about a person its ``person_id``. Known people are only read; changes are stored and published.

The files of messages are queued here as well: what is acknowledged to WhatsApp will be fetched.
"""

from collections.abc import Sequence
from typing import NamedTuple

from services.ingest.group_commit import GroupCommit
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
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import Pool
from shared.runtime.tracing import database_span

_UPDATES_PER_TRANSACTION = 200
"""Each takes up to five locks, and PostgreSQL has some thousand locks for all sessions."""

_TRANSACTION_SECONDS = 4.0
"""No request waits longer for its response."""


class _Sender(NamedTuple):
    """``shared_with`` are other people with the same address."""

    person: PersonId
    shared_with: tuple[PersonId, ...]


class _PeopleChange(NamedTuple):
    """Updates of one request that change people, with the keys of their addresses and of their people."""

    updates: Sequence[PersonUpdate]
    addresses: list[str]
    visitors: list[PersonId]
    context: WebhookContext


class IdentityResolver:
    """States of people leave by outbox; they are committed before the updates that need them are published."""

    def __init__(self, pool: Pool, clock: Clock, people: PersonStore) -> None:
        self._pool = pool
        self._clock = clock
        self._people = people
        self._changes = GroupCommit(
            self._store_changes,
            size=lambda change: len(change.updates),
            most=_UPDATES_PER_TRANSACTION,
            seconds=_TRANSACTION_SECONDS,
        )

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
        directory = await self._people.load(self._pool, addresses, visitors)
        senders = _identify_senders(directory, updates, context)
        if directory.changed(context.now):
            with database_span("ingest"):
                senders = await self._changes.store(_PeopleChange(updates, addresses, visitors, context))
        elif files := _messages_with_files(updates, senders):
            with raises_unavailable():
                await add_files(self._pool, context.tenant, files, context.traceparent)
        return [_to_record(update, sender, context) for update, sender in zip(updates, senders, strict=True)]

    async def _store_changes(self, changes: Sequence[_PeopleChange]) -> list[list[_Sender]]:
        """Identify the senders again under lock: another process may have changed the people meanwhile.

        One transaction does what one for each change would do, one after the other.
        """
        addresses = sorted({address for change in changes for address in change.addresses})
        visitors = sorted({visitor for change in changes for visitor in change.visitors})
        locks = address_locks(self._people.tenant, [*addresses, *visitors])
        async with write_transaction(self._pool, self._clock, locks) as tx:
            directory = await self._people.load_for_update(tx.connection, addresses, visitors)
            senders = [await self._store_change(change, directory, tx) for change in changes]
            await self._people.save(tx.connection, directory.latest_changes())
        return senders

    async def _store_change(self, change: _PeopleChange, directory: PersonDirectory, tx: Transaction) -> list[_Sender]:
        context = change.context
        senders = _identify_senders(directory, change.updates, context)
        for person in directory.take_changes(context.now):
            tx.publish(CONTACTS, person_event(person, context))
        if files := _messages_with_files(change.updates, senders):
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
