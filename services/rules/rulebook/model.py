"""A rulebook as values: conditions, rules, steps, templates, forms, and the publisher's people, calendar and choices.

The loader builds them, the validation checks them, and the conversation follows them. All are frozen.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from enum import StrEnum
from typing import assert_never

from msgspec import Struct

from shared.clients.working_calendar import Duration, PublisherCalendar
from shared.contracts.ids import ContactId, Revision, RuleId
from shared.contracts.messages import TemplateHeader
from shared.contracts.writes import WriteOperation

PARAMETER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
ACQUISITION_FIELDS = frozenset({"title", "author", "pitch", "genre", "ai_used"})
"""Form fields that an acquisition record has a field for; the record keeps the others by their names."""


class Location(Struct, frozen=True, order=True, gc=False):
    """A position in a rule file. Line and column count from 1."""

    file: str
    line: int
    column: int


NOWHERE = Location("", 0, 0)


# ------------------------------------------------------------------ conditions


class Operator(StrEnum):
    IS = "is"
    IS_NOT = "is_not"
    ONE_OF = "one_of"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    MORE_THAN = "more_than"
    LESS_THAN = "less_than"
    INCLUDES = "includes"
    CONTAINS = "contains"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Field:
    """Another field's value: ``{field: chain.terms_hash}``."""

    name: str
    location: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)


LiteralValue = str | int | float | bool | date
Operand = LiteralValue | tuple[LiteralValue, ...] | Field


@dataclass(frozen=True, slots=True)
class Compare:
    field: str
    operator: Operator
    operand: Operand
    operand_locations: tuple[Location, ...] = dataclasses.field(default=(), compare=False, repr=False)
    location: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AllOf:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """``not:``. The comparison of an absent field is false, so its ``not`` is true."""

    condition: "Condition"


Condition = Compare | AllOf | AnyOf | NoneOf

ALWAYS = AllOf(())


def comparisons(condition: Condition) -> tuple[Compare, ...]:
    """Every comparison of a condition, in the order written."""
    match condition:
        case Compare():
            return (condition,)
        case AllOf(conditions) | AnyOf(conditions):
            return tuple(found for each in conditions for found in comparisons(each))
        case NoneOf(inner):
            return comparisons(inner)
        case _:
            assert_never(condition)


def mentioned_fields(condition: Condition) -> frozenset[str]:
    """The names of all fields a condition reads, on either side of its comparisons."""
    compared = comparisons(condition)
    operands = (each.operand.name for each in compared if isinstance(each.operand, Field))
    return frozenset((*(each.field for each in compared), *operands))


# ------------------------------------------------------------------ people


@dataclass(frozen=True, slots=True)
class Team:
    name: str


Addressees = tuple[str | Team, ...]
"""Roles, party fields, ``sender``, ``unanswered``, ``told``, or teams. A person named twice is addressed once."""


# ------------------------------------------------------------------ times of steps


@dataclass(frozen=True, slots=True)
class After:
    """Counted from the sending of the last step that was done; with ``clock``, until that time on the day it ends."""

    duration: Duration
    clock: time | None = None


@dataclass(frozen=True, slots=True)
class At:
    """The date or instant in a field, or a duration before (``sign`` -1) or after (+1) it.

    ``clock`` is the time of that day. ``theirs``: it counts in the calendar of each receiver, not in the publisher's.
    """

    field: str
    duration: Duration | None = None
    sign: int = 0
    clock: time | None = None
    theirs: bool = False


Timing = After | At
"""``after`` counts from an instant, ``at`` from the value of a field."""


# ------------------------------------------------------------------ rules


class Verb(StrEnum):
    TELL = "tell"
    ASK = "ask"
    REMIND = "remind"
    COLLECT = "collect"
    HAND_OVER = "hand_over"
    RECORD = "record"
    GIVE_UP = "give_up"


RECEIVED = frozenset({Verb.TELL, Verb.ASK, Verb.REMIND, Verb.HAND_OVER})
"""Verbs whose step is a message to people."""


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Quorum(StrEnum):
    """Whether the first answer counts, or the answers of all are needed."""

    FIRST = "first"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class AttachAction:
    """A document that goes with a message: ``file`` is the field with its address, ``name`` the file name shown.

    Where it is ``optional``, the message goes also without it.
    """

    file: Field
    name: str | Field
    optional: bool = False
    location: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Notification:
    """``tell`` with ``say``, beside another action."""

    who: Addressees
    say: str
    attach: AttachAction | None = None


@dataclass(frozen=True, slots=True)
class WriteAction:
    """A write in Consonance. ``then`` follows when it succeeded; ``unless`` is evaluated when it would be requested.

    ``is_read`` is False where the operation or the values could not be read, which is reported.
    """

    operation: WriteOperation
    values: Mapping[str, LiteralValue | Field]
    then: "WriteAction | None" = None
    unless: Condition | None = None
    is_read: bool = True


@dataclass(frozen=True, slots=True)
class HandoverAction:
    who: Addressees
    say: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its answers by name. ``within`` is the path of the answer that asks it, else empty."""

    who: Addressees
    say: str
    answers: Mapping[str, "AnswerAction"]
    within: str = ""


@dataclass(frozen=True, slots=True)
class AnswerAction:
    """The effect of one button. A ``final`` answer ends the chain; one that continues, hands over or asks does not.

    ``quorum`` as a number is how many people must give this answer. After a ``veto`` no other answer counts. ``within``
    is the path of the answer whose ``ask`` put this question.
    """

    name: str
    record: WriteAction | None = None
    tell: Notification | None = None
    hand_over: HandoverAction | None = None
    form: str | None = None
    quorum: Quorum | int | Field = Quorum.FIRST
    continues: bool = False
    veto: bool = False
    ask: Question | None = None
    within: str = ""

    @property
    def final(self) -> bool:
        return not (self.continues or self.hand_over or self.form or self.ask)

    @property
    def path(self) -> str:
        """The path of the answer: its name, after those of the answers that led to its question."""
        return answer_path(self.within, self.name)


def answer_path(within: str, name: str) -> str:
    return f"{within}.{name}" if within else name


@dataclass(frozen=True, slots=True)
class Step:
    """One verb, at most one time. ``say`` names a template; ``reason`` belongs to give_up, ``form`` to collect.

    ``cc`` are members of staff who get a copy of what the step says; ``attach`` is the document that goes with it.
    """

    index: int
    verb: Verb
    location: Location = dataclasses.field(compare=False)
    who: Addressees = ()
    say: str | None = None
    timing: Timing | None = None
    unless: Condition | None = None
    answers: Mapping[str, AnswerAction] = field(default_factory=dict)
    form: str | None = None
    record: WriteAction | None = None
    tell: Notification | None = None
    reason: str | None = None
    cc: Addressees = ()
    attach: AttachAction | None = None

    def answer_at(self, path: str) -> AnswerAction | None:
        """The answer with this path, of the step's own question or of one that an answer asks."""
        return next((answer for answer in answers_of(self) if answer.path == path), None)


def questions_of(step: Step) -> Iterator[Question]:
    """The question of an ``ask`` step, and those that its answers ask, outermost first."""
    if step.answers:
        yield from _with_inner(Question(step.who, step.say or "", step.answers))


def _with_inner(question: Question) -> Iterator[Question]:
    yield question
    for answer in question.answers.values():
        if answer.ask is not None:
            yield from _with_inner(answer.ask)


def answers_of(step: Step) -> Iterator[AnswerAction]:
    """Every answer to the step's question, and to those that its answers ask."""
    for question in questions_of(step):
        yield from question.answers.values()


class OnRepeat(StrEnum):
    """The effect of a matching event on a live chain; events join a chain until its first message has gone."""

    REPLAN = "replan"
    IGNORE = "ignore"
    JOIN = "join"


class OnChange(StrEnum):
    """The effect of a change of the rulebook on a live chain: it keeps its steps, gets the new ones, or ends."""

    PIN = "pin"
    MIGRATE = "migrate"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Until:
    """An event that ends a chain of the same subject: ``about``, or the field ``same`` where it is given."""

    event: str
    condition: Condition = ALWAYS
    same: str | None = None
    tell: Notification | None = None
    location: Location = dataclasses.field(default=NOWHERE, compare=False, repr=False)


class PeriodUnit(StrEnum):
    """A span of the house's calendar in which a recurring rule starts once."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


class DayKind(StrEnum):
    """The days of a period that are counted; weekdays are in the order of ``date.weekday``."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"
    DAY = "day"
    WORKING_DAY = "working day"


@dataclass(frozen=True, slots=True)
class Every:
    """When a recurring rule starts: at ``clock`` on the ``place``-th of these days in each period; -1 is the last.

    A period without such a day has no start.
    """

    period: PeriodUnit
    day: DayKind
    clock: time
    place: int = 1


@dataclass(frozen=True, slots=True)
class Listing:
    """The open chains that a recurring rule lists: those that await these people, of these rules; all where empty.

    ``each``: every awaited person has a list and a chain of their own.
    """

    waits_for: Addressees = ()
    rules: tuple[RuleId, ...] = ()
    each: bool = False


@dataclass(frozen=True, slots=True)
class StartLimit:
    """How many chains of one rule about one subject may start ``within`` a moving window of business time."""

    at_most: int
    within: timedelta


MOST_STARTS = 100
"""The largest number that ``StartLimit.at_most`` may be: so many starts are read for each decision."""
STANDARD_RESTARTS = StartLimit(20, timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Rule:
    """``events`` are short names; without ``about`` the event itself is the subject.

    A recurring rule starts by no event but ``every`` period; its event is one of ``periods.PERIODS``. ``restarts`` says
    that the rule is meant to start itself, and how often; without it ``Tenant.restarts`` holds.
    """

    name: RuleId
    owner: str
    why: Mapping[str, str]
    events: tuple[str, ...]
    steps: tuple[Step, ...]
    location: Location = dataclasses.field(compare=False)
    severity: Severity | Field = Severity.INFO
    condition: Condition = ALWAYS
    about: tuple[str, ...] = ()
    on_repeat: OnRepeat = OnRepeat.REPLAN
    on_change: OnChange = OnChange.PIN
    until: tuple[Until, ...] = ()
    every: Every | None = None
    listing: Listing | None = None
    restarts: StartLimit | None = None


def may_write(rule: Rule) -> bool:
    """Whether a chain of the rule may write to Consonance: by a step, an answer or a form."""
    return any(
        step.record or step.form or any(answer.record or answer.form for answer in answers_of(step))
        for step in rule.steps
    )


def until_id(rule: RuleId, index: int) -> RuleId:
    """The name under which conditions are matched for one ``until`` line of a rule."""
    return RuleId(f"{rule}#until{index}")


# ------------------------------------------------------------------ templates and forms


@dataclass(frozen=True, slots=True)
class TemplateText:
    """One language of a template: the body with named parameters in braces, the buttons by answer name."""

    body: str
    buttons: Mapping[str, str]


class Category(StrEnum):
    UTILITY = "utility"
    MARKETING = "marketing"


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """``fields`` binds a parameter to a typed field; Meta's name is ``name_vVERSION``.

    ``defaults`` are texts by parameter and language, said where the field is absent. ``fallback`` names the template
    that goes where Meta does not let this one go; it has the same buttons and languages. A template with a ``header``
    takes the document that its rule attaches; ``example`` is the path of one for Meta's reviewers, from the folder of
    the rules.
    """

    name: str
    category: Category
    version: int
    fields: Mapping[str, str]
    languages: Mapping[str, TemplateText]
    location: Location
    defaults: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fallback: str | None = None
    header: TemplateHeader | None = None
    example: str | None = None

    @property
    def meta_name(self) -> str:
        return f"{self.name}_v{self.version}"


class FieldKind(StrEnum):
    """The kind of a form's field. A written value is checked, and kept in the form that is the same everywhere."""

    TEXT = "text"
    ISBN = "isbn"
    DATE = "date"
    EMAIL = "email"
    NUMBER = "number"
    PHONE = "phone"
    CHOICE = "choice"
    DOCUMENT = "document"


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
    kind: FieldKind = FieldKind.TEXT


@dataclass(frozen=True, slots=True)
class FieldText:
    """One language of a form's field: the question, and a label for each option."""

    ask: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    name: str
    welcome: str
    fields: tuple[FormField, ...]
    confirm: str
    record: WriteOperation
    done: str
    languages: Mapping[str, Mapping[str, FieldText]]
    location: Location


# ------------------------------------------------------------------ the publisher


@dataclass(frozen=True, slots=True)
class StandIn:
    """``who`` answers for ``absent`` in ``roles`` (empty: all), from ``first`` to ``last`` inclusive (None: open)."""

    absent: ContactId
    who: ContactId
    roles: frozenset[str] = frozenset()
    first: date | None = None
    last: date | None = None

    @property
    def dated(self) -> bool:
        """Whether the person is away for some days only, and not represented for good."""
        return self.first is not None or self.last is not None


@dataclass(frozen=True, slots=True, eq=False)
class StaffDirectory:
    """The people of a role that an event does not name: Consonance contact ids by imprint, else by team and role."""

    teams: Mapping[str, Mapping[str, tuple[ContactId, ...]]]
    imprints: Mapping[int, Mapping[str, tuple[ContactId, ...]]]
    milestones: Mapping[str, tuple[str, ...]]
    stands_in: tuple[StandIn, ...]
    inbox: str


class ContactBasis(StrEnum):
    """The legal basis for writing to people of a role."""

    CONTRACT = "contract"
    LEGITIMATE_INTEREST = "legitimate_interest"
    OPT_IN = "opt_in"


@dataclass(frozen=True, slots=True)
class UnsolicitedLimit:
    """How many unasked messages of one person are answered, and how many start rules, ``within`` a period.

    ``open`` is the most chains that a person's own messages have opened and that are not at their end; of a stranger,
    whom Consonance does not know, ``strangers_open``. ``strangers_chains`` is the most chains that the messages of all
    strangers together start within the period.
    """

    answers: int = 5
    chains: int = 20
    within: timedelta = timedelta(hours=1)
    open: int = 20
    strangers_open: int = 5
    strangers_chains: int = 200


MOST_STRANGERS_CHAINS = 2_000
"""The instants of so many chains are kept in one row, which every batch with messages reads."""


class CapPeriod(StrEnum):
    """A calendar day or a week from Monday, both in the recipient's own time zone."""

    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, slots=True)
class Cap:
    """The most messages one person gets in a period. Replies do not count."""

    count: int
    per: CapPeriod

    def __str__(self) -> str:
        return f"{self.count} a {self.per}"


@dataclass(frozen=True, slots=True)
class Tenant:
    """The publisher's words and choices: ``house.yaml`` and ``limits.yaml``.

    ``languages`` is by country; ``words`` are the readable forms of codes, by language. From ``staff_pass`` on,
    messages to staff ignore quiet hours and ``caps``. Tells up to the severity ``digest`` that wait become one message.
    ``lines`` are all that rules may name; empty where the files do not say it.
    """

    publisher: Mapping[str, str]
    language: str
    languages: Mapping[str, str]
    default_line: str
    links: Mapping[str, str]
    basis: Mapping[str, ContactBasis]
    staff_pass: Severity | None
    taken_for: Duration
    send_within: Duration
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unsolicited: UnsolicitedLimit = UnsolicitedLimit()
    caps: tuple[Cap, ...] = ()
    digest: Severity | None = None
    restarts: StartLimit = STANDARD_RESTARTS
    lines: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Rulebook:
    """All rule files of one revision; ``revision`` is the hash of their contents.

    A rulebook, its people, calendar and templates compare by identity: results computed for one of them are cached
    by identity, without comparing its contents.
    """

    revision: Revision
    rules: Mapping[RuleId, Rule]
    templates: Mapping[str, Template]
    forms: Mapping[str, Form]
    people: StaffDirectory
    calendar: PublisherCalendar
    tenant: Tenant
