"""The schemas of templates, forms, people.yaml, calendar.yaml, house.yaml and limits.yaml."""

import re
from datetime import date, time, timedelta
from enum import StrEnum
from typing import Annotated, Any

import holidays
from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from services.rules.rulebook import model
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import (
    MOST_STARTS,
    STANDARD_RESTARTS,
    Cap,
    CapPeriod,
    Category,
    ContactBasis,
    FieldKind,
    Severity,
    StartLimit,
    UnsolicitedLimit,
)
from services.rules.rulebook.schema import (
    ABSENT,
    Country,
    Day,
    FieldReference,
    Flag,
    InvalidValue,
    Language,
    OneOrMore,
    Section,
    Text,
    Texts,
    WholeNumber,
    Zone,
    check_country,
    check_language,
    mapping,
    only,
    read_text,
    report_of,
    value,
    word,
)
from services.rules.rulebook.times import DurationText
from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode
from shared.clients.working_calendar import (
    CLOSES,
    MONDAY_TO_FRIDAY,
    OPENS,
    Closure,
    Duration,
    PublisherCalendar,
    TimeUnit,
    WorkingCalendar,
    has_subdivision,
)
from shared.contracts.ids import ContactId
from shared.contracts.messages import TemplateHeader
from shared.contracts.writes import WriteOperation

# ------------------------------------------------------------------ templates


class TemplateLanguage(Section):
    """The text of a template in one language, with the titles of its buttons."""

    label = "a language"
    body: Text
    """The text, with parameters in braces."""
    buttons: Annotated[dict[str, Text], mapping("“buttons”")] = Field(default_factory=dict)
    """The titles of the buttons, by the answers of the rule that uses the template."""

    def build(self) -> model.TemplateText:
        return model.TemplateText(self.body.strip(), self.buttons)


def _by_language(node: Any, info: ValidationInfo) -> Any:
    if node is ABSENT or isinstance(node, MappingNode):
        return node
    report_of(info).add(node.location, "a default is said by language: {en: …}")
    return ABSENT


class TemplateField(Section):
    """The field of the event that a parameter stands for."""

    label = "the field “{}”"
    shorthand = "field"
    field: Text
    """The field of the event."""
    default: Annotated[dict[str, Text], mapping("a default", check_language), BeforeValidator(_by_language)] = Field(
        default_factory=dict
    )
    """By language: what is said where the field is absent."""


class TemplateFile(Section):
    """A message in every language, as Meta approves it."""

    label = "a template"
    template: Text
    """The template's name, which is also the file's."""
    category: Annotated[Category, word(Category, Category.UTILITY)]
    """The category that Meta approves and prices it by."""
    version: WholeNumber
    """Meta knows each version as a template of its own."""
    fields: Annotated[dict[str, TemplateField], mapping("“fields”", named=True)] = Field(default_factory=dict)
    """The field of the event that each parameter stands for, perhaps with a default."""
    header: Annotated[TemplateHeader, word(TemplateHeader, TemplateHeader.DOCUMENT)] | None = None
    """The part above the text: “document”, for the file that a rule attaches."""
    fallback: Text | None = None
    """The template that goes while Meta does not let this one go; it has the same buttons and languages."""
    languages: Annotated[dict[str, TemplateLanguage], mapping("“languages”", check_language)]
    """The text in each language, by its code."""

    def build(self) -> model.Template:
        languages = {code: text.build() for code, text in self.languages.items()}
        fields = {name: each.field for name, each in self.fields.items()}
        defaults = {name: each.default for name, each in self.fields.items() if each.default}
        return model.Template(
            self.template,
            self.category,
            self.version,
            fields,
            languages,
            self.location,
            defaults,
            self.fallback,
            self.header,
        )


# ------------------------------------------------------------------ forms


class FieldDefault(FieldReference):
    """Another field whose value fills in this one until the person changes it."""

    label = "a default"

    @classmethod
    def report_no_mapping(cls, node: Any, label: str, report: FaultReport) -> None:
        if node is not ABSENT:
            report.add(node.location, f"{label} is another field: {{field: sender.display_name}}")


class FormFieldSection(Section):
    """A text, unless it offers options or takes a file."""

    label = "the field “{}”"
    type: Annotated[FieldKind, word(FieldKind, FieldKind.TEXT)] | None = None
    """The kind of value; a text without it, a choice with “choose”, a document with “document”."""
    required: Flag = False
    """Whether it must be answered."""
    max: WholeNumber | None = None
    """The most characters of a text."""
    default: FieldDefault | None = None
    """The field of the event that answers it."""
    choose: Texts = ()
    """The options."""
    document: Texts = ()
    """The extensions of files that are taken, like pdf."""
    max_mb: WholeNumber | None = None
    """The largest file, in megabytes."""

    def build(self, name: str) -> model.FormField:
        default = self.default.build() if self.default and self.default.field else None
        implied = FieldKind.CHOICE if self.choose else FieldKind.DOCUMENT if self.document else FieldKind.TEXT
        return model.FormField(
            name, self.required, self.max, default, self.choose, self.document, self.max_mb, self.type or implied
        )


class FormQuestion(Section):
    """The question, and a label for each option."""

    model_config = ConfigDict(extra="allow")
    label = "a question with options"
    shorthand = "ask"
    ask: Text
    """The text of the question."""
    __pydantic_extra__: dict[str, Text] = Field(init=False)

    def build(self) -> model.FieldText:
        return model.FieldText(self.ask, dict(self.__pydantic_extra__))


class FormFile(Section):
    """A form that a person fills in chat, one question at a time."""

    label = "a form"
    form: Text
    """The form's name, which is also the file's."""
    welcome: Text
    """The template before the first question."""
    fields: Annotated[dict[str, FormFieldSection], mapping("“fields”", named=True)]
    """The questions, in their order, by the names of what they ask for."""
    confirm: Text
    """The template of the summary."""
    record: Annotated[WriteOperation, word(WriteOperation, WriteOperation.CREATE_ACQUISITION)]
    """The operation that writes the form once it is sent."""
    done: Text
    """The template after the form was sent."""
    languages: Annotated[
        dict[str, Annotated[dict[str, FormQuestion], mapping("a language")]], mapping("“languages”", check_language)
    ]
    """The texts in each language, by its code."""

    def build(self) -> model.Form:
        return model.Form(
            name=self.form,
            welcome=self.welcome,
            fields=tuple(field.build(name) for name, field in self.fields.items()),
            confirm=self.confirm,
            record=self.record,
            done=self.done,
            languages={
                code: {name: question.build() for name, question in questions.items()}
                for code, questions in self.languages.items()
            },
            location=self.location,
        )


# ------------------------------------------------------------------ people.yaml

_CONTACT = re.compile(r"[1-9][0-9]{0,6}")


def _read_contact(node: Node) -> ContactId:
    """The sentence does not contain what was written: it may be a person's phone number."""
    if isinstance(node, ScalarNode) and _CONTACT.fullmatch(node.text):
        return ContactId(int(node.text))
    raise InvalidValue("this is no contact id of Consonance, a number of up to seven digits; write no phone number")


def _check_imprint(key: str) -> None:
    if not _CONTACT.fullmatch(key):
        raise InvalidValue("an imprint is its Consonance id, a number of up to seven digits")


Contact = Annotated[ContactId, value(_read_contact, ContactId(1))]
Contacts = Annotated[tuple[Contact, ...], OneOrMore()]
Roles = Annotated[dict[str, Contacts], mapping("a team")]
"""The contacts of each role."""


class StandInSection(Section):
    """One person answers for another."""

    label = "“stands_in”"
    for_: Contact = Field(alias="for")
    """The contact who is acted for."""
    who: Contact
    """The contact who acts."""
    as_: Texts = Field((), alias="as")
    """The roles; all without them."""
    from_: Day = Field(None, alias="from")
    """The first day; without it, since always."""
    to: Day = None
    """The last day."""

    def report_faults(self, report: FaultReport) -> None:
        if self.from_ and self.to and self.to < self.from_:
            report.add(self.key_location("to"), "“to” is before “from”")

    def build(self) -> model.StandIn:
        return model.StandIn(self.for_, self.who, frozenset(self.as_), self.from_, self.to)


class PeopleFile(Section):
    """The people of each role, for events that do not name them, and the people who stand in for others."""

    label = "people.yaml"
    teams: Annotated[dict[str, Roles], mapping("“teams”")]
    """The contacts of each team, by team and role."""
    imprints: Annotated[dict[str, Roles], mapping("“imprints”", _check_imprint)] = Field(default_factory=dict)
    """The roles of one imprint, by its Consonance id."""
    milestones: Annotated[dict[str, Texts], mapping("“milestones”")] = Field(default_factory=dict)
    """The roles that a milestone concerns."""
    stands_in: Annotated[tuple[StandInSection, ...], OneOrMore()] = ()
    """Who acts for whom: agents, estates, leavers and people on leave."""
    inbox: Text
    """The team that reads messages nobody asked for."""

    def build(self) -> model.StaffDirectory:
        return model.StaffDirectory(
            teams=self.teams,
            imprints={int(key): roles for key, roles in self.imprints.items() if _CONTACT.fullmatch(key)},
            milestones=self.milestones,
            stands_in=tuple(each.build() for each in self.stands_in),
            inbox=self.inbox,
        )


# ------------------------------------------------------------------ calendar.yaml

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def _read_hours(node: Node) -> tuple[time, time]:
    found = _HOURS.fullmatch(read_text(node))
    if found is None:
        raise InvalidValue("hours are like “09:00-18:00”")
    opens, closes = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if closes <= opens:
        raise InvalidValue("the house closes after it opens, on the same day")
    return opens, closes


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class OfficeSection(Section):
    """The publisher's office."""

    label = "the house"
    country: Country
    """For public holidays: two capital letters of ISO 3166, like GB."""
    subdivision: Text | None = None
    """A part of the country with public holidays of its own."""
    zone: Zone
    """Like Europe/London."""
    hours: Annotated[tuple[time, time], value(_read_hours, (OPENS, CLOSES)), WithJsonSchema({"type": "string"})]
    """Like 09:00-18:00."""
    days: Annotated[tuple[Annotated[Weekday | None, word(Weekday, None)], ...], OneOrMore()]
    """The working days of the week."""

    def report_faults(self, report: FaultReport) -> None:
        if "days" in self.written and not any(self.days):
            report.add(self.value_location("days"), "the house works on at least one day")
        if self.country and self.subdivision and not has_subdivision(self.country, self.subdivision):
            known = holidays.list_supported_countries().get(self.country, [])
            parts = f"there are {', '.join(known)}" if known else "none has public holidays of its own"
            sentence = f"“{self.subdivision}” is no part of {self.country} with public holidays; {parts}"
            report.unknown(self.value_location("subdivision"), sentence, self.subdivision.upper(), known)

    def build(self, closures: tuple[Closure, ...]) -> WorkingCalendar:
        opens, closes = self.hours
        days = frozenset(list(Weekday).index(day) for day in self.days if day is not None)
        subdivision = self.subdivision or None
        return WorkingCalendar(self.zone, self.country, subdivision, opens, closes, days or MONDAY_TO_FRIDAY, closures)


class _Days(Section):
    from_: Day = Field(alias="from")
    """The first day off."""
    to: Day
    """The last day off."""

    def report_faults(self, report: FaultReport) -> None:
        if self.to and self.to < self.first:
            report.add(self.key_location("to"), "“to” is before “from”")

    @property
    def first(self) -> date:
        return self.from_ or date.min

    @property
    def last(self) -> date:
        return self.to or self.first


class ClosureSection(_Days):
    """Days on which the office is closed."""

    label = "a closure"
    why: Text | None = None
    """The reason, for the reader of the file."""

    def build(self) -> Closure:
        return Closure(self.first, self.last, reason=self.why or "")


class FairSection(_Days):
    """Days on which some roles are at a fair."""

    label = "a fair"
    name: Text | None = None
    """The name of the fair."""
    roles: Texts
    """The roles of the people who are there."""

    def build(self) -> Closure:
        return Closure(self.first, self.last, self.name or "", frozenset(self.roles))


class CalendarFile(Section):
    """The publisher's working time."""

    label = "calendar.yaml"
    house: OfficeSection
    """The working hours of the publisher."""
    closed: Annotated[tuple[ClosureSection, ...], OneOrMore()] = ()
    """The days on which the publisher is closed."""
    fairs: Annotated[tuple[FairSection, ...], OneOrMore()] = ()
    """Book fairs, whose days are no working days for some roles."""

    def build(self) -> PublisherCalendar:
        closures = tuple(each.build() for each in self.closed)
        return PublisherCalendar(self.house.build(closures), fairs=tuple(each.build() for each in self.fairs))


# ------------------------------------------------------------------ house.yaml and limits.yaml


_STANDARD = UnsolicitedLimit()


class LimitsBrake(Section):
    """How many messages that nobody asked for are answered, and start rules, for one person."""

    label = "“brake”"
    answers: WholeNumber = _STANDARD.answers
    """The most answers to one person in that time."""
    chains: WholeNumber = _STANDARD.chains
    """The most chains that one person starts in that time."""
    within: DurationText | None = None
    """By the clock: minutes, hours or days."""
    open: WholeNumber = _STANDARD.open
    """The most chains that one person's own messages have open at the same time."""
    strangers_open: WholeNumber = _STANDARD.strangers_open
    """The same for somebody whom Consonance does not know."""

    def report_faults(self, report: FaultReport) -> None:
        if self.within is not None and self.within.clock_time is None:
            sentence = "the brake counts by the clock: minutes, hours or days, like “1 hour”"
            report.add(self.value_location("within"), sentence)

    def build(self) -> UnsolicitedLimit:
        within = _STANDARD.within
        if self.within is not None:
            within = self.within.clock_time or timedelta(hours=self.within.count)
        return UnsolicitedLimit(self.answers, self.chains, within, self.open, self.strangers_open)


class RestartsSection(Section):
    """How often a rule may start about one subject, where Consonance reports what the rule itself wrote."""

    label = "“restarts”"
    at_most: WholeNumber
    """The most chains of the rule about one subject in that time; without “about”, about one work or record."""
    within: DurationText
    """By the clock: minutes, hours, days or weeks."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if self.within.clock_time is None:
            sentence = "restarts are counted by the clock: minutes, hours, days or weeks, like “4 weeks”"
            report.add(self.value_location("within"), sentence)

        if self.at_most > MOST_STARTS:
            report.add(self.value_location("at_most"), f"no more than {MOST_STARTS} starts are counted")

    def build(self) -> StartLimit:
        return StartLimit(self.at_most, self.within.clock_time or timedelta(days=self.within.count))


class LimitsPass(Section):
    """The severity from which messages to staff ignore quiet hours."""

    label = "“pass”"
    severity: Annotated[Severity, word(Severity, Severity.CRITICAL)]
    """The severity whose messages pass."""
    only: Annotated[str, only("staff", "“only” can only be “staff”")]
    """Always ``staff``: nothing passes for people outside the house."""


class LimitsCap(Section):
    """The most messages that one person gets in a period."""

    label = "a cap"
    count: WholeNumber
    """The most messages in that time."""
    per: Annotated[CapPeriod, word(CapPeriod, CapPeriod.DAY)]
    """A calendar day, or a week from Monday, in the zone of the person."""

    def build(self) -> Cap:
        return Cap(self.count, self.per)


class LimitsFile(Section):
    """How far messages may go."""

    label = "limits.yaml"
    per_person: Annotated[tuple[LimitsCap, ...], OneOrMore()] = ()
    """The most messages of one person; replies to their own messages are free."""
    digest: Annotated[Severity, word(Severity, Severity.INFO)] | None = None
    """Tells up to this severity that wait for the morning, or for a cap, become one message."""
    free: Annotated[str, only("replies", "“free” can only be “replies”")] | None = None
    """Always ``replies``: an answer to a person's own message counts for no cap."""
    pass_: LimitsPass | None = Field(None, alias="pass")
    """The messages that pass the caps and the quiet hours."""
    taken_for: DurationText = Duration(5, TimeUnit.WORKING_DAYS)
    """How long a person who took a case may be silent."""
    send_within: DurationText = Duration(2, TimeUnit.WORKING_DAYS)
    """How long a message may wait before it is not sent any more."""
    brake: LimitsBrake | None = None
    """When somebody who keeps writing is not answered any more."""
    restarts: RestartsSection | None = None
    """How often a rule that writes may start about one subject, where the rule itself does not say it."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if self.digest is Severity.CRITICAL:
            sentence = "what is critical is never gathered; write “digest: info” or “digest: warning”"
            report.add(self.value_location("digest"), sentence)
        self._report_caps(report)

    def _report_caps(self, report: FaultReport) -> None:
        most: dict[CapPeriod, int] = {}
        for cap in self.per_person:
            if cap.per in most:
                report.add(cap.location, f"there are two caps per {cap.per}; keep one")
            most[cap.per] = cap.count
        day, week = most.get(CapPeriod.DAY), most.get(CapPeriod.WEEK)
        if day is not None and week is not None and week < day:
            sentence = f"{week} per week leave no room for {day} per day; raise the one or lower the other"
            report.add(self.value_location("per_person"), sentence)


class HouseFile(Section):
    """The publisher's own words and choices."""

    label = "house.yaml"
    publisher: Annotated[dict[str, Text], mapping("“publisher”", check_language)]
    """The publisher's name, by language."""
    language: Language
    """The language that everything is written in at least."""
    countries: Annotated[dict[str, Language], mapping("“countries”", check_country)] = Field(default_factory=dict)
    """The language of each country."""
    line: Text
    """The WhatsApp number to write from, by its name in the settings."""
    links: Annotated[dict[str, Text], mapping("“links”")] = Field(default_factory=dict)
    """Links that templates may contain, as {link_NAME}."""
    basis: Annotated[
        dict[str, Annotated[ContactBasis, word(ContactBasis, ContactBasis.OPT_IN)]], mapping("“basis”")
    ] = Field(default_factory=dict)
    """Why people of a role may be written to."""
    words: Annotated[
        dict[str, Annotated[dict[str, Text], mapping("the words of a language")]], mapping("“words”", check_language)
    ] = Field(default_factory=dict)
    """Readable forms of codes, by language."""

    def build(self, limits: LimitsFile) -> model.Tenant:
        return model.Tenant(
            publisher=self.publisher,
            language=self.language,
            languages=self.countries,
            default_line=self.line,
            links=self.links,
            basis=self.basis,
            words=self.words,
            staff_pass=None if limits.pass_ is None else limits.pass_.severity,
            taken_for=limits.taken_for,
            send_within=limits.send_within,
            unsolicited=_STANDARD if limits.brake is None else limits.brake.build(),
            caps=tuple(cap.build() for cap in limits.per_person),
            digest=limits.digest,
            restarts=STANDARD_RESTARTS if limits.restarts is None else limits.restarts.build(),
        )
