"""Reads batches of requests and contacts, and keeps them; carrying writes out is the queue's work."""

from collections.abc import Iterable, Sequence

from services.writeback import intake
from shared.contracts.contacts import PersonObserved
from shared.contracts.errors import Refused
from shared.contracts.writes import ApplyMetadata, RequestWrite
from shared.runtime.batch import ReceivedEvent
from shared.runtime.transaction import Transaction


class Intake:
    """The handler of the service's one consumer."""

    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        """The lane of each write, as the queue locks it when it settles one; a person's key for a contact."""
        return (received.event.partitionkey for received in batch)

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        asked = [received.event for received in batch if isinstance(received.event.data, RequestWrite)]
        people = [received.event for received in batch if isinstance(received.event.data, PersonObserved)]
        for event in asked:
            _check(event.data)
        if asked:
            await intake.enqueue(tx.connection, asked)
        if people:
            await intake.remember_people(tx.connection, people)


def _check(write: object) -> None:
    """What could never be settled is refused before it holds up its record."""
    if isinstance(write, RequestWrite) and isinstance(write.input, ApplyMetadata):
        if write.work_id is None:
            raise Refused("metadata.apply names no work")
        if not any(item.target_ids for item in write.input.items):
            raise Refused("metadata.apply names nothing to change")
