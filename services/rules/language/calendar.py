"""``calendar.yaml``: the house's hours, its closures, and the fairs that stop the working time of some roles."""

import re
from datetime import date, time
from typing import Final

from services.rules.language.known_words import country, subdivision, zone
from services.rules.language.values import Part, day, listed, text, texts
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.yaml_tree import Node
from shared.clients.working_calendar import CLOSES, MONDAY_TO_FRIDAY, OPENS, Closure, PublisherCalendar, WorkingCalendar

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOUSE_KEYS = ("country", "subdivision", "zone", "hours", "days")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_OFFICE: Final = (OPENS, CLOSES)


def calendar(node: Node | None, report: FaultReport) -> PublisherCalendar:
    part = Part(node, "calendar.yaml", ("house", "closed", "fairs"), report)
    return PublisherCalendar(
        office=_office(part.need("house"), tuple(_closed(each, report) for each in listed(part.get("closed"))), report),
        fairs=tuple(_fair(each, report) for each in listed(part.get("fairs"))),
    )


def _office(node: Node | None, closures: tuple[Closure, ...], report: FaultReport) -> WorkingCalendar:
    part = Part(node, "the house", _HOUSE_KEYS, report)
    opens, closes = _hours(part.need("hours"), report)
    code = country(part.need("country"), report)
    return WorkingCalendar(
        country=code,
        subdivision=subdivision(part.get("subdivision"), code, report),
        zone=zone(part.need("zone"), report),
        opens=opens,
        closes=closes,
        weekdays=_days(part.need("days"), report),
        closures=closures,
    )


def _hours(node: Node | None, report: FaultReport) -> tuple[time, time]:
    found = _HOURS.fullmatch(text(node, report))
    if node is None:
        return _OFFICE
    if found is None:
        report.add(node.location, "hours are like “09:00-18:00”")
        return _OFFICE
    opens, closes = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if closes <= opens:
        report.add(node.location, "the house closes after it opens, on the same day")
        return _OFFICE
    return opens, closes


def _days(node: Node | None, report: FaultReport) -> frozenset[int]:
    days: set[int] = set()
    for each in listed(node):
        name = text(each, report)
        if name in WEEKDAYS:
            days.add(WEEKDAYS.index(name))
        else:
            report.unknown(each.location, f"“{name}” is none of {', '.join(WEEKDAYS)}", name, WEEKDAYS)
    if node is not None and not days:
        report.add(node.location, "the house works on at least one day")
    return frozenset(days) or MONDAY_TO_FRIDAY


def _closed(node: Node, report: FaultReport) -> Closure:
    part = Part(node, "a closure", ("from", "to", "why"), report)
    return Closure(*_between(part, report), reason=text(part.get("why"), report))


def _fair(node: Node, report: FaultReport) -> Closure:
    part = Part(node, "a fair", ("from", "to", "name", "roles"), report)
    first, last = _between(part, report)
    return Closure(first, last, text(part.get("name"), report), frozenset(texts(part.need("roles"), report)))


def _between(part: Part, report: FaultReport) -> tuple[date, date]:
    """Both ends are days off."""
    first = day(part.need("from"), report) or date.min
    last = day(part.need("to"), report) or first
    if last < first:
        report.add(part.where("to"), "“to” is before “from”")
    return first, last
