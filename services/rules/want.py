"""What must be known to decide a batch: found from its events alone, so that loading takes a fixed number of steps."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from services.rules import buttons
from services.rules.facts import MESSAGE_RECEIVED, Document, fields_of, message_fields
from services.rules.recipients import parties_in
from services.rules.rulebook import Rulebook
from services.rules.start import tags_to_load
from services.rules.world import World
from shared.events import consonance
from shared.events.contacts import PersonObserved
from shared.events.envelope import Event
from shared.events.messages import OnMessage
from shared.events.whatsapp import IdentityChanged, MessageReceived
from shared.events.writes import OnWrite
from shared.ids import ChainId, ContactId, MessageId, PersonId, TenantId, Wamid, WorkId, WriteId, person_of_contact


@dataclass(slots=True)
class Wanted:
    """``listening`` are people all of whose live chains are wanted, since their message may answer any of them."""

    works: set[WorkId] = field(default_factory=set)
    people: set[PersonId] = field(default_factory=set)
    listening: set[PersonId] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    messages: set[MessageId] = field(default_factory=set)
    wamids: set[Wamid] = field(default_factory=set)
    writes: set[WriteId] = field(default_factory=set)
    chains: set[ChainId] = field(default_factory=set)


def want(events: Iterable[Event], book: Rulebook, tenant: TenantId, now: datetime) -> Wanted:
    wanted = Wanted(people=set(staff(book, tenant)))
    nobody = World(tenant)
    for event in events:
        data = event.data
        if isinstance(data, MessageReceived):
            _of_message(wanted, event, data, book, nobody, now)
        elif isinstance(data, PersonObserved | IdentityChanged):
            wanted.people.add(data.person_id)
        elif isinstance(data, OnMessage):
            wanted.messages.add(data.message_id)
        elif isinstance(data, OnWrite):
            wanted.writes.add(data.write_id)
        elif event.type in consonance.KINDS:
            _of_consonance(wanted, event, book, nobody, now)
    return wanted


def staff(book: Rulebook, tenant: TenantId) -> Iterable[PersonId]:
    """Everybody people.yaml may bring in: teams, imprints and whoever stands in."""
    people = book.people
    of_teams = (c for team in (*people.teams.values(), *people.imprints.values()) for ids in team.values() for c in ids)
    for contact in (*of_teams, *(stand_in.who for stand_in in people.stands_in)):
        yield person_of_contact(tenant, ContactId(contact))


def _of_message(
    wanted: Wanted, event: Event, message: MessageReceived, book: Rulebook, nobody: World, now: datetime
) -> None:  # fmt: skip
    wanted.people.add(message.person_id)
    wanted.listening.add(message.person_id)
    claimed = buttons.claimed(message.button_id) if message.button_id else None
    if claimed is not None:
        wanted.messages.add(claimed)
    if message.quoted_id is not None:
        wanted.wamids.add(message.quoted_id)
    document = Document(message_fields(message), nobody, book.calendar, now, sender=message.person_id)
    wanted.tags |= tags_to_load(book, MESSAGE_RECEIVED, document, event.id)


def _of_consonance(wanted: Wanted, event: Event, book: Rulebook, nobody: World, now: datetime) -> None:
    data = fields_of(event)
    document = Document(data, nobody, book.calendar, now)
    wanted.people.update(parties_in(event.data))
    wanted.tags |= tags_to_load(book, consonance.short_name(event.type), document, event.id)
    if document.work_id is not None:
        wanted.works.add(document.work_id)
        wanted.tags.add(f"work.work_id={document.work_id}")
    if (record := data.get("rights_record_id")) is not None:
        wanted.records.add(record)
    if (request := data.get("request_id")) is not None:
        wanted.requests.add(request)
