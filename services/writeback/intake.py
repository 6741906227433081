"""Takes requests into the queue and people into the ledger, a batch at a time, in the caller's transaction."""

from collections.abc import Sequence

from services.writeback.changes import once_key
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.values import encode
from shared.contracts.writes import RequestWrite
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Connection, load_queries

queries = load_queries(__file__, "intake.sql")


async def enqueue(connection: Connection, asked: Sequence[Event]) -> None:
    """Takes RequestWrite events in their order."""
    columns = zip(*map(_row, asked), strict=True)
    await connection.execute(queries.enqueue, *map(list, columns), machine_now())
    await connection.execute(queries.wake)


def _row(event: Event) -> tuple[object, ...]:
    write = event.data
    assert isinstance(write, RequestWrite)  # noqa: S101 -- the handler sorts the batch by kind
    return (
        event.tenantid,
        write.write_id,
        event.partitionkey,
        write.record,
        write.input.operation,
        once_key(write.input),
        encode(write).decode(),
        event.id,
        event.correlationid,
        event.traceparent,
        write.requested_at,
    )


async def remember_people(connection: Connection, seen: Sequence[Event]) -> None:
    """Takes PersonObserved events; of several versions of a person the newest counts."""
    newest: dict[tuple[str, str], PersonObserved] = {}
    for event in seen:
        person = event.data
        assert isinstance(person, PersonObserved)  # noqa: S101 -- the handler sorts the batch by kind
        known = newest.get((event.tenantid, person.person_id))
        if known is None or known.version < person.version:
            newest[event.tenantid, person.person_id] = person
    rows = [
        (tenant, one.person_id, one.contact_id, one.display_name or "", one.erased, one.version)
        for (tenant, _), one in newest.items()
    ]
    await connection.execute(queries.remember_people, *map(list, zip(*rows, strict=True)))
