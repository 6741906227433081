"""Working time for offices, people and countries."""

import json
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from time import process_time as time_of_process
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clients.public_holidays import MONDAY_TO_FRIDAY, public_holidays
from shared.clients.working_calendar import (
    Closure,
    Duration,
    PublisherCalendar,
    TimeUnit,
    WorkingCalendar,
    countries_with_zones,
    country_calendar,
    find_zone,
    resolve_zone,
)
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import Phone

CLOSED = Closure(date(2026, 12, 24), date(2027, 1, 1), "the office is closed")
FAIR = Closure(date(2027, 3, 9), date(2027, 3, 11), "a book fair", frozenset({"agent"}))
LONDON = WorkingCalendar("Europe/London", "GB", "ENG", time(9), time(18), MONDAY_TO_FRIDAY, (CLOSED,))
CALENDAR = PublisherCalendar(LONDON, (FAIR,))
ONE_DAY = Duration(1, TimeUnit.WORKING_DAYS)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def person(country: str | None, zone: str = "Europe/London", *roles: str, staff: bool = False) -> WorkingCalendar:
    return CALENDAR.calendar_of(country=country, zone=zone, roles=roles, staff=staff)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2027-03-03T10:00", "2027-03-03T10:00"),  # a Wednesday morning
        ("2027-03-03T07:00", "2027-03-03T09:00"),
        ("2027-03-03T18:00", "2027-03-04T09:00"),  # closing time is closed
        ("2027-03-26T16:30", "2027-03-30T08:00"),  # Good Friday, the clocks, Easter Monday
        ("2026-12-23T19:00", "2027-01-04T09:00"),  # the office is closed
    ],
)
def test_the_next_open_instant_of_the_office(instant: str, expected: str) -> None:
    assert LONDON.next_open(utc(instant)) == utc(expected)


@pytest.mark.parametrize(
    ("instant", "duration", "expected"),
    [
        ("2027-03-30T08:00", Duration(2, TimeUnit.WORKING_DAYS), "2027-04-01T08:00"),
        ("2027-03-25T17:00", ONE_DAY, "2027-03-30T16:00"),  # the same time on the clock, in summer time
        ("2027-03-06T15:00", ONE_DAY, "2027-03-09T09:00"),  # written on a Saturday: all of Monday is theirs
        ("2027-03-05T16:00", Duration(4, TimeUnit.WORKING_HOURS), "2027-03-08T11:00"),
        ("2027-03-05T14:00", Duration(4, TimeUnit.WORKING_HOURS), "2027-03-08T09:00"),  # never ends at closing time
        ("2027-03-05T16:00", Duration(20, TimeUnit.HOURS), "2027-03-06T12:00"),
        ("2027-03-05T16:00", Duration(30, TimeUnit.MINUTES), "2027-03-05T16:30"),
        ("2027-03-05T16:00", Duration(90, TimeUnit.SECONDS), "2027-03-05T16:01:30"),
        ("2027-03-27T12:00", Duration(1, TimeUnit.DAYS), "2027-03-28T12:00"),
    ],
)
def test_adding_a_span(instant: str, duration: Duration, expected: str) -> None:
    assert LONDON.add(utc(instant), duration) == utc(expected)


@pytest.mark.parametrize(
    ("instant", "hours", "expected"),
    [
        ("2027-03-08T11:00", 4, "2027-03-05T16:00"),
        ("2027-03-08T11:00", 2, "2027-03-08T09:00"),
        ("2027-03-08T08:00", 4, "2027-03-05T14:00"),  # before the office opens
        ("2027-03-06T12:00", 4, "2027-03-05T14:00"),  # a Saturday
        ("2027-03-05T20:00", 4, "2027-03-05T14:00"),  # after it has closed
        ("2027-03-30T09:00", 2, "2027-03-25T17:00"),  # Easter, and the clocks
    ],
)
def test_working_hours_are_subtracted(instant: str, hours: int, expected: str) -> None:
    assert LONDON.add(utc(instant), Duration(hours, TimeUnit.WORKING_HOURS), -1) == utc(expected)


@pytest.mark.parametrize(
    ("day", "count", "expected"),
    [
        (date(2027, 1, 6), -2, date(2027, 1, 4)),
        (date(2027, 1, 6), -3, date(2026, 12, 23)),
        (date(2027, 1, 2), -1, date(2026, 12, 23)),
        (date(2026, 12, 22), 1, date(2026, 12, 23)),
        (date(2026, 12, 22), 2, date(2027, 1, 4)),
        (date(2027, 1, 6), -600, date(2024, 8, 15)),
        (date(2024, 8, 15), 600, date(2027, 1, 6)),
    ],
)
def test_working_days_are_counted_over_the_turn_of_a_year(day: date, count: int, expected: date) -> None:
    assert LONDON.working_day_after(day, count) == expected


@pytest.mark.parametrize(
    ("duration", "sign", "expected"),
    [
        (Duration(5, TimeUnit.WORKING_DAYS), -1, date(2027, 3, 23)),
        (Duration(1, TimeUnit.WORKING_DAYS), 1, date(2027, 4, 2)),
        (Duration(3, TimeUnit.DAYS), -1, date(2027, 3, 29)),
    ],
)
def test_a_date_is_shifted_by_days_and_working_days(duration: Duration, sign: int, expected: date) -> None:
    assert LONDON.shift_date(date(2027, 4, 1), duration, sign) == expected


def test_a_date_opens_and_closes_on_the_clock_of_its_season() -> None:
    assert LONDON.opening(date(2027, 3, 25)) == utc("2027-03-25T09:00")
    assert LONDON.closing(date(2027, 3, 30)) == utc("2027-03-30T17:00")


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (date(2027, 3, 25), date(2027, 4, 1), 3),
        (date(2027, 3, 25), date(2027, 3, 25), 0),
        (date(2027, 4, 1), date(2027, 3, 25), -3),
        (date(2027, 3, 28), date(2027, 3, 27), -1),  # yesterday is past, though neither day was worked
    ],
)
def test_working_days_between_two_dates_are_counted(first: date, last: date, expected: int) -> None:
    assert LONDON.working_days_between(first, last) == expected


def test_a_fair_closes_the_calendars_of_its_roles_only() -> None:
    assert person("GB", "Europe/London", "agent").next_open(utc("2027-03-09T10:00")) == utc("2027-03-12T09:00")
    assert person("GB", "Europe/London", "author").next_open(utc("2027-03-09T10:00")) == utc("2027-03-09T10:00")


def test_closures_apply_to_staff_only() -> None:
    assert person("GB", staff=True).next_open(utc("2026-12-29T10:00")) == utc("2027-01-04T09:00")
    assert person("GB").next_open(utc("2026-12-29T10:00")) == utc("2026-12-29T10:00")


def test_a_country_keeps_its_own_week() -> None:
    friday = utc("2027-03-05T08:00")
    assert person("IL", "Asia/Jerusalem").next_open(friday) == utc("2027-03-07T07:00")


def test_a_country_calendar_has_the_country_s_week_and_holidays() -> None:
    assert country_calendar("GB", "Europe/London").working_day_after(date(2026, 12, 24), 2) == date(2026, 12, 30)
    assert country_calendar(None, "Europe/London").working_day_after(date(2026, 12, 24), 2) == date(2026, 12, 28)
    assert country_calendar("IL", "Asia/Jerusalem").working_day_after(date(2027, 3, 4), 1) == date(2027, 3, 7)


@pytest.mark.parametrize("country", ["ZZ", "England", "utils", "__init__", ""])
def test_an_unknown_country_works_from_monday_to_friday(country: str) -> None:
    assert asdict(person(country)) == asdict(WorkingCalendar("Europe/London", country, None))
    assert person(country).next_open(utc("2027-03-06T10:00")) == utc("2027-03-08T09:00")


def test_a_calendar_without_working_days_raises() -> None:
    with pytest.raises(Misconfigured, match="no working day"):
        WorkingCalendar("Europe/London", None, None, weekdays=frozenset()).next_open(utc("2027-03-06T10:00"))


@pytest.mark.parametrize(
    ("country", "phone", "expected"),
    [
        ("FR", None, "Europe/Paris"),
        ("AU", None, "Australia/Sydney"),
        ("US", "+12135550100", "America/Los_Angeles"),
        ("US", "+447700900123", "America/New_York"),  # a mobile number, which names no zone
        ("FR", "+12135550100", "Europe/Paris"),
        (None, "+12135550100", "America/Los_Angeles"),
        (None, "nonsense", "Europe/London"),
        (None, None, "Europe/London"),
        ("ZZ", None, "Europe/London"),
    ],
)
def test_a_person_without_a_zone_of_their_own_gets_one_by_number_and_country(
    country: str | None, phone: Phone | None, expected: str
) -> None:
    assert resolve_zone(None, country, phone, "Europe/London") == expected


def test_a_written_zone_counts_before_number_and_country() -> None:
    assert resolve_zone("Europe/Rome", "US", Phone("+12135550100"), "Europe/London") == "Europe/Rome"


@pytest.mark.parametrize("day", [date.max, date.min, date(2199, 12, 31), date(1900, 1, 2)])
def test_days_to_any_date_are_counted_at_once(day: date) -> None:
    calendar = person("IN", "Asia/Kolkata")
    calendar.working_days_between(date(2027, 3, 3), date(2027, 3, 4))  # loads the country, which is not judged here
    began = time_of_process()
    assert abs(calendar.working_days_between(date(2027, 3, 3), day)) > 10_000
    assert time_of_process() - began < 0.5


@pytest.mark.parametrize("zone", ["Paris", "Europe", "../etc/passwd", "", "+01:00", "x" * 300])
def test_an_unknown_zone_is_replaced_by_the_country_s(zone: str) -> None:
    assert person("FR", zone).zone == "Europe/Paris"
    assert person(None, zone).zone == "Europe/London"


def test_a_zone_may_be_written_in_small_letters() -> None:
    assert person("FR", "america/new york").zone == find_zone("america/new york") == "America/New_York"


ZONES = st.sampled_from(["Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Sydney", "America/Santiago"])
COUNTRIES = st.sampled_from(["GB", "FR", "IL", "AE", "US", None])
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- given UTC
WORKING = st.sampled_from([TimeUnit.WORKING_HOURS, TimeUnit.WORKING_DAYS])
DURATIONS = st.builds(Duration, st.integers(1, 40), WORKING)


@given(INSTANTS, DURATIONS, COUNTRIES, ZONES)
def test_working_time_ends_while_the_office_is_open(
    instant: datetime, duration: Duration, country: str | None, zone: str
) -> None:
    calendar = person(country, zone)
    end = calendar.add(instant, duration)
    assert end > instant
    assert calendar.next_open(end) == end


@given(INSTANTS, st.timedeltas(timedelta(0), timedelta(days=20)), DURATIONS, COUNTRIES, ZONES)
def test_a_later_start_never_ends_sooner(
    instant: datetime, later: timedelta, duration: Duration, country: str | None, zone: str
) -> None:
    calendar = person(country, zone)
    assert calendar.add(instant, duration) <= calendar.add(instant + later, duration)
    assert calendar.next_open(instant) <= calendar.next_open(instant + later)


@given(INSTANTS, st.integers(1, 60), COUNTRIES, ZONES)
def test_a_working_day_later_is_the_same_time_on_the_clock(
    instant: datetime, count: int, country: str | None, zone: str
) -> None:
    calendar = person(country, zone)
    start = calendar.next_open(instant).astimezone(ZoneInfo(zone))
    end = calendar.add(start, Duration(count, TimeUnit.WORKING_DAYS)).astimezone(ZoneInfo(zone))
    assert end.time() == start.time()
    assert calendar.working_days_between(start.date(), end.date()) == count


@given(INSTANTS, st.integers(1, 60), COUNTRIES, ZONES)
def test_working_hours_are_added_and_subtracted_alike(
    instant: datetime, count: int, country: str | None, zone: str
) -> None:
    calendar = person(country, zone)
    start = calendar.next_open(instant)
    duration = Duration(count, TimeUnit.WORKING_HOURS)
    assert calendar.next_open(calendar.add(calendar.add(start, duration), duration, -1)) == start


@pytest.mark.parametrize(
    ("instant", "duration", "expected"),
    [
        ("2027-03-24T10:00", Duration(1, TimeUnit.WEEKS), "2027-03-31T09:00"),  # the clocks go forward on the 28th
        ("2027-03-24T20:00", Duration(2, TimeUnit.WORKING_DAYS), "2027-03-31T09:00"),  # after closing, over Easter
        ("2027-10-29T10:00", Duration(1, TimeUnit.WEEKS), "2027-11-05T10:00"),  # the clocks go back on the 31st
        ("2027-10-30T23:30", Duration(1, TimeUnit.DAYS), "2027-11-01T10:00"),  # half past midnight in London
        ("2026-12-23T10:00", Duration(1, TimeUnit.WORKING_DAYS), "2027-01-04T10:00"),  # the office is closed
    ],
)
def test_a_clock_time_on_a_later_day_is_what_the_clock_shows(instant: str, duration: Duration, expected: str) -> None:
    assert LONDON.instant_of(LONDON.day_after(utc(instant), duration), time(10)) == utc(expected)


def test_a_clock_time_that_is_skipped_or_shown_twice_is_one_instant() -> None:
    assert LONDON.instant_of(date(2027, 3, 28), time(1, 30)) == utc("2027-03-28T01:30")  # shown as 02:30
    assert LONDON.instant_of(date(2027, 10, 31), time(1, 30)) == utc("2027-10-31T00:30")  # the first of two


def test_a_week_is_seven_days_by_the_clock_and_in_dates() -> None:
    assert LONDON.add(utc("2027-03-24T10:00"), Duration(2, TimeUnit.WEEKS)) == utc("2027-04-07T10:00")
    assert LONDON.shift_date(date(2027, 3, 24), Duration(2, TimeUnit.WEEKS), -1) == date(2027, 3, 10)


def test_each_country_has_the_holidays_that_the_library_gives_where_it_loads_all_countries() -> None:
    """public_holidays loads the modules of single countries, some of which build on another's."""
    code = """
import json, holidays, sys
def days(code):
    try:
        return sorted(str(day) for day in holidays.country_holidays(code, years=2027))
    except (NotImplementedError, TypeError, AttributeError):
        return []
print(json.dumps({code: days(code) for code in json.loads(sys.argv[1])}))
"""
    codes = sorted(countries_with_zones())
    command = [sys.executable, "-W", "ignore", "-c", code, json.dumps(codes)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 -- our own
    assert {code: sorted(map(str, public_holidays(code, None, 2027))) for code in codes} == json.loads(found.stdout)


@given(INSTANTS, st.integers(0, 60), st.sampled_from(["Europe/London", "America/New_York", "Asia/Kathmandu"]))
def test_open_hours_are_the_instants_at_which_the_calendar_is_open(begins: datetime, days: int, zone: str) -> None:
    calendar = WorkingCalendar(zone, "GB", "ENG", closures=(CLOSED,))
    ends = begins + timedelta(days=days)
    spans = calendar.open_hours(begins, ends, 100)
    assert [end for span in spans for end in span] == sorted({end for span in spans for end in span})
    for instant in (begins + n * timedelta(minutes=97) for n in range(days * 14)):
        is_open = calendar.next_open(instant) == instant
        assert any(opens <= instant < closes for opens, closes in spans) is is_open
    assert calendar.open_hours(begins, ends, 2) == spans[:2]
