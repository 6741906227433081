"""Values for conditions and templates: fields of the event, facts as they are now, and the chain's first event.

A ``Document`` looks up dotted paths, and computes only what is asked for. Values have the types of the contracts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Any

from msgspec import Raw

from services.rules.conversation.chain import Chain
from services.rules.conversation.fact_values import RightsFacts, WorkFacts
from services.rules.conversation.facts import Facts
from services.rules.identity_cache import cached_by_identity
from services.rules.rulebook.periods import PERIODS
from shared.clients.working_calendar import PublisherCalendar
from shared.contracts import consonance
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import (
    ApprovalRequested,
    Component,
    ComponentState,
    ConfirmationItem,
    ConfirmationRequested,
    MetadataChanged,
)
from shared.contracts.contacts import is_real_name
from shared.contracts.envelope import EventData
from shared.contracts.ids import PersonId, WorkId
from shared.contracts.values import Value, decode
from shared.contracts.whatsapp import MessageReceived

_MANY = 2048  # a few batches
_CANCELLED = "01"  # ONIX list 64
_DAYS_TO = "days_to"
_COVERS = frozenset({Component.FRONT_COVER, Component.FULL_COVER})
_NEEDED = (Component.JACKET_COPY, Component.METADATA)
MESSAGE_RECEIVED = "message.received"
_MODELS: Mapping[str, type[EventData]] = {
    **{consonance.short_name(kind): model for kind, model in consonance.KINDS.items()},
    MESSAGE_RECEIVED: MessageReceived,
    **PERIODS,
}


@dataclass(slots=True)
class Document(Mapping[str, Any]):
    """``data`` is the event's, ``sender`` the person who wrote, ``chain`` the one it is evaluated for.

    ``newer`` is the data of the event that ended the chain; its fields come before those of ``data``. ``recipient`` has
    the values of the person a message goes to, where one is judged.
    """

    data: EventData
    facts: Facts
    calendar: PublisherCalendar
    now: datetime
    chain: Chain | None = None
    sender: PersonId | None = None
    newer: EventData | None = None
    extra: Mapping[str, Any] | None = None
    recipient: Mapping[str, Any] | None = None
    _known: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, path: str) -> Any:
        value = self.get(path)
        if value is None:
            raise KeyError(path)
        return value

    def get(self, path: str, default: Any = None) -> Any:
        value = self._known.get(path, self)  # no value is the document itself
        if value is self:
            value = self._known[path] = self._find(path)
        return default if value is None else value

    def __iter__(self) -> Iterator[str]:
        return iter({**_names(type(self.data)), **(self.extra or {})})

    def __len__(self) -> int:
        return len({**_names(type(self.data)), **(self.extra or {})})

    def _find(self, path: str) -> Any:
        if self.extra is not None and path in self.extra:
            return self.extra[path]
        return _reader(type(self.data), path)(self)

    def for_recipient(self, values: Mapping[str, Any]) -> "Document":
        """The same document for one person a message goes to."""
        return replace(self, recipient=values, _known={})

    @property
    def work_id(self) -> WorkId | None:
        work = getattr(self.data, "work", None)
        return None if work is None else work.work_id

    @property
    def work(self) -> WorkFacts | None:
        work = getattr(self.data, "work", None)
        return None if work is None else self.facts.works.get(work.work_id)


_Fact = Callable[[Document, str], Any]


def is_event_field(field: str) -> bool:
    """Whether a field is one of the event itself, and not a fact."""
    return field.partition(".")[0] not in _FACT_NAMES


def changes_by_day(field: str) -> bool:
    """Whether time alone changes a field: at midnight where the publisher's office is."""
    return field.partition(".")[0] == _DAYS_TO


def read_path(value: Any, path: str) -> Any:
    """The value at a dotted path, None if absent; for a list of objects, the tuple of that field in each."""
    return _walk(value, path.split("."))


def _walk(value: Any, names: Sequence[str]) -> Any:
    for name in names:
        value = tuple([_part(item, name) for item in value]) if isinstance(value, _LISTS) else _part(value, name)
        if value is None:
            return None
    return tuple(value) if isinstance(value, list) else value


_LISTS = (tuple, list)


def _part(value: Any, name: str) -> Any:
    if isinstance(value, Value):
        attribute = _names(type(value)).get(name)
        return None if attribute is None else getattr(value, attribute)
    return value.get(name) if isinstance(value, dict) else None


@cache
def _names(model: type[Value]) -> Mapping[str, str]:
    """Attributes by their names in rule files: those of the contract, and ``kind`` for the kind of a message."""
    own = dict(zip(model.__struct_encode_fields__, model.__struct_fields__, strict=True))
    return {**own, "kind": "message_kind"} if model is MessageReceived else own


@cached_by_identity(most=_MANY)
def read_data(raw: Raw, name: str) -> EventData:
    """The data of an event from JSON; ``name`` is its short name."""
    return decode(_MODELS[name], raw)


def start_data(chain: Chain) -> EventData:
    return read_data(chain.start, chain.start_name)


def newest_data(chain: Chain) -> EventData:
    return read_data(chain.newest, chain.newest_name)


def ended_document(chain: Chain, facts: Facts, calendar: PublisherCalendar, now: datetime) -> Document:
    ending_data = read_data(chain.end, chain.end_name) if chain.end_name is not None else None
    data = newest_data(chain)
    sender = _sender_of(ending_data, facts) or _sender_of(data, facts)
    return Document(data, facts, calendar, now, chain=chain, sender=sender, newer=ending_data)


def document_of(chain: Chain, facts: Facts, calendar: PublisherCalendar, now: datetime) -> Document:
    """The document of a chain: its newest event with the current facts."""
    data = newest_data(chain)
    return Document(data, facts, calendar, now, chain=chain, sender=_sender_of(data, facts))


def _sender_of(data: EventData | None, facts: Facts) -> PersonId | None:
    """The person who wrote, by their current id: it may have been merged into another since the event."""
    sender: PersonId | None = getattr(data, "person_id", None)
    return None if sender is None else facts.current_id(sender)


def _work(document: Document, rest: str) -> Any:
    work = document.work
    if work is None:
        return 0 if rest == "open_blocks" else None
    if rest == "open_blocks":
        return len(work.blocks)
    value: Any = work.state if rest in _STATE else work.state.work
    for name in rest.split("."):
        value = getattr(value, name, None)
    return value


_STATE = frozenset({"stage_key", "cancelled", "embargo_until"})


def _days_to(document: Document, rest: str) -> Any:
    if document.work is None or rest not in {"pub_date", "planned_pub_date"}:
        return None
    products = (p for p in document.work.state.products if p.publishing_status != _CANCELLED)
    dates = [day for product in products if (day := getattr(product, rest)) is not None]
    if not dates:
        return None
    return document.calendar.office.working_days_between(_today(document), min(dates))


def _today(document: Document) -> date:
    return document.calendar.office.local_date(document.now)


def _launch(document: Document, rest: str) -> Any:
    if document.work is None:
        return None
    missing = missing_components(document.work)
    return {"complete": not missing, "missing": missing}.get(rest)


def missing_components(work: WorkFacts) -> tuple[str, ...]:
    """The components that are not final yet: a cover (front or full), jacket copy, metadata."""
    final = {c.component for c in work.state.components if c.state is ComponentState.FINAL}
    cover = () if final & _COVERS else (Component.FRONT_COVER,)
    return tuple(str(c) for c in (*cover, *(c for c in _NEEDED if c not in final)))


def _rights(document: Document, rest: str) -> Any:
    record_id = getattr(document.data, "rights_record_id", None)
    record = document.facts.records.get(str(record_id), RightsFacts())
    if rest == "needs_signature":
        asked = document.data
        return asked.needs_signature if isinstance(asked, ApprovalRequested) else record.needs_signature
    if rest == "open_requests":
        return len(record.open_requests)
    return record.status if rest == "status" else None


def _sender(document: Document, rest: str) -> Any:
    if document.sender is None:
        return None
    person = document.facts.people.get(document.sender)
    if rest == "person_id":
        return document.sender
    if rest == "open_acquisition":
        return document.facts.acquisitions.get(document.sender)
    if person is None:
        return False if rest == "known" else None
    return {
        "display_name": person.display_name if is_real_name(person.display_name) else None,
        "known": person.contact_id is not None,
        "roles": person.roles,
        "country": person.country,
        "subdivision": person.subdivision,
        "language": person.language,
    }.get(rest)


def _recipient(document: Document, rest: str) -> Any:
    return None if document.recipient is None else document.recipient.get(rest)


def _touches(document: Document, rest: str) -> Any:
    """Whether a confirmed field changed to a value that is neither the proposed one nor the one before."""
    if rest or document.chain is None or not isinstance(document.data, MetadataChanged):
        return None
    asked = {
        (item.field, item.level, target): item.proposed_value
        for item in items_asked(document.chain)
        for target in item.target_ids
    }
    return any(
        (key := (change.field, change.level, change.target_id)) in asked
        and canonical_hash(change.field, change.new) != canonical_hash(change.field, asked[key])
        for change in document.data.changes
    )


def joined_documents(chain: Chain, facts: Facts, calendar: PublisherCalendar, now: datetime) -> Iterator[Document]:
    """The documents of the events that joined a chain."""
    for joined in chain.joined:
        data = read_data(joined.data, joined.name)
        yield Document(data, facts, calendar, now, chain=chain, sender=_sender_of(data, facts))


_ITEM_IDS = (
    "message_id",
    "payment_id",
    "statement_id",
    "document.doc_id",
    "request_id",
    "milestone_id",
    "block_id",
    "acquisition_id",
)
"""The fields that name what an event is about; the first that it has counts."""


def item_id(data: EventData) -> str | None:
    """The item of an event, like ``statement_id=ST-2``: a second event about it corrects the first."""
    named = ((path, read_path(data, path)) for path in _ITEM_IDS)
    return next((f"{path}={value}" for path, value in named if value is not None), None)


def items_asked(chain: Chain) -> tuple[ConfirmationItem, ...]:
    """The metadata that a chain asks to confirm."""
    asked = newest_data(chain)
    return asked.items if isinstance(asked, ConfirmationRequested) else ()


_FACTS: dict[str, _Fact] = {
    "work": _work,
    _DAYS_TO: _days_to,
    "launch": _launch,
    "rights": _rights,
    "sender": _sender,
    "touches_request": _touches,
    "recipient": _recipient,
}


_FACT_NAMES = frozenset({*_FACTS, "chain", "answers_a_question"})


@lru_cache(maxsize=_MANY)
def _reader(model: type[EventData], path: str) -> Callable[[Document], Any]:
    """How a document of this event looks up a path: a fact comes before a field of the event."""
    head, _, rest = path.partition(".")
    if head == "chain":
        return lambda document: read_path(start_data(document.chain), rest) if document.chain else None
    fact, attribute, names = _FACTS.get(head), _names(model).get(head), rest.split(".") if rest else ()

    def event_field(document: Document) -> Any:
        if document.newer is not None and read_path(document.newer, head) is not None:
            return read_path(document.newer, path)
        if attribute is None:
            return None
        value = getattr(document.data, attribute)
        return _walk(value, names) if names and value is not None else value

    if fact is None:
        return event_field
    return lambda document: event_field(document) if (found := fact(document, rest)) is None else found
