"""Finds the facts that a batch needs from its events alone, so that a fixed number of queries loads them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from services.rules.conversation import button_ids
from services.rules.conversation.document import MESSAGE_RECEIVED, Document
from services.rules.conversation.event_rules import End, rules_of_event, subjects_of, tags_of_ends
from services.rules.conversation.fact_updates import updates_facts
from services.rules.conversation.facts import Facts, fact_tags, file_tag
from services.rules.conversation.people import staff_ids
from services.rules.conversation.recipients import people_in
from services.rules.rulebook.model import Rulebook
from shared.contracts import consonance, messages, whatsapp, writes
from shared.contracts.consonance import MetadataChanged
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import ChainId, EventId, MessageId, PersonId, TenantId, Wamid, WorkId, WriteId
from shared.contracts.intents import ReplyIntent, classify
from shared.contracts.whatsapp import IdentityChanged, MediaRefused, MediaStored, MessageReceived, PreferenceChanged


def is_opt_out(data: object) -> bool:
    """Whether a person opts out, in words or by a button. Such a message waits for nothing that it can do without.

    The title of a button that is not ours is read like words.
    """
    if not isinstance(data, MessageReceived):
        return False
    if data.button_id is not None and button_ids.claimed_message(data.button_id) is not None:
        return button_ids.claims_opt_out(data.button_id)
    return classify(data.text) is ReplyIntent.STOP


_MARKETING_STOPPED = 131050
"""Meta's code: the person has switched marketing off (docs/reference/whatsapp.md)."""


def refuses_marketing(data: object) -> bool:
    """Whether WhatsApp says that the person has switched marketing off; it counts like their own word."""
    return isinstance(data, messages.MessageFailed) and data.code == _MARKETING_STOPPED


@dataclass(slots=True)
class RequiredFacts:
    """The facts to load. ``senders`` are people whose live chains are all needed: their message may answer any of them.

    ``stops``: some of them opt out, are erased or turn out to be one who has, so unsent messages of ended chains are
    needed too. ``strangers``: how many chains strangers have started. ``idle`` events need nothing: they start no rule,
    end no chain and change no fact. They are kept by id, with their names and documents. ``unsent_of`` are people whose
    messages in the dispatcher are needed, also messages of ended chains. ``starts`` are the keys under which starts of
    chains are counted; ``files`` are files on which ingest may have reported already. ``written_works`` are works whose
    metadata changed: chains that wrote to it are needed, ended ones too.
    """

    works: set[WorkId] = field(default_factory=set)
    people: set[PersonId] = field(default_factory=set)
    senders: set[PersonId] = field(default_factory=set)
    unsent_of: set[PersonId] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    messages: set[MessageId] = field(default_factory=set)
    wamids: set[Wamid] = field(default_factory=set)
    writes: set[WriteId] = field(default_factory=set)
    chains: set[ChainId] = field(default_factory=set)
    starts: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    written_works: set[WorkId] = field(default_factory=set)
    stops: bool = False
    strangers: bool = False
    idle: dict[EventId, tuple[str, Document]] = field(default_factory=dict)

    def merge(self, other: "RequiredFacts") -> None:
        """Add what another rulebook requires for the same events; idle are those that are so for both."""
        for name in _MERGED:
            getattr(self, name).update(getattr(other, name))
        self.chains |= other.chains
        self.stops |= other.stops
        self.strangers |= other.strangers
        self.idle = {event: idle for event, idle in self.idle.items() if event in other.idle}


_MERGED = (
    "works",
    "people",
    "senders",
    "unsent_of",
    "records",
    "requests",
    "tags",
    "messages",
    "wamids",
    "writes",
    "starts",
    "files",
    "written_works",
)


_NO_ENDS: Mapping[str, frozenset[End]] = {}


@dataclass(frozen=True, slots=True)
class _Basis:
    """The facts required are found by the rules alone: ``earlier_ends`` are ``until`` lines of chains begun before."""

    book: Rulebook
    earlier_ends: Mapping[str, frozenset[End]]
    no_facts: Facts
    now: datetime

    def document(self, data: EventData, sender: PersonId | None = None) -> Document:
        return Document(data, self.no_facts, self.book.calendar, self.now, sender=sender)


def find_required_facts(
    events: Iterable[Event],
    book: Rulebook,
    tenant: TenantId,
    now: datetime,
    earlier_ends: Mapping[str, frozenset[End]] = _NO_ENDS,
) -> RequiredFacts:
    """``earlier_ends`` are the ``until`` lines, by event, of chains that keep the steps of an earlier rulebook."""
    required, basis = RequiredFacts(), _Basis(book, earlier_ends, Facts(tenant), now)
    events = list(events)
    for event in events:
        _REQUIREMENTS.get(type(event.data), _of_consonance)(required, event, basis)
    if len(required.idle) < len(events):
        required.people.update(staff_ids(book, tenant))
    return required


def _of_message(required: RequiredFacts, event: Event, basis: _Basis) -> None:
    message = cast("MessageReceived", event.data)
    writers = (message.person_id, *message.shared_with)
    required.people.update(writers)
    required.senders.update(writers)
    required.stops |= is_opt_out(message)
    required.strangers = True
    claimed = button_ids.claimed_message(message.button_id) if message.button_id else None
    if claimed is not None:
        required.messages.add(claimed)
    if message.quoted_id is not None:
        required.wamids.add(message.quoted_id)
    if message.media is not None and message.media.file_id is not None:
        required.files.add(message.media.file_id)
    document = basis.document(message, message.person_id)
    event_rules = rules_of_event(basis.book, MESSAGE_RECEIVED)
    required.tags |= event_rules.tags(event_rules.may_start(document), document, event.id)


def _of_consonance(required: RequiredFacts, event: Event, basis: _Basis) -> None:
    """Needs nothing if the event changes no fact and can neither start nor end a chain."""
    data, name = event.data, consonance.short_name(event.type)
    document, event_rules = basis.document(data), rules_of_event(basis.book, name)
    rules = event_rules.may_start(document)
    tags = event_rules.tags(rules, document, event.id)
    if (ends := basis.earlier_ends.get(name)) is not None:
        tags = tags.union(tags_of_ends(ends, document, event.id))
    if not tags and not rules and not updates_facts(event.data):
        required.idle[event.id] = (name, document)
        return
    required.people.update(people_in(event.data))
    required.tags |= tags
    required.starts.update(event_rules.start_keys(rules, document, event))
    if document.work_id is not None:
        required.works.add(document.work_id)
    required.tags |= fact_tags(data)
    if isinstance(data, MetadataChanged):
        required.written_works.add(data.work.work_id)
    if (record := getattr(data, "rights_record_id", None)) is not None:
        required.records.add(record)
    if (request := getattr(data, "request_id", None)) is not None:
        required.requests.add(request)


def _of_person(required: RequiredFacts, event: Event, _: _Basis) -> None:
    """A visitor may be merged, or be a person of their own again: then all of the two is needed.

    Messages that wait for a person may get other hours, or be marketing to which the person agrees no more. After a
    changed BSUID a STOP from before a START may count again: then all is needed too.
    """
    data = cast("PersonObserved | IdentityChanged | PreferenceChanged", event.data)
    required.people.add(data.person_id)
    required.unsent_of.add(data.person_id)
    if isinstance(data, (IdentityChanged, PreferenceChanged)):
        required.people.update(data.shared_with)
        required.unsent_of.update(data.shared_with)
    if isinstance(data, IdentityChanged):
        required.senders.update((data.person_id, *data.shared_with))
    if isinstance(data, PersonObserved) and data.user_since is not None:
        required.senders.add(data.person_id)
    if isinstance(data, PersonObserved) and data.contact_id is None:
        concerned = [person for person in (data.person_id, data.merged_into) if person is not None]
        required.people.update(concerned)
        required.senders.update(concerned)
        required.unsent_of.update(concerned)
        required.tags.update(subjects_of(*concerned))
        required.stops |= data.erased or data.merged_into is not None


def _of_delivery(required: RequiredFacts, event: Event, _: _Basis) -> None:
    data = cast("messages.MessageEventData", event.data)
    required.messages.add(data.message_id)
    if refuses_marketing(data) or isinstance(data, messages.MessageResolved):
        required.people.add(data.person_id)
    if refuses_marketing(data):
        required.unsent_of.add(data.person_id)


def _of_write(required: RequiredFacts, event: Event, _: _Basis) -> None:
    required.writes.add(cast("writes.WriteEventData", event.data).write_id)


def _of_file(required: RequiredFacts, event: Event, _: _Basis) -> None:
    """A report on a file: its writer, or another person at their address, may be filling a form with it."""
    report = cast("MediaStored | MediaRefused", event.data)
    required.people.add(report.person_id)
    required.senders.add(report.person_id)
    required.tags.add(file_tag(report.file_id))


def _of_nothing(*_: object) -> None:
    pass


_REQUIREMENTS: dict[type[EventData], Callable[[RequiredFacts, Event, _Basis], None]] = {
    **dict.fromkeys(whatsapp.MESSAGE_KINDS.values(), _of_nothing),
    **dict.fromkeys(messages.EVENT_KINDS.values(), _of_delivery),
    **dict.fromkeys(writes.EVENT_KINDS.values(), _of_write),
    PersonObserved: _of_person,
    IdentityChanged: _of_person,
    PreferenceChanged: _of_person,
    MessageReceived: _of_message,
    MediaStored: _of_file,
    MediaRefused: _of_file,
}
"""By the type of event data; other types come from Consonance. A look-up is faster than ``isinstance``."""
