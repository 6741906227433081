"""Erasure of a person by ingest: the person's state becomes the erased one, which tells the other services, and records
leave the topics once every reader has committed them.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from services.ingest.identity import address_hash, person_event
from services.ingest.media.file_rows import StoredFiles
from services.ingest.person_directory import address_key, address_keys
from services.ingest.poll.snapshots import WorkSnapshot
from services.ingest.records import EventContext
from services.ingest.store import raises_unavailable, write_transaction
from shared.contracts.consonance import ErasureRequested
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.errors import Unavailable
from shared.contracts.ids import ContactId, PersonId, TenantId, partition_key, person_id_of_contact
from shared.contracts.personal_data import DELETED_TOPICS
from shared.contracts.topics import CONSUMED, CONTACTS, PARTITIONS, Topic
from shared.contracts.values import decode, encode
from shared.runtime.clock import Clock
from shared.runtime.credentials import Pseudonymizer
from shared.runtime.erasure import QUERIES as ERASURES
from shared.runtime.erasure import LeftOver, delete_old_erasures, known_words
from shared.runtime.kafka import client_options
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.redaction import ERASED
from shared.runtime.retention import Expiry, deletion
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import get_logger

QUERIES = load_queries(__file__, "erasure.sql")
_log = get_logger()
_CONTACT_LIMIT = 2**63
_VISITORS_AT_ONCE = 20
_ERASURES_AT_ONCE = 200
_TOMBSTONE_SECONDS = 10.0
_FORGOTTEN_LATER = 30
"""Days; a service that was down for longer ignores people who write again, until it has forgotten them."""


# ------------------------------------------------------------------ requests


def erased_state(person: PersonObserved) -> PersonObserved:
    """The next version of the person's state, which holds the pseudonym and nothing else of the person. A merged person
    stays merged.
    """
    return PersonObserved(
        person_id=person.person_id,
        merged_into=person.merged_into,
        erased=True,
        observed_at=person.observed_at,
        version=person.version + 1,
    )


@dataclass(frozen=True, slots=True)
class ErasureRequests:
    """Begins the erasures that are requested: by Consonance (``contact.erasure_requested``) or with ``stet erase``."""

    pool: Pool
    clock: Clock
    tenant: TenantId
    pseudonyms: Pseudonymizer

    async def begin(self, events: Iterable[Event]) -> None:
        """Begin the erasure of the contacts that these events name. Raises Unavailable."""
        for contact in sorted({e.data.contact_id for e in events if isinstance(e.data, ErasureRequested)}):
            async with write_transaction(self.pool, self.clock, [f"{self.tenant}/erasures"]) as tx:
                await self._begin_for_contact(tx, contact)

    async def forget_names(self, documents: Sequence[Any]) -> None:
        """Replace the names of erased contacts in pushed documents. Raises Unavailable."""
        contacts = named_contacts(documents)
        erased = await erased_among(self.pool, self.tenant, contacts) if contacts else frozenset()
        for document in documents if erased else ():
            erase_names(document, erased)

    async def _begin_for_contact(self, tx: Transaction, contact: ContactId) -> None:
        """A contact that was never seen is noted, so that a later poll does not take it in."""
        await tx.connection.execute(QUERIES.save_erased_contact, self.tenant, contact, tx.now)
        await tx.connection.execute(QUERIES.delete_contact_snapshot, self.tenant, contact)
        rows = await tx.connection.fetch(QUERIES.people_of_contact, self.tenant, contact)
        for person_id in {row["person_id"] for row in rows} | {person_id_of_contact(self.tenant, contact)}:
            await begin_erasure(tx.connection, tx, self.tenant, person_id)

    async def expire_visitors(self, before: datetime) -> int:
        """Begin the erasure of some people who never became contacts, and wrote last before then; returns how many.

        Those of one day (UTC) expire together, at its end: each pass of an erasure shortens the topics, and empties the
        texts of all messages that have ended, whether it is for one person or for many.
        """
        text = before.astimezone(UTC).strftime("%Y-%m-%dT00:00:00")
        async with write_transaction(self.pool, self.clock, [f"{self.tenant}/erasures"]) as tx:
            rows = await tx.connection.fetch(QUERIES.expired_visitors, self.tenant, text, _VISITORS_AT_ONCE)
            for row in rows:
                await begin_erasure(tx.connection, tx, self.tenant, row["person_id"])
        return len(rows)

    async def publish_erased(self, person_id: PersonId, passes: int) -> None:
        """Publish the erased state of the person, in each pass; ``passes`` is the number of earlier ones.

        The first time it tells the other services. The later times make the broker close the segment in which the
        earlier states are, so that it compacts them. A person who has written again since is not erased again.
        """
        async with write_transaction(self.pool, self.clock, [f"{self.tenant}/erasures"]) as tx:
            for known in await self._lock_all_of(tx.connection, person_id):
                if passes > 0 and not known.erased:
                    continue
                if known.contact_id is not None:
                    await tx.connection.execute(QUERIES.save_erased_contact, self.tenant, known.contact_id, tx.now)
                    await tx.connection.execute(QUERIES.delete_contact_snapshot, self.tenant, known.contact_id)
                if known.person_id != person_id and not known.erased:
                    await begin_erasure(tx.connection, tx, self.tenant, known.person_id)
                state = erased_state(known).replace(observed_at=tx.now)
                await self._note_addresses(tx, known)
                saved = (self.tenant, state.person_id, state.version, encode(state).decode())
                await tx.connection.execute(QUERIES.save_erased, *saved)
                await tx.connection.execute(QUERIES.delete_former_addresses, self.tenant, known.person_id)
                tx.publish(CONTACTS, person_event(state, EventContext(self.tenant, tx.now, {})))

    async def _lock_all_of(self, connection: Connection, person_id: PersonId) -> list[PersonObserved]:
        """The person and all who were merged into them, locked.

        They are read until no more are found: a statement that waited for a row does not see who was merged meanwhile.
        """
        locked = set[str]()
        while True:
            rows = await connection.fetch(QUERIES.people_merged_into, self.tenant, person_id)
            found = {row["person_id"] for row in rows}
            if found <= locked:
                return [decode(PersonObserved, row["state"]) for row in rows]
            locked |= found

    async def _note_addresses(self, tx: Transaction, known: PersonObserved) -> None:
        """Nothing that was sent from these addresses before the request is taken in any more."""
        left = await tx.connection.fetch(QUERIES.former_addresses, self.tenant, known.person_id)
        keys = sorted({*address_keys(known.addresses), *(address_key(row["address"]) for row in left)})
        if keys:
            hashes = [address_hash(self.tenant, key, self.pseudonyms) for key in keys]
            noted = (self.tenant, known.person_id, tx.now, hashes, keys)
            await tx.connection.execute(QUERIES.save_erased_addresses, *noted)

    def old_addresses(self, days: int) -> Expiry:
        """When the hashes of the addresses of erased people expire."""
        return Expiry(deletion(self.pool, QUERIES.delete_old_erased_addresses), days)


class Tombstones(Protocol):
    async def forget(self, topic: Topic, keys: Sequence[str]) -> None:
        """Return when the broker has a tombstone for each of these keys. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class CompletedErasures:
    """Records of completed erasures. When one is deleted, the pseudonym of a visitor leaves ``contacts`` as well.

    Ingest keeps them longer than the other services. After the deletion a visitor who writes again begins with version
    1, so every service must have forgotten the earlier versions by then.
    """

    pool: Pool
    clock: Clock
    tombstones: Tombstones

    def expiry(self, days: int) -> Expiry:
        return Expiry(self.delete, days + _FORGOTTEN_LATER)

    async def delete(self, before: datetime) -> int:
        """Delete some that were completed before that instant; returns how many. Raises Unavailable.

        The tombstones go while the rows are locked, so that the state of a visitor who writes again follows them.
        """
        async with write_transaction(self.pool, self.clock) as tx:
            deleted, forgotten = await delete_old_erasures(
                tx.connection, QUERIES.forget_visitors, before, _ERASURES_AT_ONCE
            )
            if keys := [partition_key(TenantId(tenant), "persons", person_id) for tenant, person_id in forgotten]:
                async with asyncio.timeout(_TOMBSTONE_SECONDS):
                    await self.tombstones.forget(CONTACTS, keys)
        return deleted


async def begin_erasure(connection: Connection, tx: Transaction, tenant: str, person_id: str) -> None:
    words = await known_words(connection, "ingest", tenant, person_id)
    await connection.execute(ERASURES.begin_erasure, tenant, person_id, tx.now, words)


# ------------------------------------------------------------------ what Consonance still shows


def named_contacts(documents: Iterable[Any]) -> set[int]:
    """The numbers of the contacts that pushed documents name."""
    named = (one.get("contact_id") for document in documents for one in _objects_in(document))
    return {contact for contact in named if isinstance(contact, int) and 0 <= contact < _CONTACT_LIMIT}


def erase_names(document: Any, erased: Collection[int]) -> None:
    """Replace the names of erased contacts wherever a pushed document names them, also in its lines of credits."""
    objects = list(_objects_in(document))
    names = set[str]()
    for one in objects:
        contact = one.get("contact_id")
        if isinstance(contact, int) and contact in erased and "display_name" in one:
            names.add(str(one["display_name"]))
            one["display_name"] = ERASED
    for one in objects:
        if isinstance(one.get("contributors_display"), str):
            one["contributors_display"] = _without_names(one["contributors_display"], names)


def _without_names(credits_line: str, names: Collection[str]) -> str:
    for name in sorted(filter(None, names), key=len, reverse=True):
        credits_line = credits_line.replace(name, ERASED)
    return credits_line


def _objects_in(document: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON document. It may be nested deeper than Python calls functions."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


async def erased_among(connection: Connection, tenant: str, contacts: Collection[int]) -> frozenset[int]:
    """The contacts among these whose person was erased."""
    with raises_unavailable():
        rows = await connection.fetch(QUERIES.erased_contacts, tenant, sorted(contacts))
    return frozenset(row["contact_id"] for row in rows)


def without_erased(work: WorkSnapshot, erased: Collection[int]) -> WorkSnapshot:
    """A work on which erased people are not named."""
    names = {one.name for one in work.people if one.contact_id in erased}
    if not names:
        return work
    display = _without_names(work.contributors_display, names) if work.contributors_display is not None else None
    people = tuple(one for one in work.people if one.contact_id not in erased)
    return work.replace(people=people, contributors_display=display)


# ------------------------------------------------------------------ topics

_READ_SECONDS = 20.0
_POLL_SECONDS = 0.5

_GROUPS = {service: f"stet.{service}" for service, topics in CONSUMED.items() if topics}


def readers_of(topic: str) -> list[str]:
    """The services that read a topic."""
    return [service for service, topics in CONSUMED.items() if topic in {one.name for one in topics}]


def deletable_offset(end: int, committed: Sequence[int | None]) -> int:
    """The offset before which no reader needs a record of the partition any more; its end where it has no reader."""
    return min([end, *(offset or 0 for offset in committed)])


@dataclass(frozen=True, slots=True)
class TopicEraser:
    """Deletes the records with personal data that every service has committed."""

    settings: ServiceSettings

    async def delete_read_records(self) -> LeftOver:
        """Returns the partitions whose records some service has still to read, by topic. Raises Unavailable."""
        admin = AIOKafkaAdminClient(**client_options(self.settings))
        try:
            await admin.start()
            return await self._delete(admin)
        except (KafkaError, OSError) as error:
            raise Unavailable(f"Kafka: {type(error).__name__}") from error
        finally:
            await admin.close()

    async def _delete(self, admin: Any) -> LeftOver:
        prefix = self.settings.topic_prefix
        places = [TopicPartition(prefix + name, part) for name in DELETED_TOPICS for part in range(PARTITIONS)]
        ends = await self._end_offsets(places)
        until = await self._until_read(admin, ends)
        chosen = {place: RecordsToDelete(offset) for place, offset in until.items() if offset > 0}
        if chosen:
            await admin.delete_records(chosen)
        _log.info("records.deleted", partitions=len(chosen))
        behind = [place.topic.removeprefix(prefix) for place, offset in until.items() if offset < ends[place]]
        return Counter(behind)

    async def _until_read(self, admin: Any, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The offset up to which each partition may be deleted. Waits a while for readers that are behind."""
        began = time.monotonic()
        while True:
            committed = {
                service: await admin.list_consumer_group_offsets(self.settings.topic_prefix + group)
                for service, group in _GROUPS.items()
            }
            until = {place: deletable_offset(end, self._offsets(place, committed)) for place, end in ends.items()}
            if until == ends or time.monotonic() - began > _READ_SECONDS:
                return until
            await asyncio.sleep(_POLL_SECONDS)

    def _offsets(
        self, place: TopicPartition, committed: Mapping[str, Mapping[TopicPartition, Any]]
    ) -> list[int | None]:
        readers = readers_of(place.topic.removeprefix(self.settings.topic_prefix))
        return [_offset(committed[service], place) for service in readers]

    async def _end_offsets(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        consumer = AIOKafkaConsumer(**client_options(self.settings), enable_auto_commit=False)
        try:
            await consumer.start()
            ends: Mapping[TopicPartition, int] = await consumer.end_offsets(list(places))
        finally:
            await consumer.stop()
        return ends


def _offset(committed: Mapping[TopicPartition, Any], place: TopicPartition) -> int | None:
    found = committed.get(place)
    return None if found is None or found.offset < 0 else found.offset


@dataclass(frozen=True, slots=True)
class FilesAndTopics:
    """Files and records of topics: the stores of ingest besides its tables."""

    requests: ErasureRequests
    files: StoredFiles
    topics: TopicEraser

    async def erase(self, person_id: PersonId, passes: int) -> LeftOver:
        """Raises Unavailable."""
        await self.requests.publish_erased(person_id, passes)
        files = await self.files.erase(person_id)
        return {"media_files": files} if files else {}

    async def erase_together(self) -> LeftOver:
        """Delete the records of all people that every service has read from the topics. Raises Unavailable."""
        return await self.topics.delete_read_records()
