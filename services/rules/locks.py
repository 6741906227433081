"""Who waits for whom: what changes whether somebody may be written to takes turns with all that may write to them.

A STOP has its person alone; a batch that reads the consent of people shares them with other readers. People stand in
for one another by their number modulo so many, so that no batch, however large, fills PostgreSQL's table of locks.
"""

from collections.abc import Iterable

from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import PersonId
from shared.contracts.intents import Intent, classify
from shared.contracts.whatsapp import IdentityChanged, MessageReceived
from shared.runtime.postgres import advisory_lock_key
from shared.runtime.transaction import SharedLock

_GROUPS = 1024
_CONSENT = frozenset({Intent.STOP, Intent.START})


def alone(events: Iterable[Event]) -> set[str]:
    """The locks of people of whom these events may change whether, or where, they may be written to."""
    return {_group(person) for event in events for person in _changed(event)}


def shared(people: Iterable[PersonId]) -> set[SharedLock]:
    """The locks of people who may be written to."""
    return {SharedLock(_group(person)) for person in people}


def _changed(event: Event) -> tuple[PersonId, ...]:
    data = event.data
    if isinstance(data, MessageReceived):
        decides = data.button_id is None and classify(data.text) in _CONSENT
        return (data.person_id, *data.shared_with) if decides else ()
    if isinstance(data, PersonObserved):
        return (data.person_id, data.merged_into) if data.merged_into else (data.person_id,)
    return (data.person_id,) if isinstance(data, IdentityChanged) else ()


def _group(person: PersonId) -> str:
    return f"people/{advisory_lock_key(person) % _GROUPS}"
