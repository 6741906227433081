"""Stores batches of requested writes and observed people; the worker executes the writes."""

from collections.abc import Iterable, Sequence

from services.writeback.store import enqueue_writes, save_people
from shared.contracts.contacts import PersonObserved
from shared.contracts.errors import Refused
from shared.contracts.writes import ApplyMetadata, RequestWrite
from shared.runtime.batch import ReceivedEvent
from shared.runtime.outbox import Transaction


class WritebackHandler:
    """The handler of the service's one consumer."""

    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        """The ordering key of each write, as the store locks it when it settles one; a person's key for a contact."""
        return (received.event.partitionkey for received in batch)

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        """Raises Refused for a write that could never be settled: it would hold up its record."""
        writes = [received.event for received in batch if isinstance(received.event.data, RequestWrite)]
        people = [received.event for received in batch if isinstance(received.event.data, PersonObserved)]
        for event in writes:
            _check(event.data)
        if writes:
            await enqueue_writes(tx.connection, writes)
        if people:
            await save_people(tx.connection, people)


def _check(write: object) -> None:
    if isinstance(write, RequestWrite) and isinstance(write.input, ApplyMetadata):
        if write.work_id is None:
            raise Refused("metadata.apply names no work")
        if not any(item.target_ids for item in write.input.items):
            raise Refused("metadata.apply names nothing to change")
