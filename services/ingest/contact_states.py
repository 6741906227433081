"""A person's full state, as the event ``contacts`` keeps."""

from services.ingest.records import Frame
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import derive_id, partition_key


def state_event(person: PersonObserved, frame: Frame) -> Event:
    """Its id is the person's version, so that no state is told twice."""
    key = partition_key(frame.tenant, "persons", person.person_id)
    event_id = derive_id(frame.tenant, "person", person.person_id, person.version)
    return frame.event(person, id=event_id, key=key, at=person.observed_at)


def address_locks(tenant: str, addresses: list[str]) -> list[str]:
    """Whoever writes people at these addresses takes turns."""
    return [f"{tenant}/address/{address}" for address in addresses]
