"""Working time: when somebody's office is open, and what lies so many working hours or days away.

Every instant that comes back is in UTC, except one that comes back as it was given. Wall time decides: across a clock
change a working day later is the same time on the clock.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import assert_never
from zoneinfo import ZoneInfo

from services.rules.countries import WORKWEEK, holidays_in, workweek_in, zone_of
from services.rules.house import Closure, WorkCalendar
from services.rules.terms import Span, Unit
from shared.clients.zones import zone_named
from shared.contracts.errors import Misconfigured
from shared.contracts.values import FIRST_DAY, LAST_DAY

__all__ = [
    "Hours", "add", "closing", "hours_of", "house_hours", "next_open", "opening", "shift", "working_days_between",
    "zone_of",
]  # fmt: skip

OPENS = time(9)
CLOSES = time(18)
_YEARS_AHEAD = 5  # a calendar without a working day in five years is a mistake, not a holiday

_COUNTED_FROM = 2000

_PLAIN = {
    Unit.SECONDS: timedelta(seconds=1),
    Unit.MINUTES: timedelta(minutes=1),
    Unit.HOURS: timedelta(hours=1),
    Unit.DAYS: timedelta(days=1),
}


@dataclass(frozen=True, slots=True, eq=False)
class Hours:
    """Somebody's working time. ``country`` None: no public holidays are known. It equals only itself."""

    zone: str
    country: str | None
    subdivision: str | None
    opens: time = OPENS
    closes: time = CLOSES
    days: frozenset[int] = WORKWEEK
    closures: tuple[Closure, ...] = ()


@lru_cache(maxsize=64)
def house_hours(calendar: WorkCalendar) -> Hours:
    house = calendar.house
    return Hours(
        house.zone, house.country, house.subdivision, house.opens, house.closes, house.days, closures=calendar.closed
    )


def hours_of(calendar: WorkCalendar, *, country: str | None, zone: str, roles: Iterable[str], staff: bool) -> Hours:
    """A person's: their zone and their country's holidays; staff keep the house's hours, week and closures.

    Where ``zone`` is no zone, it is the country's.
    """
    house = calendar.house
    zone = zone_named(zone) or zone_of(country, None, house.zone)
    held = frozenset(roles)
    fairs = tuple(fair for fair in calendar.fairs if fair.roles & held)
    subdivision = house.subdivision if country == house.country else None
    if staff:
        closures = (*calendar.closed, *fairs)
        return Hours(zone, country, subdivision, house.opens, house.closes, house.days, closures)
    return Hours(zone, country, subdivision, days=workweek_in(country), closures=fairs)


def next_open(instant: datetime, hours: Hours) -> datetime:
    """``instant`` itself when the office is open then, else the next opening."""
    day = instant.astimezone(ZoneInfo(hours.zone)).date()
    if _is_working(day, hours) and instant < closing(day, hours):
        return max(instant, opening(day, hours))
    return opening(_working_day_after(day, 1, hours), hours)


def add(instant: datetime, span: Span, hours: Hours, sign: int = 1) -> datetime:
    """``span`` after ``instant`` (``sign`` -1: before). Working units count from and end in open hours."""
    match span.unit:
        case Unit.SECONDS | Unit.MINUTES | Unit.HOURS | Unit.DAYS:
            return instant + sign * span.count * _PLAIN[span.unit]
        case Unit.WORKING_HOURS:
            step = _later if sign > 0 else _earlier
            return step(instant, timedelta(hours=span.count), hours)
        case Unit.WORKING_DAYS:
            return _same_time(next_open(instant, hours), sign * span.count, hours)
        case _:
            assert_never(span.unit)


def shift(day: date, span: Span, sign: int, hours: Hours) -> date:
    """So many days or working days before (-1) or after (1) a date; the date itself is not counted."""
    if span.unit is Unit.WORKING_DAYS:
        return _working_day_after(day, sign * span.count, hours)
    return day + sign * span.count * _PLAIN.get(span.unit, timedelta(0))


def opening(day: date, hours: Hours) -> datetime:
    return _at(day, hours.opens, hours)


def closing(day: date, hours: Hours) -> datetime:
    return _at(day, hours.closes, hours)


def working_days_between(first: date, last: date, hours: Hours) -> int:
    """Working days after ``first`` up to and with ``last``; below zero as soon as ``last`` is past.

    No day is counted that ``is_day`` would not take for one.
    """
    first, last = (min(max(day, FIRST_DAY), LAST_DAY) for day in (first, last))
    if last < first:
        return min(-1, _count(last - timedelta(days=1), hours) - _count(first - timedelta(days=1), hours))
    return _count(last, hours) - _count(first, hours)


def _at(day: date, wall: time, hours: Hours) -> datetime:
    return datetime.combine(day, wall, ZoneInfo(hours.zone)).astimezone(UTC)


def _later(instant: datetime, left: timedelta, hours: Hours) -> datetime:
    cursor = next_open(instant, hours)
    while (room := closing(_day_of(cursor, hours), hours) - cursor) <= left:
        left -= room
        cursor = opening(_working_day_after(_day_of(cursor, hours), 1, hours), hours)
    return cursor + left


def _earlier(instant: datetime, left: timedelta, hours: Hours) -> datetime:
    day = _day_of(instant, hours)
    if not _is_working(day, hours) or instant < opening(day, hours):
        day = _working_day_after(day, -1, hours)
    cursor = min(instant, closing(day, hours))
    while (room := cursor - opening(day, hours)) < left:
        left -= room
        day = _working_day_after(day, -1, hours)
        cursor = closing(day, hours)
    return cursor - left


def _same_time(instant: datetime, days: int, hours: Hours) -> datetime:
    local = instant.astimezone(ZoneInfo(hours.zone))
    day = _working_day_after(local.date(), days, hours)
    return next_open(_at(day, local.time(), hours), hours)


def _day_of(instant: datetime, hours: Hours) -> date:
    return instant.astimezone(ZoneInfo(hours.zone)).date()


def _is_working(day: date, hours: Hours) -> bool:
    days = _working_days(day.year, hours)
    index = bisect_left(days, day)
    return index < len(days) and days[index] == day


def _working_day_after(day: date, count: int, hours: Hours) -> date:
    """The ``count``-th working day after ``day``; a negative count goes back."""
    wanted = _index(day, hours, after=count > 0) + (count - 1 if count > 0 else count)
    year, days = day.year, _working_days(day.year, hours)
    while not 0 <= wanted < len(days):
        if abs(year - day.year) > _YEARS_AHEAD + abs(count) // 100:
            raise Misconfigured("calendar", f"{hours.zone} has no working day near {day}")
        if wanted < 0:
            year -= 1
            days = _working_days(year, hours)
            wanted += len(days)
        else:
            wanted -= len(days)
            year += 1
            days = _working_days(year, hours)
    return days[wanted]


def _index(day: date, hours: Hours, *, after: bool) -> int:
    """How many of the year's working days come before ``day``, itself included if ``after``."""
    side = bisect_right if after else bisect_left
    return side(_working_days(day.year, hours), day)


@lru_cache(maxsize=4096)
def _count(day: date, hours: Hours) -> int:
    """Working days since the beginning of 2000, or before it below zero; only differences mean anything."""
    return _before_year(day.year, hours) + _index(day, hours, after=True)


@lru_cache(maxsize=4096)
def _before_year(year: int, hours: Hours) -> int:
    if year > _COUNTED_FROM:
        return _before_year(year - 1, hours) + len(_working_days(year - 1, hours))
    return -sum(len(_working_days(each, hours)) for each in range(year, _COUNTED_FROM))


@lru_cache(maxsize=8192)
def _working_days(year: int, hours: Hours) -> tuple[date, ...]:
    off = holidays_in(hours.country, hours.subdivision, year)
    days = (date(year, 1, 1) + timedelta(days=n) for n in range(366))
    return tuple(
        day
        for day in days
        if day.year == year and day.weekday() in hours.days and day not in off and _unclosed(day, hours)
    )


def _unclosed(day: date, hours: Hours) -> bool:
    return not any(closure.first <= day <= closure.last for closure in hours.closures)
