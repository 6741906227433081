"""What must be known to decide a batch: found from its events alone, so that loading takes a fixed number of steps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from services.rules.conversation import button_ids
from services.rules.conversation.document import MESSAGE_RECEIVED, Document
from services.rules.conversation.facts import Facts, updates_facts
from services.rules.conversation.recipients import people_in
from services.rules.conversation.triggers import rules_of_event
from services.rules.rulebook.model import Rulebook
from shared.contracts import consonance, messages, whatsapp, writes
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import (
    ChainId,
    ContactId,
    EventId,
    MessageId,
    PersonId,
    TenantId,
    Wamid,
    WorkId,
    WriteId,
    person_id_of_contact,
)
from shared.contracts.intents import ReplyIntent, classify
from shared.contracts.whatsapp import IdentityChanged, MessageReceived


def is_opt_out(data: object) -> bool:
    """Somebody asks to be left alone: that needs no message of ours to be known, and waits for nothing it can spare."""
    return isinstance(data, MessageReceived) and data.button_id is None and classify(data.text) is ReplyIntent.STOP


@dataclass(slots=True)
class RequiredFacts:
    """``listening`` are people all of whose live chains are wanted, since their message may answer any of them.

    ``stops``: some of them ask to be left alone, so that what is unsent of ended chains is wanted too.
    ``idle`` events need nothing to be known: whatever is, they start nothing, end nothing and teach nothing. Each by
    its id, with its name and what it says.
    """

    works: set[WorkId] = field(default_factory=set)
    people: set[PersonId] = field(default_factory=set)
    senders: set[PersonId] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    messages: set[MessageId] = field(default_factory=set)
    wamids: set[Wamid] = field(default_factory=set)
    writes: set[WriteId] = field(default_factory=set)
    chains: set[ChainId] = field(default_factory=set)
    stops: bool = False
    idle: dict[EventId, tuple[str, Document]] = field(default_factory=dict)


def find_required_facts(events: Iterable[Event], book: Rulebook, tenant: TenantId, now: datetime) -> RequiredFacts:
    wanted, nobody = RequiredFacts(), Facts(tenant)
    events = list(events)
    for event in events:
        _REQUIREMENTS.get(type(event.data), _of_consonance)(wanted, event, book, nobody, now)
    if len(wanted.idle) < len(events):
        wanted.people.update(staff_ids(book, tenant))
    return wanted


def staff_ids(book: Rulebook, tenant: TenantId) -> Iterable[PersonId]:
    """Everybody people.yaml may bring in: teams, imprints and whoever stands in."""
    people = book.people
    of_teams = (c for team in (*people.teams.values(), *people.imprints.values()) for ids in team.values() for c in ids)
    for contact in (*of_teams, *(stand_in.who for stand_in in people.stands_in)):
        yield person_id_of_contact(tenant, ContactId(contact))


def _of_message(wanted: RequiredFacts, event: Event, book: Rulebook, nobody: Facts, now: datetime) -> None:
    message = cast("MessageReceived", event.data)
    writers = (message.person_id, *message.shared_with)
    wanted.people.update(writers)
    wanted.senders.update(writers)
    wanted.stops |= is_opt_out(message)
    claimed = button_ids.claimed_message(message.button_id) if message.button_id else None
    if claimed is not None:
        wanted.messages.add(claimed)
    if message.quoted_id is not None:
        wanted.wamids.add(message.quoted_id)
    document = Document(message, nobody, book.calendar, now, sender=message.person_id)
    opening = rules_of_event(book, MESSAGE_RECEIVED)
    wanted.tags |= opening.tags(opening.may_start(document), document, event.id)


def _of_consonance(wanted: RequiredFacts, event: Event, book: Rulebook, nobody: Facts, now: datetime) -> None:
    """Nothing is wanted for an event that teaches nothing, and that no rule can start or end by."""
    data, name = event.data, consonance.short_name(event.type)
    document, opening = Document(data, nobody, book.calendar, now), rules_of_event(book, name)
    rules = opening.may_start(document)
    tags = opening.tags(rules, document, event.id)
    if not tags and not rules and not updates_facts(event.data):
        wanted.idle[event.id] = (name, document)
        return
    wanted.people.update(people_in(event.data))
    wanted.tags |= tags
    if document.work_id is not None:
        wanted.works.add(document.work_id)
        wanted.tags.add(f"work.work_id={document.work_id}")
    if (record := getattr(data, "rights_record_id", None)) is not None:
        wanted.records.add(record)
    if (request := getattr(data, "request_id", None)) is not None:
        wanted.requests.add(request)


def _of_person(wanted: RequiredFacts, event: Event, *_: object) -> None:
    data = cast("PersonObserved | IdentityChanged", event.data)
    wanted.people.add(data.person_id)
    if isinstance(data, PersonObserved) and data.merged_into is not None:
        wanted.people.add(data.merged_into)
        wanted.senders.update((data.person_id, data.merged_into))


def _of_delivery(wanted: RequiredFacts, event: Event, *_: object) -> None:
    wanted.messages.add(cast("messages.MessageEventData", event.data).message_id)


def _of_write(wanted: RequiredFacts, event: Event, *_: object) -> None:
    wanted.writes.add(cast("writes.WriteEventData", event.data).write_id)


def _of_nothing(*_: object) -> None:
    pass


_REQUIREMENTS: dict[type[EventData], Callable[[RequiredFacts, Event, Rulebook, Facts, datetime], None]] = {
    **dict.fromkeys(whatsapp.MESSAGE_KINDS.values(), _of_nothing),
    **dict.fromkeys(messages.EVENT_KINDS.values(), _of_delivery),
    **dict.fromkeys(writes.EVENT_KINDS.values(), _of_write),
    PersonObserved: _of_person,
    IdentityChanged: _of_person,
    MessageReceived: _of_message,
}
"""By the kind of event; what is not here comes from Consonance. A model is looked up sooner than asked what it is."""
