from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from time import process_time as time_of_process
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.rules.calendars import (
    Hours,
    add,
    closing,
    hours_of,
    house_hours,
    next_open,
    opening,
    shift,
    working_days_between,
    zone_of,
)
from services.rules.countries import zone_hint
from services.rules.house import Closure, House, WorkCalendar
from services.rules.terms import Span, Unit
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import Phone

CLOSED = Closure(date(2026, 12, 24), date(2027, 1, 1), "the house is closed")
FAIR = Closure(date(2027, 3, 9), date(2027, 3, 11), "a book fair", frozenset({"agent"}))
HOUSE = House("GB", "ENG", "Europe/London", time(9), time(18), frozenset(range(5)))
CALENDAR = WorkCalendar(HOUSE, (CLOSED,), (FAIR,))
LONDON = house_hours(CALENDAR)
ONE_DAY = Span(1, Unit.WORKING_DAYS)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def person(country: str | None, zone: str = "Europe/London", *roles: str, staff: bool = False) -> Hours:
    return hours_of(CALENDAR, country=country, zone=zone, roles=roles, staff=staff)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2027-03-03T10:00", "2027-03-03T10:00"),  # a Wednesday morning
        ("2027-03-03T07:00", "2027-03-03T09:00"),
        ("2027-03-03T18:00", "2027-03-04T09:00"),  # closing time is closed
        ("2027-03-26T16:30", "2027-03-30T08:00"),  # Good Friday, the clocks, Easter Monday
        ("2026-12-23T19:00", "2027-01-04T09:00"),  # the house is closed
    ],
)
def test_the_next_time_the_house_is_open(instant: str, expected: str) -> None:
    assert next_open(utc(instant), LONDON) == utc(expected)


@pytest.mark.parametrize(
    ("instant", "span", "expected"),
    [
        ("2027-03-30T08:00", Span(2, Unit.WORKING_DAYS), "2027-04-01T08:00"),
        ("2027-03-25T17:00", ONE_DAY, "2027-03-30T16:00"),  # the same time on the clock, in summer time
        ("2027-03-06T15:00", ONE_DAY, "2027-03-09T09:00"),  # written on a Saturday: all of Monday is theirs
        ("2027-03-05T16:00", Span(4, Unit.WORKING_HOURS), "2027-03-08T11:00"),
        ("2027-03-05T14:00", Span(4, Unit.WORKING_HOURS), "2027-03-08T09:00"),  # never ends at closing time
        ("2027-03-05T16:00", Span(20, Unit.HOURS), "2027-03-06T12:00"),
        ("2027-03-05T16:00", Span(30, Unit.MINUTES), "2027-03-05T16:30"),
        ("2027-03-05T16:00", Span(90, Unit.SECONDS), "2027-03-05T16:01:30"),
        ("2027-03-27T12:00", Span(1, Unit.DAYS), "2027-03-28T12:00"),
    ],
)
def test_adding_a_span(instant: str, span: Span, expected: str) -> None:
    assert add(utc(instant), span, LONDON) == utc(expected)


def test_working_hours_before_an_instant() -> None:
    assert add(utc("2027-03-08T11:00"), Span(4, Unit.WORKING_HOURS), LONDON, -1) == utc("2027-03-05T16:00")


@pytest.mark.parametrize(
    ("span", "sign", "expected"),
    [
        (Span(5, Unit.WORKING_DAYS), -1, date(2027, 3, 23)),
        (Span(1, Unit.WORKING_DAYS), 1, date(2027, 4, 2)),
        (Span(3, Unit.DAYS), -1, date(2027, 3, 29)),
    ],
)
def test_shifting_a_date(span: Span, sign: int, expected: date) -> None:
    assert shift(date(2027, 4, 1), span, sign, LONDON) == expected


def test_a_date_opens_and_closes_on_the_clock_of_its_season() -> None:
    assert opening(date(2027, 3, 25), LONDON) == utc("2027-03-25T09:00")
    assert closing(date(2027, 3, 30), LONDON) == utc("2027-03-30T17:00")


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (date(2027, 3, 25), date(2027, 4, 1), 3),
        (date(2027, 3, 25), date(2027, 3, 25), 0),
        (date(2027, 4, 1), date(2027, 3, 25), -3),
        (date(2027, 3, 28), date(2027, 3, 27), -1),  # yesterday is past, though neither day was worked
    ],
)
def test_working_days_between(first: date, last: date, expected: int) -> None:
    assert working_days_between(first, last, LONDON) == expected


def test_a_fair_stops_the_working_time_of_its_roles_only() -> None:
    assert next_open(utc("2027-03-09T10:00"), person("GB", "Europe/London", "agent")) == utc("2027-03-12T09:00")
    assert next_open(utc("2027-03-09T10:00"), person("GB", "Europe/London", "author")) == utc("2027-03-09T10:00")


def test_the_house_closing_binds_staff_and_nobody_else() -> None:
    assert next_open(utc("2026-12-29T10:00"), person("GB", staff=True)) == utc("2027-01-04T09:00")
    assert next_open(utc("2026-12-29T10:00"), person("GB")) == utc("2026-12-29T10:00")


def test_a_country_keeps_its_own_week() -> None:
    friday = utc("2027-03-05T08:00")
    assert next_open(friday, person("IL", "Asia/Jerusalem")) == utc("2027-03-07T07:00")


@pytest.mark.parametrize("country", ["ZZ", "England", "utils", "__init__", ""])
def test_a_country_nobody_knows_works_from_monday_to_friday(country: str) -> None:
    assert asdict(person(country)) == asdict(Hours("Europe/London", country, None))
    assert next_open(utc("2027-03-06T10:00"), person(country)) == utc("2027-03-08T09:00")


def test_a_calendar_that_never_opens_is_a_mistake() -> None:
    with pytest.raises(Misconfigured, match="no working day"):
        next_open(utc("2027-03-06T10:00"), Hours("Europe/London", None, None, days=frozenset()))


@pytest.mark.parametrize(
    ("country", "hint", "expected"),
    [
        ("FR", None, "Europe/Paris"),
        ("AU", None, "Australia/Sydney"),
        ("US", "America/Los_Angeles", "America/Los_Angeles"),
        ("FR", "Africa/Cairo", "Europe/Paris"),
        (None, "Africa/Cairo", "Africa/Cairo"),
        (None, None, "Europe/London"),
        ("ZZ", None, "Europe/London"),
    ],
)
def test_a_zone_for_everybody(country: str | None, hint: str | None, expected: str) -> None:
    assert zone_of(country, hint, "Europe/London") == expected


def test_a_number_hints_at_a_zone_where_its_area_has_one() -> None:
    assert zone_hint(Phone("+12125550100")) == "America/New_York"
    assert zone_hint(Phone("+447700900123")) is None
    assert zone_hint(Phone("nonsense")) is None


@pytest.mark.parametrize("day", [date.max, date.min, date(2199, 12, 31), date(1900, 1, 2)])
def test_days_to_any_date_are_counted_at_once(day: date) -> None:
    began = time_of_process()
    assert abs(working_days_between(date(2027, 3, 3), day, person("IN", "Asia/Kolkata"))) > 10_000
    assert time_of_process() - began < 0.5


@pytest.mark.parametrize("zone", ["Paris", "Europe", "../etc/passwd", "", "+01:00", "x" * 300])
def test_what_is_no_zone_is_the_countrys(zone: str) -> None:
    assert person("FR", zone).zone == "Europe/Paris"
    assert person(None, zone).zone == "Europe/London"


def test_a_zone_may_be_written_without_its_capitals() -> None:
    assert person("FR", "america/new york").zone == "America/New_York"


ZONES = st.sampled_from(["Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Sydney", "America/Santiago"])
COUNTRIES = st.sampled_from(["GB", "FR", "IL", "AE", "US", None])
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- given UTC
WORKING = st.sampled_from([Unit.WORKING_HOURS, Unit.WORKING_DAYS])
PATIENT = settings(deadline=None)  # a year of holidays is worked out once, and then remembered
SPANS = st.builds(Span, st.integers(1, 40), WORKING)


@PATIENT
@given(INSTANTS, SPANS, COUNTRIES, ZONES)
def test_working_time_ends_while_the_office_is_open(
    instant: datetime, span: Span, country: str | None, zone: str
) -> None:
    hours = person(country, zone)
    end = add(instant, span, hours)
    assert end > instant
    assert next_open(end, hours) == end


@PATIENT
@given(INSTANTS, st.timedeltas(timedelta(0), timedelta(days=20)), SPANS, COUNTRIES, ZONES)
def test_who_starts_later_never_ends_sooner(
    instant: datetime, later: timedelta, span: Span, country: str | None, zone: str
) -> None:
    hours = person(country, zone)
    assert add(instant, span, hours) <= add(instant + later, span, hours)
    assert next_open(instant, hours) <= next_open(instant + later, hours)


@PATIENT
@given(INSTANTS, st.integers(1, 60), COUNTRIES, ZONES)
def test_a_working_day_later_is_the_same_time_on_the_clock(
    instant: datetime, count: int, country: str | None, zone: str
) -> None:
    hours = person(country, zone)
    start = next_open(instant, hours).astimezone(ZoneInfo(zone))
    end = add(start, Span(count, Unit.WORKING_DAYS), hours).astimezone(ZoneInfo(zone))
    assert end.time() == start.time()
    assert working_days_between(start.date(), end.date(), hours) == count


@PATIENT
@given(INSTANTS, st.integers(1, 60), COUNTRIES, ZONES)
def test_working_hours_go_there_and_back(instant: datetime, count: int, country: str | None, zone: str) -> None:
    hours = person(country, zone)
    start = next_open(instant, hours)
    span = Span(count, Unit.WORKING_HOURS)
    assert next_open(add(add(start, span, hours), span, hours, -1), hours) == start
