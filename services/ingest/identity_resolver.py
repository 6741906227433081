"""Gives each update about a person its ``person_id``. Known people are only read; changes are stored and published.

The files of messages are queued here as well: what is acknowledged to WhatsApp will be fetched.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from services.ingest.batched_calls import BatchedCalls
from services.ingest.identity import address_hash, address_locks, identify, lookup_keys, person_event, visitor_id
from services.ingest.media.file_rows import add_files
from services.ingest.person_directory import PersonDirectory
from services.ingest.records import KafkaRecord, WebhookContext
from services.ingest.store import PersonStore, raises_unavailable, write_transaction
from services.ingest.webhook_parser import PersonUpdate
from shared.contracts.contacts import PersonObserved
from shared.contracts.ids import PersonId, partition_key
from shared.contracts.topics import CONTACTS, WHATSAPP_MESSAGES
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.clock import Clock
from shared.runtime.credentials import Pseudonymizer
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import Connection, Pool
from shared.runtime.telemetry import get_logger
from shared.runtime.tracing import database_span

R = TypeVar("R")
_log = get_logger()

_UPDATES_PER_TRANSACTION = 200
"""Each takes up to five locks, and PostgreSQL has some thousand locks for all sessions."""

_DATABASE_SECONDS = 4.0
"""No request waits longer for its response."""


class _Sender(NamedTuple):
    """``shared_with`` are other people with the same address. ``person`` None: the person asked to be erased since.

    ``version`` is that of the person's state, which may have been written in the same transaction.
    """

    person: PersonId | None
    shared_with: tuple[PersonId, ...]
    version: int = 0


class _Request(NamedTuple):
    """Updates of one webhook. ``addresses`` are their senders', ``visitors`` the ids of senders who are not known."""

    updates: Sequence[PersonUpdate]
    context: WebhookContext
    addresses: list[str]
    visitors: list[PersonId]

    @classmethod
    def of(cls, updates: Sequence[PersonUpdate], context: WebhookContext) -> "_Request":
        addresses = {address for update in updates for address in lookup_keys(update.identity)}
        visitors = {_visitor_id(update, context) for update in updates}
        return cls(updates, context, sorted(addresses), sorted(visitors))


class IdentityResolver:
    """States of people leave by outbox; they are committed before the updates that need them are published."""

    def __init__(self, pool: Pool, clock: Clock, people: PersonStore) -> None:
        self._pool = pool
        self._clock = clock
        self._people = people
        self._directories = _batched(self._load)
        self._changes = _batched(self._store_changes)

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
        request = _Request.of(updates, context)
        directory = await self._directories.result(request)
        senders = _identify_senders(directory, updates, context)
        if directory.changed(context.now) or await self._may_be_erased(request, senders, directory):
            with database_span("ingest"):
                senders = await self._changes.result(request)
        elif files := _messages_with_files(updates, senders):
            with raises_unavailable():
                await add_files(self._pool, context.tenant, files, context.traceparent)
        return [
            _to_record(update, sender.person, sender, context)
            for update, sender in zip(updates, senders, strict=True)
            if sender.person is not None
        ]

    async def _may_be_erased(self, request: _Request, senders: Sequence[_Sender], directory: PersonDirectory) -> bool:
        """Whether a person was erased at an address of an update that is older than the state of its writer.

        A person who became known again after an erasure has a state that is younger than the request for it.
        """
        pairs = zip(request.updates, senders, strict=True)
        older = [update for update, sender in pairs if _is_older(update, sender, directory)]
        if not older:
            return False
        addresses = sorted({address for update in older for address in lookup_keys(update.identity)})
        with raises_unavailable():
            return bool(await self._erased(self._pool, addresses, request.context.pseudonyms))

    async def _load(self, requests: Sequence[_Request]) -> list[PersonDirectory]:
        directory = await self._people.load(self._pool, *_addresses_and_visitors(requests))
        return [directory.part(request.addresses, request.visitors) for request in requests]

    async def _store_changes(self, requests: Sequence[_Request]) -> list[list[_Sender]]:
        """Identify the senders again under lock: another process may have changed the people meanwhile.

        The result is the same as with a transaction for each request, one after the other.
        """
        addresses, visitors = _addresses_and_visitors(requests)
        locks = address_locks(self._people.tenant, [*addresses, *visitors])
        changed: dict[PersonId, PersonObserved] = {}
        async with write_transaction(self._pool, self._clock, locks) as tx:
            directory = await self._people.load_for_update(tx.connection, addresses, visitors)
            erased = await self._erased(tx.connection, addresses, requests[0].context.pseudonyms)
            senders = [await _change_people(request, directory, changed, erased, tx) for request in requests]
            await self._people.save(tx.connection, [*changed.values()], directory.former_of(changed))
        return senders

    async def _erased(
        self, connection: Connection | Pool, addresses: Sequence[str], pseudonyms: Pseudonymizer
    ) -> Mapping[str, datetime]:
        """The addresses among these whose person was erased, each with the instant of the request."""
        hashes = {address_hash(self._people.tenant, one, pseudonyms): one for one in addresses}
        found = await self._people.erased_at(connection, [*hashes])
        return {hashes[one]: at for one, at in found.items()}


async def _change_people(
    request: _Request,
    directory: PersonDirectory,
    changed: dict[PersonId, PersonObserved],
    erased: Mapping[str, datetime],
    tx: Transaction,
) -> list[_Sender]:
    """Adds the new states to ``directory`` and to ``changed``, and publishes them.

    An update from before the person asked to be erased (``erased``, by address) is not taken in: it would bring back
    what is erased.
    """
    updates, context = request.updates, request.context
    own = directory.part(request.addresses, request.visitors)
    left = [update for update in updates if not _is_before_erasure(update, erased)]
    found = iter(_identify_senders(own, left, context))
    senders = [_NO_SENDER if _is_before_erasure(update, erased) else next(found) for update in updates]
    if len(left) < len(updates):
        _log.info("message.ignored", reason="erased", times=len(updates) - len(left))
    for person in own.changed(context.now):
        directory.copy(person, own)
        changed[person.person_id] = person
        tx.publish(CONTACTS, person_event(person, context))
    if files := _messages_with_files(updates, senders):
        await add_files(tx.connection, context.tenant, files, context.traceparent)
    return [sender._replace(version=_version_in(directory, sender.person)) for sender in senders]


def _is_older(update: PersonUpdate, sender: _Sender, directory: PersonDirectory) -> bool:
    state = None if sender.person is None else directory.get(sender.person)
    return state is None or update.at < state.observed_at


_NO_SENDER = _Sender(None, ())


def _is_before_erasure(update: PersonUpdate, erased: Mapping[str, datetime]) -> bool:
    """Whether the update was sent before the person asked to be erased. WhatsApp's instants are whole seconds, so the
    second of the request counts as after it.
    """
    asked = map(erased.get, lookup_keys(update.identity) if erased else ())
    return any(at is not None and update.at < at.replace(microsecond=0) for at in asked)


def _batched(call: Callable[[Sequence[_Request]], Coroutine[Any, Any, Sequence[R]]]) -> BatchedCalls[_Request, R]:
    return BatchedCalls(
        call, size=lambda request: len(request.updates), most=_UPDATES_PER_TRANSACTION, seconds=_DATABASE_SECONDS
    )


def _addresses_and_visitors(requests: Sequence[_Request]) -> tuple[list[str], list[PersonId]]:
    addresses = {address for request in requests for address in request.addresses}
    visitors = {visitor for request in requests for visitor in request.visitors}
    return sorted(addresses), sorted(visitors)


def _identify_senders(
    directory: PersonDirectory, updates: Sequence[PersonUpdate], context: WebhookContext
) -> list[_Sender]:
    persons = [
        identify(directory, update.identity, _visitor_id(update, context), context.now, update.at) for update in updates
    ]
    return [
        _Sender(
            person,
            directory.others_at(person, lookup_keys(update.identity), update.at),
            _version_in(directory, person),
        )
        for update, person in zip(updates, persons, strict=True)
    ]


def _version_in(directory: PersonDirectory, person: PersonId | None) -> int:
    known = None if person is None else directory.get(person)
    return 0 if known is None else known.version


def _messages_with_files(updates: Sequence[PersonUpdate], senders: Sequence[_Sender]) -> list[MessageReceived]:
    """The messages whose files will be fetched, each with its person."""
    return [
        update.draft.replace(person_id=sender.person)
        for update, sender in zip(updates, senders, strict=True)
        if sender.person is not None
        and isinstance(update.draft, MessageReceived)
        and update.draft.media
        and update.draft.media.file_id
    ]


def _visitor_id(update: PersonUpdate, context: WebhookContext) -> PersonId:
    return visitor_id(update.identity, context.tenant, context.pseudonyms)


def _to_record(update: PersonUpdate, person: PersonId, sender: _Sender, context: WebhookContext) -> KafkaRecord:
    key = partition_key(context.tenant, "persons", person)
    draft = update.draft.replace(person_id=person, shared_with=sender.shared_with)
    if isinstance(draft, MessageReceived):
        draft = draft.replace(person_version=sender.version)
    event = context.event(draft, id=update.id, key=key, at=update.at)
    return KafkaRecord.of(WHATSAPP_MESSAGES, event, update.kind)
