"""The grammar of times: what is written, and the values that it stands for. Mistakes are in ``mistakes/``."""

from contextlib import suppress
from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rules.rulebook.faults import InvalidValue
from services.rules.rulebook.model import After, At, Location
from services.rules.rulebook.times import parse_duration, read_after, read_at
from services.rules.rulebook.yaml_nodes import ScalarNode
from shared.clients.working_calendar import Duration, TimeUnit

TWO_DAYS = Duration(2, TimeUnit.WORKING_DAYS)
WEEK = Duration(1, TimeUnit.WEEKS)
NINE = time(9)


def written(text: str) -> ScalarNode:
    return ScalarNode(Location("a.rule.yaml", 1, 1), text, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("respond_by", At("respond_by")),
        ("2 working days before new_due", At("new_due", TWO_DAYS, -1)),
        ("the 2nd working day before new_due", At("new_due", TWO_DAYS, -1)),
        ("1 week after new_due", At("new_due", WEEK, 1)),
        ("09:00 on respond_by", At("respond_by", clock=NINE)),
        ("9:00 on chain.respond_by", At("chain.respond_by", clock=NINE)),
        ("09:00 on the 2nd working day before new_due", At("new_due", TWO_DAYS, -1, NINE)),
        ("09:00 on 2 working days before new_due", At("new_due", TWO_DAYS, -1, NINE)),
        ("09:00  on the week after  new_due", At("new_due", WEEK, 1, NINE)),
    ],
)
def test_at_is_a_field_an_offset_or_a_clock_time(text: str, expected: At) -> None:
    assert read_at(written(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 working days", After(TWO_DAYS)),
        ("1 week", After(WEEK)),
        ("2 working days at 09:00", After(TWO_DAYS, NINE)),
        ("1 week at 9:00", After(WEEK, NINE)),
    ],
)
def test_after_is_a_duration_perhaps_to_a_clock_time(text: str, expected: After) -> None:
    assert read_after(written(text)) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("9am on respond_by", "write 09:00"),
        ("12 pm on respond_by", "write 12:00"),
        ("9.30 on respond_by", "write 09:30"),
        ("14h on respond_by", "write 14:00"),
        ("respond_by at 09:00", "write “09:00 on respond_by”"),
        ("tomorrow at noon", "like “5 working days before new_due”"),
    ],
)
def test_a_time_written_otherwise_names_the_nearest_right_form(text: str, hint: str) -> None:
    with pytest.raises(InvalidValue, match=hint):
        read_at(written(text))


@pytest.mark.parametrize("text", ["521 weeks", "0 weeks", "3651 days", "1 fortnight", "weeks", "two weeks"])
def test_a_duration_is_a_number_and_a_unit_within_ten_years(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_duration(text)


@given(st.text(alphabet="0123456789:. adefghiknorstwy_", max_size=60))
def test_every_text_is_read_as_a_time_or_a_fault(text: str) -> None:
    for read in (read_at, read_after):
        with suppress(InvalidValue):
            assert read(written(text))
