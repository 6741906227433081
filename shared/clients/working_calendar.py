"""Working time: durations in working days, time zones, and the calendars of offices and people.

Instants that are computed are in UTC. Wall time decides: across a clock change, one working day later is the same time
on the clock. A person's quiet hours are the times at which their calendar is closed.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import assert_never
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers
from phonenumbers import timezone

from shared.clients.public_holidays import MONDAY_TO_FRIDAY, has_subdivision, public_holidays, working_weekdays
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import Phone
from shared.contracts.values import FIRST_DATE, LAST_DATE

OPENS = time(9)
CLOSES = time(18)
_YEARS_AHEAD = 5  # a calendar without a working day in five years is a mistake, not a holiday
_COUNTED_FROM = 2000


# ------------------------------------------------------------------ durations


class TimeUnit(StrEnum):
    SECONDS = "seconds"
    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    WEEKS = "weeks"
    WORKING_HOURS = "working hours"
    WORKING_DAYS = "working days"


_CLOCK_UNITS = {
    TimeUnit.SECONDS: timedelta(seconds=1),
    TimeUnit.MINUTES: timedelta(minutes=1),
    TimeUnit.HOURS: timedelta(hours=1),
    TimeUnit.DAYS: timedelta(days=1),
    TimeUnit.WEEKS: timedelta(weeks=1),
}


@dataclass(frozen=True, slots=True)
class Duration:
    """``2 working days``."""

    count: int
    unit: TimeUnit

    @property
    def fixed_length(self) -> timedelta | None:
        """The length as a ``timedelta``; None for working hours and days, whose length depends on a calendar."""
        unit = _CLOCK_UNITS.get(self.unit)
        return None if unit is None else self.count * unit


# ------------------------------------------------------------------ calendars


@dataclass(frozen=True, slots=True)
class Closure:
    """Days off, both ends inclusive; a fair is one for ``roles`` only."""

    first: date
    last: date
    reason: str
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class WorkingCalendar:
    """When one office, or one person, works. ``country`` None: no public holidays are known.

    A calendar equals only itself, which makes it a cheap key of the caches below: make each one once.
    Methods that look for a working day raise Misconfigured where the calendar has none in years.
    """

    zone: str
    country: str | None
    subdivision: str | None
    opens: time = OPENS
    closes: time = CLOSES
    weekdays: frozenset[int] = MONDAY_TO_FRIDAY
    closures: tuple[Closure, ...] = ()

    def opening(self, day: date) -> datetime:
        """The opening time on this day, whether or not it is a working day."""
        return self._at(day, self.opens)

    def closing(self, day: date) -> datetime:
        """The closing time on this day, whether or not it is a working day."""
        return self._at(day, self.closes)

    def start_of_day(self, day: date) -> datetime:
        return self._at(day, time.min)

    def instant_of(self, day: date, wall: time) -> datetime:
        """The instant at which the clock shows ``wall`` on this day.

        A time that the clock shows twice counts when it is first shown; one that it skips, as much later as it skips.
        """
        return self._at(day, wall)

    def local_date(self, instant: datetime) -> date:
        """The date in this calendar's time zone."""
        return instant.astimezone(ZoneInfo(self.zone)).date()

    def is_working_day(self, day: date) -> bool:
        days = _working_days(day.year, self)
        index = bisect_left(days, day)
        return index < len(days) and days[index] == day

    def next_open(self, instant: datetime) -> datetime:
        """``instant`` itself, as given, when the office is open then; else the next opening."""
        day = self.local_date(instant)
        if self.is_working_day(day) and instant < self.closing(day):
            return max(instant, self.opening(day))
        return self.opening(self.working_day_after(day, 1))

    def open_hours(self, begins: datetime, ends: datetime, at_most: int) -> list[tuple[datetime, datetime]]:
        """At most ``at_most`` pairs of opening and closing time, the earliest first: one for each day that opens before
        ``ends``.

        The first opening is ``begins`` itself where the office is open then.
        """
        found: list[tuple[datetime, datetime]] = []
        opens = self.next_open(begins)
        while opens < ends and len(found) < at_most:
            day = self.local_date(opens)
            found.append((opens, self.closing(day)))
            opens = self.opening(self.working_day_after(day, 1))
        return found

    def add(self, instant: datetime, duration: Duration, sign: int = 1) -> datetime:
        """``duration`` after ``instant`` (``sign`` -1: before). Working units count from and end in open hours."""
        match duration.unit:
            case TimeUnit.SECONDS | TimeUnit.MINUTES | TimeUnit.HOURS | TimeUnit.DAYS | TimeUnit.WEEKS:
                return instant + sign * duration.count * _CLOCK_UNITS[duration.unit]
            case TimeUnit.WORKING_HOURS:
                step = self._add_working_hours if sign > 0 else self._subtract_working_hours
                return step(instant, timedelta(hours=duration.count))
            case TimeUnit.WORKING_DAYS:
                return self._same_time_after(self.next_open(instant), sign * duration.count)
            case _:
                assert_never(duration.unit)

    def shift_date(self, day: date, duration: Duration, sign: int = 1) -> date:
        """The date ``duration`` (days, weeks or working days) after another, or before it with ``sign`` -1; the other
        date itself is not counted.
        """
        if duration.unit is TimeUnit.WORKING_DAYS:
            return self.working_day_after(day, sign * duration.count)
        return day + sign * duration.count * _CLOCK_UNITS[duration.unit]

    def day_after(self, instant: datetime, duration: Duration) -> date:
        """The day so many days, weeks or working days after an instant; working days count from open hours."""
        working = duration.unit is TimeUnit.WORKING_DAYS
        return self.shift_date(self.local_date(self.next_open(instant) if working else instant), duration)

    def working_day_after(self, day: date, count: int) -> date:
        """The ``count``-th working day after ``day``; a negative count goes back."""
        wanted = self._index(day, after=count > 0) + (count - 1 if count > 0 else count)
        year, days = day.year, _working_days(day.year, self)
        while not 0 <= wanted < len(days):
            if abs(year - day.year) > _YEARS_AHEAD + abs(count) // 100:
                raise Misconfigured("calendar", f"{self.zone} has no working day near {day}")
            if wanted < 0:
                year -= 1
                days = _working_days(year, self)
                wanted += len(days)
            else:
                wanted -= len(days)
                year += 1
                days = _working_days(year, self)
        return days[wanted]

    def working_days_between(self, first: date, last: date) -> int:
        """The number of working days after ``first``, up to and including ``last``; negative where ``last`` is earlier.

        Days before ``FIRST_DATE`` or after ``LAST_DATE`` count as these.
        """
        first, last = (min(max(day, FIRST_DATE), LAST_DATE) for day in (first, last))
        if last < first:
            day_before_last, day_before_first = last - timedelta(days=1), first - timedelta(days=1)
            return min(-1, _count(day_before_last, self) - _count(day_before_first, self))
        return _count(last, self) - _count(first, self)

    def _at(self, day: date, wall: time) -> datetime:
        return datetime.combine(day, wall, ZoneInfo(self.zone)).astimezone(UTC)

    def _add_working_hours(self, instant: datetime, left: timedelta) -> datetime:
        cursor = self.next_open(instant)
        while (room := self.closing(self.local_date(cursor)) - cursor) <= left:
            left -= room
            cursor = self.opening(self.working_day_after(self.local_date(cursor), 1))
        return cursor + left

    def _subtract_working_hours(self, instant: datetime, left: timedelta) -> datetime:
        day = self.local_date(instant)
        if not self.is_working_day(day) or instant < self.opening(day):
            day = self.working_day_after(day, -1)
        cursor = min(instant, self.closing(day))
        while (room := cursor - self.opening(day)) < left:
            left -= room
            day = self.working_day_after(day, -1)
            cursor = self.closing(day)
        return cursor - left

    def _same_time_after(self, instant: datetime, days: int) -> datetime:
        local = instant.astimezone(ZoneInfo(self.zone))
        day = self.working_day_after(local.date(), days)
        return self.next_open(self._at(day, local.time()))

    def _index(self, day: date, *, after: bool) -> int:
        """How many of the year's working days come before ``day``, itself included if ``after``."""
        side = bisect_right if after else bisect_left
        return side(_working_days(day.year, self), day)


@dataclass(frozen=True, slots=True, eq=False)
class PublisherCalendar:
    """The calendar of a publisher's office, and the fairs that close the calendars of some roles."""

    office: WorkingCalendar
    fairs: tuple[Closure, ...] = ()

    def calendar_of(
        self,
        *,
        country: str | None,
        zone: str,
        roles: Iterable[str],
        staff: bool,
        subdivision: str | None = None,
    ) -> WorkingCalendar:
        """A person's: their zone and their country's holidays; staff keep the office's hours, week and closures.

        Where ``zone`` is not a time zone, the country's counts. Without a ``subdivision`` that has holidays of its own,
        people of the office's country keep those of the office.
        """
        office = self.office
        zone = resolve_zone(zone, country, None, office.zone)
        roles = frozenset(roles)
        fairs = tuple(fair for fair in self.fairs if fair.roles & roles)
        if not has_subdivision(country, subdivision):
            subdivision = office.subdivision if country == office.country else None
        if staff:
            closures = (*office.closures, *fairs)
            return WorkingCalendar(zone, country, subdivision, office.opens, office.closes, office.weekdays, closures)
        return WorkingCalendar(zone, country, subdivision, weekdays=working_weekdays(country), closures=fairs)


@lru_cache(maxsize=512)
def country_calendar(country: str | None, zone: str) -> WorkingCalendar:
    """The country's own week and public holidays."""
    return WorkingCalendar(zone, country, None, weekdays=working_weekdays(country))


@lru_cache(maxsize=4096)
def _count(day: date, calendar: WorkingCalendar) -> int:
    """The number of working days since the beginning of 2000, negative before it. Only the difference of two such
    numbers has a meaning.
    """
    return _count_before_year(day.year, calendar) + bisect_right(_working_days(day.year, calendar), day)


@lru_cache(maxsize=4096)
def _count_before_year(year: int, calendar: WorkingCalendar) -> int:
    if year > _COUNTED_FROM:
        return _count_before_year(year - 1, calendar) + len(_working_days(year - 1, calendar))
    return -sum(len(_working_days(each, calendar)) for each in range(year, _COUNTED_FROM))


@lru_cache(maxsize=8192)
def _working_days(year: int, calendar: WorkingCalendar) -> tuple[date, ...]:
    off = public_holidays(calendar.country, calendar.subdivision, year)
    days = (date(year, 1, 1) + timedelta(days=n) for n in range(366))
    return tuple(
        day
        for day in days
        if day.year == year
        and day.weekday() in calendar.weekdays
        and day not in off
        and not any(closure.first <= day <= closure.last for closure in calendar.closures)
    )


# ------------------------------------------------------------------ time zones

# zone.tab lists a country's zones in an order of geography first; these countries' people mostly live elsewhere.
_MOST_PEOPLE = {
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "MX": "America/Mexico_City",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
}


def resolve_zone(written: str | None, country: str | None, phone: Phone | None, default: str) -> str:
    """A person's time zone.

    The written one; else that of their number's area, if it is one of their country's; else the one in which most
    people of their country live; else ``default``.
    """
    if (zone := find_zone(written)) is not None:
        return zone
    zones = _country_zones().get(country or "", ())
    hint = _zone_of_phone(phone) if phone else None
    if hint is not None and (hint in zones or not zones):
        return hint
    return _MOST_PEOPLE.get(country or "") or next(iter(zones), default)


def find_zone(written: str | None) -> str | None:
    """An IANA time zone in its own spelling (``europe/paris`` is Europe/Paris); None where it is none."""
    return _zone_spellings().get(written.strip().replace(" ", "_").casefold()) if written else None


@lru_cache(maxsize=4096)
def _zone_of_phone(phone: Phone) -> str | None:
    """The zone of a number's area code, where it names one zone only; mobile numbers often name none."""
    try:
        zones = timezone.time_zones_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        return None
    known = [zone for zone in zones if zone != timezone.UNKNOWN_TIMEZONE]
    return known[0] if len(known) == 1 else None


def countries_with_zones() -> frozenset[str]:
    """ISO 3166 codes of all inhabited countries."""
    return frozenset(_country_zones())


@lru_cache(maxsize=1)
def _country_zones() -> Mapping[str, tuple[str, ...]]:
    """Country → its zones, in the order of the zone.tab that tzdata ships."""
    found: dict[str, tuple[str, ...]] = {}
    table = resources.files("tzdata").joinpath("zoneinfo", "zone.tab").read_text("utf-8")
    for row in table.splitlines():
        if row and not row.startswith("#"):
            country, _, zone = row.split("\t")[:3]
            found[country] = (*found.get(country, ()), zone)
    return found


@lru_cache(maxsize=1)
def _zone_spellings() -> Mapping[str, str]:
    return {zone.casefold(): zone for zone in available_timezones()}
