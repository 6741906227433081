"""Due times of steps: dates, instants, offsets and clock times, over Easter and the beginning of summer time."""

from datetime import UTC, date, datetime, time

import pytest

from services.rules.conversation.schedule import add_duration
from services.rules.conversation.send_hours import lapse_of, moment_of
from services.rules.rulebook.model import After, At
from shared.clients.working_calendar import Duration, TimeUnit, WorkingCalendar
from tests.services.rules.stories import faults_of_rule, rule_head, template_text

LONDON = WorkingCalendar("Europe/London", "GB", "ENG", time(9), time(18))
TWO_DAYS, TWO_HOURS, WEEK = (
    Duration(2, TimeUnit.WORKING_DAYS),
    Duration(2, TimeUnit.HOURS),
    Duration(1, TimeUnit.WEEKS),
)
NINE = time(9)
TUESDAY = date(2027, 3, 30)  # after Easter Monday; the clocks went forward on Sunday


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "timing", "expected"),
    [
        (TUESDAY, At("due"), "2027-03-30T17:00"),  # a date is over when the office closes
        (TUESDAY, At("due", TWO_DAYS, -1), "2027-03-24T00:00"),
        (TUESDAY, At("due", WEEK, 1), "2027-04-05T23:00"),
        (TUESDAY, At("due", TWO_HOURS, 1), "2027-03-30T19:00"),
        (TUESDAY, At("due", TWO_HOURS, -1), "2027-03-30T15:00"),
        (TUESDAY, At("due", clock=NINE), "2027-03-30T08:00"),
        (TUESDAY, At("due", TWO_DAYS, -1, NINE), "2027-03-24T09:00"),
        (utc("2027-03-30T12:00"), At("due"), "2027-03-30T12:00"),
        (utc("2027-03-30T12:00"), At("due", TWO_DAYS, -1), "2027-03-24T13:00"),  # the same time on the clock
        (utc("2027-03-30T12:00"), At("due", TWO_HOURS, -1), "2027-03-30T10:00"),
        (utc("2027-03-30T23:30"), At("due", clock=NINE), "2027-03-31T08:00"),  # in London it is the 31st
        (utc("2027-03-30T23:30"), At("due", TWO_DAYS, -1, NINE), "2027-03-25T09:00"),
    ],
)
def test_an_at_time_is_one_instant(value: object, timing: At, expected: str) -> None:
    assert moment_of(value, timing, LONDON) == utc(expected)


@pytest.mark.parametrize(
    "value", [None, "2027-03-30", date(1970, 1, 1), date.min, date.max, utc("0001-01-01"), utc("9999-12-31")]
)
@pytest.mark.parametrize("timing", [At("due"), At("due", TWO_DAYS, -1), At("due", clock=NINE)])
def test_a_value_that_is_no_date_is_never_due(value: object, timing: At) -> None:
    assert moment_of(value, timing, LONDON) is None
    assert lapse_of(value, timing, LONDON) is None


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        (At("due"), "2027-03-30T17:00"),
        (At("due", TWO_DAYS, -1), "2027-03-24T09:00"),  # a day has passed once the office has opened on it
        (At("due", clock=NINE), "2027-03-30T08:00"),
        (At("due", TWO_DAYS, -1, time(7)), "2027-03-24T07:00"),
    ],
)
def test_an_at_time_lapses_at_its_instant_and_a_day_with_its_opening(timing: At, expected: str) -> None:
    assert lapse_of(TUESDAY, timing, LONDON) == utc(expected)


@pytest.mark.parametrize(
    ("base", "timing", "expected"),
    [
        ("2027-03-25T17:00", After(TWO_DAYS), "2027-03-31T16:00"),
        ("2027-03-25T17:00", After(TWO_DAYS, NINE), "2027-03-31T08:00"),
        ("2027-03-25T19:00", After(TWO_DAYS, NINE), "2027-04-01T08:00"),  # sent after hours: the next day is theirs
        ("2027-03-25T19:00", After(WEEK, NINE), "2027-04-01T08:00"),
        ("2027-03-25T19:00", After(TWO_HOURS), "2027-03-25T21:00"),
    ],
)
def test_an_after_time_counts_from_the_step_before(base: str, timing: After, expected: str) -> None:
    assert add_duration(utc(base), timing, LONDON) == utc(expected)


_RULE = rule_head("extra-approval", "rights.approval_requested", "request_id")
_STEPS = """\
  - {ask: author, say: ex_ask, answers: {yes: {tell: sender, say: ex_told}}}
  - {after: 2 working days, remind: unanswered, say: ex_ask}
  - {at: respond_by, give_up: no answer in time}
"""
_TEMPLATES = {
    "ex_ask": template_text("ex_ask", "Rights in “{title}” are asked for.", "yes: Agreed"),
    "ex_told": template_text("ex_told", "Rights in “{title}” are settled."),
}


def test_working_days_are_those_of_the_slowest_of_the_people_who_are_awaited() -> None:
    """14 July is a holiday in France, and not in Britain, where the house and the other author are."""
    people = "801: {roles: [author], country: GB}\n802: {roles: [author], country: FR}"
    moves = (
        "wait until: 2027-07-12T10:00:00Z",
        "{event: rights.approval_requested, with: {respond_by: 2027-12-31}}",
        "expect: [{ask: 801}, {ask: 802}]",
        "wait until: 2027-07-15T09:59:00Z",
        "expect: nothing",
        "wait until: 2027-07-15T10:00:00Z",
        "expect: [{remind: 801}, {remind: 802}]",
    )
    assert faults_of_rule(_RULE + _STEPS, _TEMPLATES, people, *moves) == []
