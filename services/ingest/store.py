"""The tables of ingest in PostgreSQL: people, snapshots of Consonance, received CloudEvents, parked input, coverage.

A database that is away, shutting down or locked by others raises Unavailable.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Generic, TypeVar

from services.ingest.coverage import Coverage
from services.ingest.person_directory import FormerAddress, PersonDirectory, address_key
from services.ingest.records import InvalidInput
from shared.clients.phone_numbers import phone_key
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.errors import Unavailable
from shared.contracts.ids import PersonId, TenantId, derive_id
from shared.contracts.values import DECODE_ERRORS, Value, decode, encode
from shared.runtime.clock import Clock, machine_now
from shared.runtime.failures import SERIALIZATION_FAILURES, TRANSIENT_ERRORS
from shared.runtime.outbox import RECORDS_PARKED, RecordOrigin, Transaction, transaction
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.retention import Expiry, deletion
from shared.runtime.telemetry import get_logger

RECEIVED_DAYS = 100
"""Ids of received CloudEvents are kept as long as those in the inboxes of consumers."""

_PARKED_SOURCE = "parked"
_UNAVAILABLE = (*TRANSIENT_ERRORS, *SERIALIZATION_FAILURES)
_S = TypeVar("_S", bound=Value)

queries = load_queries(__file__, "store.sql")
_log = get_logger()


@contextmanager
def raises_unavailable() -> Iterator[None]:
    """Turn errors of a database that cannot be used now into Unavailable."""
    try:
        yield
    except Unavailable:
        raise
    except _UNAVAILABLE as error:
        raise Unavailable(f"PostgreSQL: {type(error).__name__}") from error


@asynccontextmanager
async def write_transaction(pool: Pool, clock: Clock, locks: Iterable[str] = ()) -> AsyncIterator[Transaction]:
    """A transaction with its outbox, in ingest's schema. Raises Unavailable."""
    with raises_unavailable():
        async with transaction(pool, clock, "ingest", locks=locks) as tx:
            yield tx


# ------------------------------------------------------------------ people


@dataclass(frozen=True, slots=True)
class PersonStore:
    """People by address: BSUIDs, and the keys of numbers (``phone_key``). Versions only rise."""

    tenant: TenantId

    async def load(self, pool: Pool, addresses: Iterable[str], persons: Iterable[PersonId]) -> PersonDirectory:
        """The people with these addresses or ids, not locked. Raises Unavailable."""
        with raises_unavailable():
            rows = await pool.fetch(queries.people_at, self.tenant, list(addresses), list(persons))
        return _to_directory(rows)

    async def load_for_update(
        self, connection: Connection, addresses: Iterable[str], persons: Iterable[PersonId]
    ) -> PersonDirectory:
        """The rows are locked until the transaction ends.

        They are read again once they are locked: a statement that waited for a row has all else as it was before.
        """
        asked, locked = (self.tenant, list(addresses), list(persons)), set[PersonId]()
        while True:
            directory = _to_directory(await connection.fetch(queries.people_at, *asked))
            found = {person.person_id for person in directory}
            if found <= locked:
                return directory
            await connection.execute(queries.lock_people, self.tenant, sorted(found))
            locked |= found

    async def erased_at(self, connection: Connection | Pool, hashes: Collection[str]) -> Mapping[str, datetime]:
        """The hashes among these of addresses whose person was erased, each with the instant of the request."""
        rows = await connection.fetch(queries.erased_addresses, self.tenant, list(hashes))
        return {row["address_hash"]: row["erased_at"] for row in rows}

    async def save(
        self,
        connection: Connection,
        changed: Sequence[PersonObserved],
        former: Mapping[PersonId, Collection[FormerAddress]] | None = None,
    ) -> None:
        """``former`` are the addresses that they have left, of each that has left some."""
        await connection.execute(
            queries.save_people,
            self.tenant,
            [person.person_id for person in changed],
            [person.contact_id for person in changed],
            [person.addresses.bsuid for person in changed],
            [phone_key(person.addresses.phone) if person.addresses.phone else None for person in changed],
            [phone_key(person.addresses.wa_id) if person.addresses.wa_id else None for person in changed],
            [person.version for person in changed],
            [encode(person).decode() for person in changed],
        )
        left = [(person_id, one) for person_id, some in (former or {}).items() for one in some]
        if left:
            await connection.execute(
                queries.save_former_addresses,
                self.tenant,
                [person.person_id for person in changed if person.merged_into is not None],
                [person_id for person_id, _ in left],
                [one.address for _, one in left],
                [address_key(one.address) for _, one in left],
                [one.until for _, one in left],
            )


def _to_directory(rows: Sequence[Mapping[str, Any]]) -> PersonDirectory:
    people = [decode(PersonObserved, row["state"]) for row in rows]
    former = {
        person.person_id: decode(tuple[FormerAddress, ...], row["former"])
        for person, row in zip(people, rows, strict=True)
        if row["former"] is not None
    }
    return PersonDirectory(people, former)


# ------------------------------------------------------------------ snapshots and poll passes


@dataclass(frozen=True, slots=True)
class PollPass:
    """A pass over all records of an entity. All up to the id ``after`` are read.

    ``fields`` had a complete first pass, so differences in them are published. ``started_at`` is business time, for it
    is compared with dates of Consonance; ``completed_at`` is machine time. ``term`` is that of the poll that reads.
    """

    started_at: datetime
    changed_since: date | None = None
    after: int = 0
    completed_at: datetime | None = None
    fields: frozenset[str] = frozenset()
    term: int = 0


@dataclass(frozen=True, slots=True)
class StoredSnapshot(Generic[_S]):
    """``version`` rises with every difference, from 0 for a record never seen. ``snapshot`` None: never seen, or stored
    by another version of this service in a form that cannot be read.
    """

    version: int
    snapshot: _S | None


@dataclass(frozen=True, slots=True)
class SnapshotStore(Generic[_S]):
    """The snapshots and the passes of one tenant and one entity (``works``, ``contacts``)."""

    tenant: TenantId
    entity: str
    model: type[_S]

    async def load(self, connection: Connection, ids: Collection[int]) -> Mapping[int, StoredSnapshot[_S]]:
        """The stored snapshot of each id; version 0 and no snapshot where there is none."""
        rows = await connection.fetch(queries.load_snapshots, self.tenant, self.entity, list(ids))
        found = {row["id"]: StoredSnapshot(row["version"], self._decode(row["view"])) for row in rows}
        return {one: found.get(one) or StoredSnapshot(0, None) for one in ids}

    async def save(self, connection: Connection, new: Sequence[tuple[int, int, _S]], now: datetime) -> None:
        """``new``: id, version and snapshot of each record."""
        ids, versions = [record_id for record_id, _, _ in new], [version for _, version, _ in new]
        contents = [encode(snapshot).decode() for _, _, snapshot in new]
        await connection.execute(queries.save_snapshots, self.tenant, self.entity, now, ids, versions, contents)

    def _decode(self, content: str) -> _S | None:
        try:
            return decode(self.model, content)
        except DECODE_ERRORS:
            return None

    async def last_pass(self, connection: Connection) -> PollPass | None:
        row = await connection.fetchrow(queries.load_pass, self.tenant, self.entity)
        return None if row is None else PollPass(**{**row, "fields": frozenset(row["fields"])})

    async def begin_pass(self, connection: Connection, new: PollPass) -> None:
        await connection.execute(queries.begin_pass, self.tenant, self.entity, new.started_at, new.changed_since)

    async def take_pass(self, connection: Connection, current: PollPass) -> PollPass:
        """The pass in a term of its own: polls that read it before can change nothing more."""
        term = await connection.fetchval(queries.take_pass, self.tenant, self.entity)
        return replace(current, term=term)

    async def hold_pass(self, connection: Connection, current: PollPass) -> None:
        """No other poll takes the pass until the transaction ends. Raises Unavailable where one has taken it."""
        if await connection.fetchval(queries.hold_pass, self.tenant, self.entity, current.term) is None:
            raise Unavailable("another replica has begun to poll since")

    async def advance_pass(self, connection: Connection, current: PollPass, after: int) -> None:
        await connection.execute(queries.advance_pass, self.tenant, self.entity, current.term, after)

    async def complete_pass(
        self, connection: Connection, current: PollPass, at: datetime, fields: Collection[str]
    ) -> None:
        """``at`` is machine time."""
        fields = list(fields)
        await connection.execute(queries.complete_pass, self.tenant, self.entity, current.term, at, fields)


# ------------------------------------------------------------------ received CloudEvents


@dataclass(frozen=True, slots=True)
class ReceivedEventStore:
    """The CloudEvents that were received before, by source and id. All methods raise Unavailable."""

    pool: Pool
    tenant: TenantId

    async def find(self, events: Sequence[Event]) -> set[tuple[str, str]]:
        """(source, id) of those events that were received before."""
        with raises_unavailable():
            rows = await self.pool.fetch(queries.find_received, self.tenant, *_sources_and_ids(events))
        return {(row["source"], row["id"]) for row in rows}

    async def add(self, events: Sequence[Event]) -> None:
        with raises_unavailable():
            await self.pool.execute(queries.add_received, self.tenant, *_sources_and_ids(events), machine_now())

    def expiry(self) -> Expiry:
        """When the memory of an event expires, by machine time."""
        return Expiry(deletion(self.pool, queries.delete_old_received), RECEIVED_DAYS)


def _sources_and_ids(events: Sequence[Event]) -> tuple[list[str], list[str]]:
    return [event.source for event in events], [event.id for event in events]


# ------------------------------------------------------------------ parked input


@dataclass(frozen=True, slots=True)
class ParkedInputStore:
    """Keeps invalid input for an operator; the same bytes once, however often they are sent."""

    pool: Pool
    clock: Clock
    tenant: TenantId

    async def park(self, inputs: Sequence[InvalidInput], origin: str) -> None:
        """Return after they are stored. ``origin`` is the path or the poll they came from. Raises Unavailable."""
        by_id = {derive_id(origin, one.raw.hex()): one for one in inputs}
        async with write_transaction(self.pool, self.clock, [f"{self.tenant}/{_PARKED_SOURCE}"]) as tx:
            ids = list(by_id)
            sources = [_PARKED_SOURCE] * len(ids)
            new = await tx.connection.fetch(queries.add_received, self.tenant, sources, ids, machine_now())
            await park_in(tx, [by_id[row["id"]] for row in new], origin)


async def park_in(tx: Transaction, inputs: Iterable[InvalidInput], origin: str) -> None:
    """Park in a transaction that is open, also input that was parked before."""
    for one in inputs:
        RECORDS_PARKED.labels(one.reason).inc()
        await tx.park(one.raw, one.reason, one.sentence, RecordOrigin(origin))
        _log.warning("input.parked", reason=one.reason, sentence=one.sentence)


# ------------------------------------------------------------------ coverage of the webhook


async def load_coverage(connection: Connection, tenant: TenantId, account: str) -> Coverage | None:
    """The row is locked until the transaction ends."""
    row = await connection.fetchrow(queries.load_coverage, tenant, account)
    return None if row is None else Coverage(**row)


async def save_coverage(connection: Connection, tenant: TenantId, account: str, coverage: Coverage) -> None:
    edges = (coverage.since, coverage.until, coverage.gap_since, coverage.gap_until)
    await connection.execute(queries.save_coverage, tenant, account, *edges)


@dataclass(frozen=True, slots=True)
class ReplicaStore:
    """The replicas that receive the webhooks of an account."""

    tenant: TenantId
    account: str

    async def record(self, connection: Connection, replica: str) -> None:
        """Record that the replica is alive now (machine time)."""
        await connection.execute(queries.record_replica, self.tenant, self.account, replica)

    async def remove_lost(self, connection: Connection, absent_after: timedelta) -> int:
        """Remove the replicas that have recorded nothing for ``absent_after``; returns how many."""
        return int(await connection.fetchval(queries.remove_lost_replicas, self.tenant, self.account, absent_after))

    async def remove(self, pool: Pool, replica: str) -> None:
        """Remove a replica that ends with no webhook unanswered. Raises Unavailable."""
        with raises_unavailable():
            await pool.execute(queries.remove_replica, self.tenant, self.account, replica)
