"""Stores batches of requested writes, evidence, observed people and reported files; the worker executes the writes."""

from collections.abc import Iterable, Sequence

from services.writeback.attachments import file_locks, reports_of
from services.writeback.evidence_store import append_evidence, destroy_keys, draft_of_request, erased_among
from services.writeback.store import enqueue_writes, save_files, save_people
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.errors import Refused
from shared.contracts.evidence import RecordEvidence
from shared.contracts.writes import ApplyMetadata, RequestWrite
from shared.runtime.batch import ReceivedEvent
from shared.runtime.outbox import Transaction
from shared.runtime.telemetry import get_logger

log = get_logger()


class WritebackHandler:
    """The handler of the service's one consumer."""

    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        """The ordering key of each write, as the store locks it when it settles one; a person's key for a contact.

        A reported file has a lock of its own: a write may just be going on without it.
        """
        yield from (received.event.partitionkey for received in batch)
        for event, file in reports_of([received.event for received in batch]):
            yield from file_locks(event.tenantid, [file.file_id])

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        """Raises Refused for a write that could never be settled: it would hold up its record."""
        writes = [received.event for received in batch if isinstance(received.event.data, RequestWrite)]
        people = [received.event for received in batch if isinstance(received.event.data, PersonObserved)]
        for event in writes:
            _check(event.data)
        await self._save_people(tx, people)
        recorded = [(received.event.tenantid, received.event.data) for received in batch]
        drafts = [draft_of_request(tenant, data) for tenant, data in recorded if isinstance(data, RecordEvidence)]
        await append_evidence(tx.connection, drafts, tx.now)
        if writes:
            await enqueue_writes(tx.connection, writes)
        if reports := reports_of([received.event for received in batch]):
            await save_files(tx.connection, reports, tx.now)

    async def _save_people(self, tx: Transaction, events: Sequence[Event]) -> None:
        """Save the states of people, and destroy the keys of the evidence of erased ones."""
        if not events:
            return
        await save_people(tx.connection, events)
        by_tenant: dict[str, set[str]] = {}
        for event in events:
            if isinstance(event.data, PersonObserved) and (event.data.erased or event.data.merged_into):
                by_tenant.setdefault(event.tenantid, set()).add(event.data.person_id)
        for tenant, people in by_tenant.items():
            erased = await erased_among(tx.connection, tenant, people)
            held = (await destroy_keys(tx.connection, tenant, erased, tx.now)).held if erased else {}
            for record in sorted({record for records in held.values() for record in records}):
                log.warning("erasure.held", record=record)


def _check(write: object) -> None:
    if isinstance(write, RequestWrite) and isinstance(write.input, ApplyMetadata):
        if write.work_id is None:
            raise Refused("metadata.apply names no work")
        if not any(item.target_ids for item in write.input.items):
            raise Refused("metadata.apply names nothing to change")
