"""Every field and fact that a rule may name, with its type: events as dotted paths, and the facts beside them.

``work.`` is what is known now, also where the event itself carries a work. A list of objects is read through, so
``changes.field`` is the list of each change's field.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import structs

from services.rules.rulebook.periods import PERIODS
from shared.contracts import consonance
from shared.contracts.consonance import Component, WorkObserved
from shared.contracts.envelope import EventData
from shared.contracts.values import Value
from shared.contracts.vocabulary import PartyRef, Role, Stage
from shared.contracts.whatsapp import MessageReceived

# ------------------------------------------------------------------ an event's model as typed paths


class FieldType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    DATE = "date"
    INSTANT = "instant"
    LIST = "list"
    PARTY = "party"
    RECORD = "record"


class CodeKind(StrEnum):
    COUNTRY = "country"
    LANGUAGE = "language"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """``values`` is the closed set of a text, or of a list's items; ``item`` is the type of a list's items.

    ``code`` is the kind of code, such as a country, where a text is one of a large set.
    """

    path: str
    type: FieldType
    optional: bool = False
    values: tuple[str, ...] = ()
    item: FieldType | None = None
    sentence: str = ""
    code: "CodeKind | None" = None


_PLAIN: tuple[tuple[type, FieldType], ...] = (
    (bool, FieldType.FLAG),
    (int, FieldType.NUMBER),
    (float, FieldType.NUMBER),
    (Decimal, FieldType.NUMBER),
    (datetime, FieldType.INSTANT),
    (date, FieldType.DATE),
    (PartyRef, FieldType.PARTY),
    (Value, FieldType.RECORD),
)


def fields_of_model(model: type[Value]) -> tuple[FieldSpec, ...]:
    """Every path of ``model``: its fields as the contract spells them, the fields of those, and so on."""
    return tuple(_walk(model, "", within_list=False, optional=False))


def _walk(model: type[Value], prefix: str, *, within_list: bool, optional: bool) -> Iterator[FieldSpec]:
    for info in structs.fields(model):
        path = f"{prefix}{info.encode_name}"
        spec, inner = _spec(path, info)
        spec = _as_list(spec, optional=optional) if within_list else replace(spec, optional=spec.optional or optional)
        yield spec
        if inner is not None:
            listed = within_list or spec.type is FieldType.LIST
            yield from _walk(inner, f"{path}.", within_list=listed, optional=spec.optional)


def _spec(path: str, info: structs.FieldInfo) -> tuple[FieldSpec, type[Value] | None]:
    choices = _unwrapped(info.type)
    optional = NoneType in choices
    found = [choice for choice in choices if choice is not NoneType]
    listed = next((choice for choice in found if get_origin(choice) is tuple), None)
    if listed is not None:
        item = _unwrapped(get_args(listed)[0])[0]
        spec = FieldSpec(path, FieldType.LIST, optional or not info.required, _values(item), _type(item))
        return spec, _model(item)
    first = found[0]
    return FieldSpec(path, _type(first), optional, _values(first)), _model(first)


def _unwrapped(annotation: Any) -> list[Any]:
    """The types of a union, without their annotations."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _unwrapped(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [each for choice in get_args(annotation) for each in _unwrapped(choice)]
    return _unwrapped(annotation.__supertype__) if hasattr(annotation, "__supertype__") else [annotation]


def _type(plain: Any) -> FieldType:
    if isinstance(plain, type):
        for kind, field_type in _PLAIN:
            if issubclass(plain, kind):
                return field_type
    return FieldType.RECORD if get_origin(plain) is dict else FieldType.TEXT


def _values(plain: Any) -> tuple[str, ...]:
    return tuple(str(each.value) for each in plain) if isinstance(plain, type) and issubclass(plain, Enum) else ()


def _model(plain: Any) -> type[Value] | None:
    return plain if isinstance(plain, type) and issubclass(plain, Value) else None


def _as_list(spec: FieldSpec, *, optional: bool) -> FieldSpec:
    """A field of the objects of a list is the list of that field in each, and is present when the list is."""
    if spec.type is FieldType.LIST:
        return replace(spec, optional=optional)
    return replace(spec, type=FieldType.LIST, item=spec.type, optional=optional)


# ------------------------------------------------------------------ the catalogue


MESSAGE_RECEIVED = "message.received"
CHAIN = "chain"
RECIPIENT = "recipient"
"""The first part of the fields that are judged for each person a message goes to."""
RECIPIENT_ROLE = f"{RECIPIENT}.role"
STAFF_ROLES = frozenset(
    {
        Role.COMMISSIONING_EDITOR, Role.PRODUCTION_LEAD, Role.PRODUCTION_COORDINATOR, Role.MANAGING_EDITOR,
        Role.RIGHTS_MANAGER, Role.METADATA_MANAGER, Role.MARKETING, Role.PUBLICITY, Role.SALES, Role.FINANCE,
        Role.ESCALATION_1, Role.ESCALATION_2,
    }
)  # fmt: skip
"""Roles of the publisher's own people. A rule that names one needs a contact for it in people.yaml."""
ROLES_OF_A_TITLE = frozenset(
    {
        Role.AUTHOR, Role.ILLUSTRATOR, Role.TRANSLATOR, Role.CONTRIBUTOR_OTHER, Role.AGENT, Role.ESTATE,
        Role.RIGHTS_HOLDER,
    }
)  # fmt: skip
"""Roles of people outside the house, whom Consonance names for each title. No person has one for all titles."""


class FactGroup(StrEnum):
    """The events that a fact is known for."""

    WORK = "work"
    RIGHTS = "rights"
    MESSAGE = "message"
    METADATA = "metadata"
    RECIPIENT = "recipient"


@dataclass(frozen=True, slots=True)
class CatalogueFact:
    group: FactGroup
    spec: FieldSpec


def _fact(  # noqa: PLR0913 -- a row of the table below
    group: FactGroup,
    path: str,
    kind: FieldType,
    sentence: str,
    *,
    optional: bool = False,
    values: Iterable[str] = (),
    item: FieldType | None = None,
    code: CodeKind | None = None,
) -> CatalogueFact:
    return CatalogueFact(group, FieldSpec(path, kind, optional, tuple(map(str, values)), item, sentence, code))


FACTS: tuple[CatalogueFact, ...] = (
    _fact(FactGroup.WORK, "work.work_id", FieldType.NUMBER, "The work's id in Consonance."),
    _fact(FactGroup.WORK, "work.title", FieldType.TEXT, "The work's title as known now."),
    _fact(FactGroup.WORK, "work.subtitle", FieldType.TEXT, "Its subtitle.", optional=True),
    _fact(FactGroup.WORK, "work.inhouse_ref", FieldType.TEXT, "The publisher's own reference.", optional=True),
    _fact(FactGroup.WORK, "work.imprint.id", FieldType.NUMBER, "The imprint's id in Consonance.", optional=True),
    _fact(FactGroup.WORK, "work.imprint.name", FieldType.TEXT, "The imprint's name.", optional=True),
    _fact(FactGroup.WORK, "work.contributors_display", FieldType.TEXT, "The contributors as printed.", optional=True),
    _fact(FactGroup.WORK, "work.url", FieldType.TEXT, "The work's page in Consonance, for staff.", optional=True),
    _fact(FactGroup.WORK, "work.stage_key", FieldType.TEXT, "The stage it is at now.", values=Stage),
    _fact(FactGroup.WORK, "work.cancelled", FieldType.FLAG, "Whether the work was cancelled."),
    _fact(FactGroup.WORK, "work.embargo_until", FieldType.DATE, "The day its embargo ends.", optional=True),
    _fact(FactGroup.WORK, "work.open_blocks", FieldType.NUMBER, "How many blocks on it are open."),
    _fact(
        FactGroup.WORK, "days_to.pub_date", FieldType.NUMBER,
        "Working days to the earliest publication date of a product not cancelled.", optional=True,
    ),
    _fact(
        FactGroup.WORK, "days_to.planned_pub_date", FieldType.NUMBER,
        "Working days to the earliest planned publication date of a product not cancelled.", optional=True,
    ),
    _fact(
        FactGroup.WORK, "launch.complete", FieldType.FLAG,
        "Whether a cover, the jacket copy and the metadata are all final.",
    ),
    _fact(
        FactGroup.WORK, "launch.missing", FieldType.LIST, "The components of a launch that are not final.",
        optional=True, values=Component, item=FieldType.TEXT,
    ),
    _fact(
        FactGroup.RIGHTS, "rights.status", FieldType.TEXT, "The rights record's status as last seen.", optional=True,
        values=consonance.RightsStatus,
    ),
    _fact(
        FactGroup.RIGHTS, "rights.needs_signature", FieldType.FLAG,
        "Whether a yes still needs a signed agreement: exclusive, an assignment, or said so.",
    ),
    _fact(
        FactGroup.RIGHTS, "rights.open_requests", FieldType.NUMBER,
        "How many requests on the record are open: not withdrawn, not decided.",
    ),
    _fact(FactGroup.MESSAGE, "sender.person_id", FieldType.TEXT, "Who wrote."),
    _fact(FactGroup.MESSAGE, "sender.display_name", FieldType.TEXT, "Their name, as Consonance or WhatsApp has it."),
    _fact(FactGroup.MESSAGE, "sender.known", FieldType.FLAG, "Whether they are a contact, and not a visitor."),
    _fact(
        FactGroup.MESSAGE, "sender.country", FieldType.TEXT, "Their country, like FR.", optional=True,
        code=CodeKind.COUNTRY,
    ),
    _fact(FactGroup.MESSAGE, "sender.subdivision", FieldType.TEXT, "The part of it, like SCT.", optional=True),
    _fact(FactGroup.MESSAGE, "sender.language", FieldType.TEXT, "Their own language, like fr.", optional=True),
    _fact(
        FactGroup.MESSAGE, "sender.roles", FieldType.LIST, "Their roles in Consonance.", optional=True, values=Role,
        item=FieldType.TEXT,
    ),
    _fact(
        FactGroup.MESSAGE, "sender.open_acquisition", FieldType.TEXT, "The reference of their open submission.",
        optional=True,
    ),
    _fact(FactGroup.MESSAGE, "answers_a_question", FieldType.FLAG, "Whether the message answers a question of ours."),
    _fact(
        FactGroup.METADATA, "touches_request", FieldType.FLAG,
        "Whether a field under confirmation got a value other than the proposed one.",
    ),
    _fact(FactGroup.RECIPIENT, "recipient.person_id", FieldType.TEXT, "Who gets the message; in `unless` alone."),
    _fact(
        FactGroup.RECIPIENT, "recipient.country", FieldType.TEXT,
        "Their country, like FR; in `unless` alone, as all of `recipient`.", optional=True, code=CodeKind.COUNTRY,
    ),
    _fact(FactGroup.RECIPIENT, "recipient.subdivision", FieldType.TEXT, "The part of it, like SCT.", optional=True),
    _fact(
        FactGroup.RECIPIENT, "recipient.language", FieldType.TEXT,
        "The language they are written to in, like fr: their own, else that of their country, else the house's.",
        code=CodeKind.LANGUAGE,
    ),
    _fact(
        FactGroup.RECIPIENT, RECIPIENT_ROLE, FieldType.TEXT,
        "The role in which they are addressed; for a stand-in, that of the person they stand in for.", optional=True,
    ),
    _fact(
        FactGroup.RECIPIENT, "recipient.roles", FieldType.LIST, "Their roles in Consonance.", optional=True,
        values=Role, item=FieldType.TEXT,
    ),
    _fact(FactGroup.RECIPIENT, "recipient.staff", FieldType.FLAG, "Whether they are in a team of people.yaml."),
)  # fmt: skip


def _models() -> Mapping[str, type[EventData]]:
    """The events that may start a rule, those of recurring rules included.

    ``work.observed`` is full state: it updates facts and starts nothing.
    """
    reported = {consonance.short_name(k): model for k, model in consonance.KINDS.items() if model is not WorkObserved}
    return {**reported, MESSAGE_RECEIVED: MessageReceived, **PERIODS}


EVENTS: Mapping[str, type[EventData]] = _models()


@cache
def fields_of_event(event: str) -> Mapping[str, FieldSpec]:
    """Every field and fact that a rule on ``event`` may name; ``chain.`` has those of the starting event."""
    model = EVENTS.get(event)
    if model is None:
        return {}
    own = {
        _renamed(event, spec.path): replace(spec, path=_renamed(event, spec.path)) for spec in fields_of_model(model)
    }
    facts = {fact.spec.path: fact.spec for fact in _facts_for(event, own)}
    return {**own, **facts}


def _renamed(event: str, path: str) -> str:
    """In a rule file, ``kind`` is a message's ``message_kind``."""
    return "kind" if event == MESSAGE_RECEIVED and path == "message_kind" else path


def _facts_for(event: str, own: Mapping[str, FieldSpec]) -> Iterator[CatalogueFact]:
    known = {
        FactGroup.WORK: "work.work_id" in own,
        FactGroup.RIGHTS: "rights_record_id" in own,
        FactGroup.MESSAGE: event == MESSAGE_RECEIVED,
        FactGroup.METADATA: event == "metadata.changed",
        FactGroup.RECIPIENT: True,
    }
    maybe = "work.work_id" in own and own["work.work_id"].optional
    for fact in FACTS:
        if known[fact.group]:
            absent = fact.spec.optional or (maybe and fact.group is FactGroup.WORK)
            yield replace(fact, spec=replace(fact.spec, optional=absent))


@lru_cache(maxsize=8192)
def resolve(events: tuple[str, ...], path: str, started_by: tuple[str, ...] = ()) -> FieldSpec | None:
    """The field at ``path`` for a rule on these events, or None. ``chain.`` uses ``started_by``, else ``events``.

    A field that only some of the events have counts as one that may be absent.
    """
    head, _, rest = path.partition(".")
    if head == CHAIN and rest:
        if is_of_recipient(rest):
            return None
        found = resolve(started_by or events, rest)
        return found and replace(found, path=path)
    specs = [fields_of_event(event).get(path) for event in events]
    first = next((spec for spec in specs if spec is not None), None)
    if first is None:
        return None
    return replace(first, optional=any(spec is None or spec.optional for spec in specs))


def known_paths(events: tuple[str, ...], started_by: tuple[str, ...] = ()) -> frozenset[str]:
    """Every path that ``resolve`` finds, for the nearest right word."""
    now = {path for event in events for path in fields_of_event(event)}
    then = {path for event in started_by or events for path in fields_of_event(event) if not is_of_recipient(path)}
    return frozenset(now | {f"{CHAIN}.{path}" for path in then})


@cache
def known_codes() -> frozenset[str]:
    """The closed sets of values that the fields of all events have, and the events as a text names them."""
    specs = (spec for event in EVENTS for spec in fields_of_event(event).values())
    return frozenset(value for spec in specs for value in spec.values).union(
        event.rpartition(".")[2] for event in EVENTS
    )


def is_of_recipient(path: str) -> bool:
    """Whether a field is one of the person a message goes to, so that it has no value for the whole chain."""
    return path.partition(".")[0] == RECIPIENT


@cache
def party_fields(event: str) -> frozenset[str]:
    """The fields of the event that hold a person, or several."""
    model = EVENTS.get(event)
    found = fields_of_model(model) if model else ()
    return frozenset(spec.path for spec in found if FieldType.PARTY in (spec.type, spec.item) and "." not in spec.path)
