"""The schema of calendar.yaml: the office's hours, the days it is closed, and fairs."""

import re
from datetime import date, time
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from services.rules.rulebook.faults import FaultReport, InvalidValue
from services.rules.rulebook.schema import OneOrMore, Section, Texts, items
from services.rules.rulebook.single_values import Country, Day, Text, Zone, meant_date, read_text, report_of, value
from services.rules.rulebook.times import meant_clock
from services.rules.rulebook.yaml_nodes import ABSENT, Faulty, MappingNode, Node, ScalarNode, SequenceNode
from shared.clients.public_holidays import MONDAY_TO_FRIDAY, has_subdivision, subdivisions
from shared.clients.working_calendar import CLOSES, OPENS, Closure, PublisherCalendar, WorkingCalendar

_TO = re.compile(r"-|–|—|\b(?:to|bis|à|a|al|till?|until|tot|hasta|as)\b")
_QUOTES = " \"'“”„‟‘’‚‛«»‹›"
_OPENS_AND_CLOSES = 2
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def _meant_hours(written: str) -> str | None:
    """``9 to 6`` as 09:00-18:00; None where two clock times cannot be told."""
    clocks = [meant_clock(part.strip()) for part in _TO.split(written.strip(_QUOTES))]
    opens, closes = (*clocks, None, None)[:_OPENS_AND_CLOSES]
    if len(clocks) != _OPENS_AND_CLOSES or opens is None or closes is None:
        return None
    if closes == "00:00":
        return f"{opens}-23:59"
    if closes <= opens and (afternoon := meant_clock(f"{closes} pm")) is not None:
        closes = afternoon
    return f"{opens}-{closes}"


def _read_hours(node: Node) -> tuple[time, time]:
    if isinstance(node, SequenceNode):
        ends = "-".join(each.text for each in node.nodes if isinstance(each, ScalarNode))
        raise InvalidValue(f"hours are like “09:00-18:00”, and no list; write “{_meant_hours(ends) or '09:00-18:00'}”")
    found = _HOURS.fullmatch(read_text(node))
    if found is None:
        meant = _meant_hours(read_text(node))
        if len(_TO.split(read_text(node))) > _OPENS_AND_CLOSES:
            raise InvalidValue(
                "hours are like “09:00-18:00”: one span a day, from its first opening to its last closing"
            )
        raise InvalidValue(f"hours are like “09:00-18:00”{f'; write “{meant}”' if meant else ''}")
    opens, closes = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if closes <= opens:
        raise InvalidValue(
            f"the house opens at {found[1]}:{found[2]} and closes at {found[3]}:{found[4]}, which is not later on the "
            "day; write first when it opens, like “09:00-18:00”"
        )
    return opens, closes


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_NAMES_OF_DAYS = (
    ("1", "mo", "lun", "mon"), ("2", "di", "mar", "die"), ("3", "mi", "mer", "mit"), ("4", "do", "jeu", "don"),
    ("5", "fr", "ven", "fre"), ("6", "sa", "sam", "sab"), ("7", "so", "dim", "son"),
)  # fmt: skip
_MEANT_DAYS = {name: day for day, names in zip(Weekday, _NAMES_OF_DAYS, strict=True) for name in names}
"""The beginnings of names of days in other languages, and numbers."""


def _once_for_all_days(node: Any, info: ValidationInfo) -> Any:
    """Reports days that are all written otherwise as one mistake, and a day that is there twice."""
    if isinstance(node, MappingNode):
        report_of(info).add(node.location, "days are a list, and have the same hours: [mon, tue, wed, thu, fri]")
        return ABSENT
    if not isinstance(node, SequenceNode):
        return node
    written = [each.text for each in node.nodes if isinstance(each, ScalarNode)]
    known = list(Weekday)
    wrong = [day for day in written if day not in known]
    meant = [_MEANT_DAYS.get(day.casefold()[:3], day.casefold()[:3]) for day in written]
    if len(wrong) > 1 and all(day in known for day in meant):
        first = next(each for each in node.nodes if isinstance(each, ScalarNode) and each.text in wrong)
        report_of(info).add(first.location, f"days are written so: [{', '.join(meant)}]")
        return SequenceNode(node.location, ())
    for place, each in enumerate(node.nodes):
        if isinstance(each, ScalarNode) and each.text in written[:place]:
            report_of(info).refuse(each.location, f"“{each.text}” is named twice")
    return node


def _read_weekday(node: Node) -> Weekday:
    written = read_text(node)
    if written in list(Weekday):
        return Weekday(written)
    meant = _MEANT_DAYS.get(written.casefold()[:3], written.casefold()[:3])
    first, _, last = (part.strip()[:3] for part in written.casefold().partition("-"))
    days = list(Weekday)
    if first in days and last in days and days.index(Weekday(first)) < days.index(Weekday(last)):
        named = ", ".join(days[days.index(Weekday(first)) : days.index(Weekday(last)) + 1])
        raise InvalidValue(f"“{written}”: days are named one by one: [{named}]")
    raise InvalidValue(f"“{written}” is none of {', '.join(days)}", meant, days)


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
    days: Annotated[
        tuple[Annotated[Weekday | None, value(_read_weekday, None)], ...],
        OneOrMore(),
        BeforeValidator(_once_for_all_days),
    ]
    """The working days of the week."""

    def report_faults(self, report: FaultReport) -> None:
        if "days" in self.written and not self.days and not items(self.written["days"]):
            report.add(self.value_location("days"), "the house works on at least one day")
        if self.country and self.subdivision and not has_subdivision(self.country, self.subdivision):
            known = subdivisions(self.country)
            parts = f"there are {', '.join(known)}" if known else "none has public holidays of its own"
            sentence = f"“{self.subdivision}” is no part of {self.country} with public holidays; {parts}"
            report.unknown(self.value_location("subdivision"), sentence, self.subdivision.upper(), known)

    def build(self, closures: tuple[Closure, ...]) -> WorkingCalendar:
        opens, closes = self.hours
        days = frozenset(list(Weekday).index(day) for day in self.days if day is not None)
        subdivision = self.subdivision or None
        return WorkingCalendar(self.zone, self.country, subdivision, opens, closes, days or MONDAY_TO_FRIDAY, closures)


def _written_day(node: Node) -> str | None:
    """The day that is written there, as a rule file has it; None for anything else."""
    if not isinstance(node, ScalarNode):
        return None
    return node.text if isinstance(node.value, date) else meant_date(node.text)


def _is_date(key: str) -> bool:
    return _DATE.fullmatch(key) is not None


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class _Days(Section):
    from_: Day = Field(alias="from")
    """The first day off."""
    to: Day
    """The last day off."""

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """A single day under another key is the first and the last; two that are written otherwise are one mistake."""
        node = _with_meant_dates(node, report)
        known = frozenset(cls.known_keys())
        days = [key for key, each in node.nodes.items() if key not in known and (_written_day(each) or _is_date(key))]
        if len(days) != 1 or not node.nodes.keys().isdisjoint(("from", "to")):
            return super()._with_meant_keys(node, label, report)
        (key,) = days
        day, shown = node.nodes[key], _written_day(node.nodes[key]) or key
        report.add(node.keys[key], f"{label} has a first and a last day; write from: {shown}, to: {shown}")
        read = ScalarNode(day.location, shown, Faulty(shown))
        nodes = {each: value for each, value in node.nodes.items() if each in known}
        places = (node.keys[key], node.keys[key], *(node.keys[each] for each in nodes))
        return MappingNode(node.location, {"from": read, "to": read, **nodes}, places, node.in_braces)

    def report_faults(self, report: FaultReport) -> None:
        if self.to and self.to < self.first:
            report.add(self.key_location("to"), "“to” is before “from”")

    @property
    def first(self) -> date:
        return self.from_ or date.min

    @property
    def last(self) -> date:
        return self.to or self.first


def _with_meant_dates(node: MappingNode, report: FaultReport) -> MappingNode:
    """Reports a first and a last day in another form, and takes them for those that are meant."""
    both = {key: each for key in ("from", "to") if isinstance(each := node.nodes.get(key), ScalarNode) and each.text}
    meant = [meant_date(each.text) for each in both.values()]
    if len(both) != _FIRST_AND_LAST or any(isinstance(each.value, date | Faulty) for each in both.values()):
        return node
    if None in meant and any(meant):
        return node  # only one of them can be told
    written = f"written from: {meant[0]}, to: {meant[1]}" if all(meant) else "like from: 2027-03-19, to: 2027-03-20"
    report.add(both["from"].location, f"dates belong here, {written}")
    read = {key: ScalarNode(each.location, each.text, Faulty(each.text)) for key, each in both.items()}
    return MappingNode(node.location, {**node.nodes, **read}, node.places, node.in_braces)


_FIRST_AND_LAST = 2


class ClosureSection(_Days):
    """Days on which the office is closed."""

    label = "a closure"
    why: Text | None = None
    """The reason, for the reader of the file."""

    @classmethod
    def report_no_mapping(cls, node: Any, label: str, report: FaultReport) -> None:
        if isinstance(node, ScalarNode) and isinstance(node.value, date):
            sentence = f"{label} has a first and a last day; write {{from: {node.text}, to: {node.text}}}"
            report.add(node.location, sentence)
        else:
            super().report_no_mapping(node, label, report)

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

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        for kind, listed in (("closure", self.closed), ("fair", self.fairs)):
            lines: dict[tuple[object, ...], int] = {}
            for each in (each for each in listed if each.from_ is not None):
                named = (each.name, each.roles) if isinstance(each, FairSection) else ()
                days = (each.first, each.last, *named)
                if days in lines:
                    sentence = f"this {kind} is there twice; the first is on line {lines[days]}; take one away"
                    report.refuse(each.location, sentence)
                lines.setdefault(days, each.location.line)

    def build(self) -> PublisherCalendar:
        closures = tuple(each.build() for each in self.closed)
        return PublisherCalendar(self.house.build(closures), fairs=tuple(each.build() for each in self.fairs))
