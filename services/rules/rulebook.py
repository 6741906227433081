"""The words of the rule files as values: what the loader reads, the checker proves and the deciders follow."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.rules.house import People, Tenant
from services.rules.terms import ALWAYS, NOWHERE, Condition, Field, Literal, Place, Severity, Timing, Who
from shared.clients.working_calendar import PublisherCalendar
from shared.contracts.ids import Revision, RuleId
from shared.contracts.writes import Operation


class Verb(StrEnum):
    TELL = "tell"
    ASK = "ask"
    REMIND = "remind"
    COLLECT = "collect"
    HAND_OVER = "hand_over"
    RECORD = "record"
    GIVE_UP = "give_up"


class Quorum(StrEnum):
    FIRST = "first"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Tell:
    """``tell`` + ``say`` beside something else."""

    who: Who
    say: str


@dataclass(frozen=True, slots=True)
class Record:
    """A write. ``then`` follows once it stands; ``unless`` is judged when it would be asked for."""

    operation: Operation
    values: Mapping[str, Literal | Field]
    then: "Record | None" = None
    unless: Condition | None = None


@dataclass(frozen=True, slots=True)
class HandOver:
    who: Who
    say: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one button does. ``final`` answers end the chain; ``continues`` ones and hand-overs do not."""

    name: str
    record: Record | None = None
    tell: Tell | None = None
    hand_over: HandOver | None = None
    form: str | None = None
    quorum: Quorum | Field = Quorum.FIRST
    continues: bool = False

    @property
    def final(self) -> bool:
        return not (self.continues or self.hand_over or self.form)


@dataclass(frozen=True, slots=True)
class Step:
    """One verb, at most one time. ``say`` names a template; ``reason`` is give_up's; ``form`` is collect's."""

    index: int
    verb: Verb
    place: Place
    who: Who = ()
    say: str | None = None
    timing: Timing | None = None
    unless: Condition | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    form: str | None = None
    record: Record | None = None
    tell: Tell | None = None
    reason: str | None = None


class OnRepeat(StrEnum):
    REPLAN = "replan"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Until:
    """What ends a chain; matched on ``about`` unless ``same`` names another field both events have."""

    event: str
    condition: Condition = ALWAYS
    same: str | None = None
    tell: Tell | None = None
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """``events`` are short names; ``about`` empty means the event itself is the subject."""

    name: RuleId
    owner: str
    why: Mapping[str, str]
    events: tuple[str, ...]
    steps: tuple[Step, ...]
    place: Place
    severity: Severity | Field = Severity.INFO
    condition: Condition = ALWAYS
    about: tuple[str, ...] = ()
    on_repeat: OnRepeat = OnRepeat.REPLAN
    until: tuple[Until, ...] = ()


def until_id(rule: RuleId, index: int) -> RuleId:
    """What an ``until`` line is called where conditions are judged."""
    return RuleId(f"{rule}#until{index}")


@dataclass(frozen=True, slots=True)
class Wording:
    """One language of a template: body with named parameters in braces, buttons by answer name."""

    body: str
    buttons: Mapping[str, str]


class Category(StrEnum):
    UTILITY = "utility"
    MARKETING = "marketing"


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """``fields`` binds a parameter to a typed field; Meta's name is ``name_vVERSION``."""

    name: str
    category: Category
    version: int
    fields: Mapping[str, str]
    languages: Mapping[str, Wording]
    place: Place

    @property
    def meta_name(self) -> str:
        return f"{self.name}_v{self.version}"


@dataclass(frozen=True, slots=True)
class FormField:
    """A text by default; ``choose`` offers options, ``document`` takes a file of these extensions."""

    name: str
    required: bool = False
    longest: int | None = None
    default: Field | None = None
    choose: tuple[str, ...] = ()
    document: tuple[str, ...] = ()
    max_mb: int | None = None


@dataclass(frozen=True, slots=True)
class FieldWording:
    ask: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    name: str
    welcome: str
    fields: tuple[FormField, ...]
    confirm: str
    record: Operation
    done: str
    languages: Mapping[str, Mapping[str, FieldWording]]
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Rulebook:
    """Everything a decision leans on; ``revision`` is the hash of its files' contents.

    It, its people, calendar and templates equal only themselves: what is worked out for one of them is remembered by
    which it is, and never by comparing all it holds.
    """

    revision: Revision
    rules: Mapping[RuleId, Rule]
    templates: Mapping[str, Template]
    forms: Mapping[str, Form]
    people: People
    calendar: PublisherCalendar
    tenant: Tenant
