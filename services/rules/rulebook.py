"""The words of the rule files as values: what the loader reads, the checker proves and the deciders follow.

Everything here is frozen and knows nothing of files; ``Place`` remembers where it was written, for error messages.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum

from shared.events.writes import Operation
from shared.ids import ContactId, Revision, RuleId


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Line and column count from 1."""

    file: str
    line: int
    column: int


NOWHERE = Place("", 0, 0)


class Operator(StrEnum):
    IS = "is"
    IS_NOT = "is_not"
    ONE_OF = "one_of"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    MORE_THAN = "more_than"
    LESS_THAN = "less_than"
    INCLUDES = "includes"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Field:
    """Another field's value: ``{field: chain.terms_hash}``."""

    name: str
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


Literal = str | int | float | bool | date
Operand = Literal | tuple[Literal, ...] | Field


@dataclass(frozen=True, slots=True)
class Compare:
    field: str
    operator: Operator
    operand: Operand
    operand_places: tuple[Place, ...] = dataclasses.field(default=(), compare=False, repr=False)
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AllOf:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """``not:``; it turns false to true, an absent field's false included."""

    condition: "Condition"


Condition = Compare | AllOf | AnyOf | NoneOf

ALWAYS = AllOf(())


class Unit(StrEnum):
    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    WORKING_HOURS = "working hours"
    WORKING_DAYS = "working days"


@dataclass(frozen=True, slots=True)
class Span:
    """``2 working days``."""

    count: int
    unit: Unit


@dataclass(frozen=True, slots=True)
class After:
    """Counted from the sending of the last done step."""

    span: Span


@dataclass(frozen=True, slots=True)
class At:
    """A date or instant field, or so long before (``sign`` -1) or after (+1) it."""

    field: str
    span: Span | None = None
    sign: int = 0


Timing = After | At


@dataclass(frozen=True, slots=True)
class Team:
    name: str


Who = tuple[str | Team, ...]
"""Roles, party fields, ``sender``, ``unanswered``, ``told``, or teams; everybody named is meant, each person once."""


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


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


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


@dataclass(frozen=True, slots=True)
class Wording:
    """One language of a template: body with named parameters in braces, buttons by answer name."""

    body: str
    buttons: Mapping[str, str]


class Category(StrEnum):
    UTILITY = "utility"
    MARKETING = "marketing"


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class StandIn:
    """``who`` answers for ``absent``: in these roles (none: all), between these days, both inclusive (none: always)."""

    absent: ContactId
    who: ContactId
    roles: frozenset[str] = frozenset()
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class People:
    """Who fills a role when an event does not say: Consonance contact ids by team and role, by imprint first."""

    teams: Mapping[str, Mapping[str, tuple[ContactId, ...]]]
    imprints: Mapping[int, Mapping[str, tuple[ContactId, ...]]]
    milestones: Mapping[str, tuple[str, ...]]
    stands_in: tuple[StandIn, ...]
    inbox: str


@dataclass(frozen=True, slots=True)
class House:
    """The publisher's own: country and subdivision for holidays, zone, hours and days (0 = Monday) of work."""

    country: str
    subdivision: str | None
    zone: str
    opens: time
    closes: time
    days: frozenset[int]


@dataclass(frozen=True, slots=True)
class Closure:
    """Days off, both ends inclusive; a fair stops the working time of ``roles`` only, a closure that of all staff."""

    first: date
    last: date
    why: str
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class WorkCalendar:
    house: House
    closed: tuple[Closure, ...] = ()
    fairs: tuple[Closure, ...] = ()


class Basis(StrEnum):
    """Why we may write to somebody in this role."""

    CONTRACT = "contract"
    LEGITIMATE_INTEREST = "legitimate_interest"
    OPT_IN = "opt_in"


@dataclass(frozen=True, slots=True)
class Tenant:
    """House words and choices: ``house.yaml`` and ``limits.yaml``.

    ``languages`` is by country; ``words`` are the readable forms of codes, by language.
    """

    publisher: Mapping[str, str]
    language: str
    languages: Mapping[str, str]
    default_line: str
    links: Mapping[str, str]
    basis: Mapping[str, Basis]
    staff_pass: Severity | None
    taken_for: Span
    send_within: Span
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Everything a decision leans on; ``revision`` is the hash of its files' contents."""

    revision: Revision
    rules: Mapping[RuleId, Rule]
    templates: Mapping[str, Template]
    forms: Mapping[str, Form]
    people: People
    calendar: WorkCalendar
    tenant: Tenant
