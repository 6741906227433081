"""What a condition or a template may name: the event's own fields, the facts as known now, and the chain's first event.

A ``Document`` answers dotted paths and works out only what is asked of it. Values are typed as the contracts type them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from services.rules.calendars import house_hours, working_days_between
from services.rules.chain import Chain
from services.rules.house import WorkCalendar
from services.rules.remembered import remembered
from services.rules.world import RightsRecord, Work, World
from shared.canonical import canonical_hash
from shared.events import consonance
from shared.events.consonance import Component, ComponentState, Exclusivity, RightType
from shared.events.envelope import Event
from shared.events.whatsapp import MessageReceived
from shared.ids import PersonId, WorkId

_MANY = 2048  # a few batches
_CANCELLED = "01"  # ONIX list 64
_COVERS = frozenset({Component.FRONT_COVER, Component.FULL_COVER})
_NEEDED = (Component.JACKET_COPY, Component.METADATA)
MESSAGE_RECEIVED = "message.received"
_MODELS = {consonance.short_name(kind): model for kind, model in consonance.KINDS.items()}


@dataclass(slots=True)
class Document(Mapping[str, Any]):
    """``data`` is the event as Python values; ``sender`` the person who wrote; ``chain`` the one it is judged for."""

    data: Mapping[str, Any]
    world: World
    calendar: WorkCalendar
    now: datetime
    chain: Chain | None = None
    sender: PersonId | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    _known: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, path: str) -> Any:
        value = self.get(path)
        if value is None:
            raise KeyError(path)
        return value

    def get(self, path: str, default: Any = None) -> Any:
        if path not in self._known:
            self._known[path] = self._find(path)
        value = self._known[path]
        return default if value is None else value

    def __iter__(self) -> Iterator[str]:
        return iter({**self.data, **self.extra})

    def __len__(self) -> int:
        return len({**self.data, **self.extra})

    def _find(self, path: str) -> Any:
        if path in self.extra:
            return self.extra[path]
        head, _, rest = path.partition(".")
        if head == "chain":
            return walk(started_with(self.chain), rest) if self.chain else None
        fact = _FACTS.get(head)
        found = fact(self, rest) if fact else None
        return walk(self.data, path) if found is None else found

    @property
    def work_id(self) -> WorkId | None:
        work = self.data.get("work")
        return WorkId(work["work_id"]) if isinstance(work, dict) else None

    @property
    def work(self) -> Work | None:
        work_id = self.work_id
        return self.world.works.get(work_id) if work_id is not None else None


def is_told(field: str) -> bool:
    """Whether a field is what the event itself says, and no fact beside it."""
    return field.partition(".")[0] not in _BESIDE


def walk(value: Any, path: str) -> Any:
    """The value at a dotted path; of a list of objects, the tuple of that field in each. Absent is None."""
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list | tuple):
            value = tuple(item.get(name) for item in value if isinstance(item, dict))
        else:
            return None
    return tuple(value) if isinstance(value, list) else value


@remembered(most=_MANY)
def typed(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An event's data from JSON values to Python ones (dates are dates)."""
    if name == MESSAGE_RECEIVED:
        return message_fields(MessageReceived.model_validate(data))
    return _MODELS[name].model_validate(data).model_dump(by_alias=True)


@remembered(most=_MANY)
def fields_of(event: Event) -> dict[str, Any]:
    """What an event says, as rule files name it."""
    return event.data.model_dump(by_alias=True)


def message_fields(message: MessageReceived) -> dict[str, Any]:
    """A message as rule files name its parts: ``kind`` is how it was written."""
    return {**message.model_dump(), "kind": message.message_kind}


def started_with(chain: Chain) -> dict[str, Any]:
    return typed(chain.start, chain.start_name)


def newest(chain: Chain) -> dict[str, Any]:
    return typed(chain.event, chain.start_name)


def ended_document(chain: Chain, world: World, calendar: WorkCalendar, now: datetime) -> Document:
    said = typed(chain.end, chain.end_name) if chain.end_name and chain.end else {}
    data = {**newest(chain), **{name: value for name, value in said.items() if value is not None}}
    return Document(data, world, calendar, now, chain=chain, sender=data.get("person_id"))


def document_of(chain: Chain, world: World, calendar: WorkCalendar, now: datetime, **extra: Any) -> Document:
    """The facts of a chain: its newest event, as known now."""
    data = newest(chain)
    sender = data.get("person_id")
    return Document(data, world, calendar, now, chain=chain, sender=sender, extra=extra)


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
    return working_days_between(_today(document), min(dates), house_hours(document.calendar))


def _today(document: Document) -> date:
    return document.now.astimezone(ZoneInfo(document.calendar.house.zone)).date()


def _launch(document: Document, rest: str) -> Any:
    if document.work is None:
        return None
    missing = missing_components(document.work)
    return {"complete": not missing, "missing": missing}.get(rest)


def missing_components(work: Work) -> tuple[str, ...]:
    """What is not final yet of: a cover (front or full), jacket copy, metadata."""
    final = {c.component for c in work.state.components if c.state is ComponentState.FINAL}
    cover = () if final & _COVERS else (Component.FRONT_COVER,)
    return tuple(str(c) for c in (*cover, *(c for c in _NEEDED if c not in final)))


def _rights(document: Document, rest: str) -> Any:
    record_id = document.data.get("rights_record_id")
    record = document.world.records.get(str(record_id), RightsRecord())
    if rest == "needs_signature":
        return needs_signature(document.data) if "requires_signature" in document.data else record.needs_signature
    if rest == "open_requests":
        return len(record.open_requests)
    return record.status if rest == "status" else None


def needs_signature(request: Mapping[str, Any]) -> bool:
    """An exclusive licence or assignment needs a signed writing: CDPA 1988 s.90(3), s.92 (facts: consonance §3.4)."""
    exclusive = walk(request, "terms.exclusivity") == Exclusivity.EXCLUSIVE
    assignment = request.get("right_type") == RightType.ASSIGNMENT
    return bool(request.get("requires_signature")) or exclusive or assignment


def _sender(document: Document, rest: str) -> Any:
    if document.sender is None:
        return None
    person = document.world.people.get(document.sender)
    if rest == "person_id":
        return document.sender
    if rest == "open_acquisition":
        return document.world.acquisitions.get(document.sender)
    if person is None:
        return False if rest == "known" else None
    return {
        "display_name": person.display_name, "known": person.contact_id is not None, "roles": person.roles,
    }.get(rest)  # fmt: skip


def _touches(document: Document, rest: str) -> Any:
    """A confirmed field got a value that is neither what we asked about nor what it was when we asked."""
    if rest or document.chain is None or "changes" not in document.data:
        return None
    asked = {
        (item["field"], item["level"], target): item["proposed_value"]
        for item in newest(document.chain).get("items", ())
        for target in item["target_ids"]
    }
    return any(
        (key := (c["field"], c["level"], c["target_id"])) in asked
        and canonical_hash(c["field"], c["new"]) != canonical_hash(c["field"], asked[key])
        for c in document.data["changes"]
    )


_FACTS: dict[str, Callable[[Document, str], Any]] = {
    "work": _work,
    "days_to": _days_to,
    "launch": _launch,
    "rights": _rights,
    "sender": _sender,
    "touches_request": _touches,
}


_BESIDE = frozenset({*_FACTS, "chain", "answers_a_question"})


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
