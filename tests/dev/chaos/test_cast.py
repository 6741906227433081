"""A run is possible at any hour of any day: some people are awake, and some sleep until a minute of the run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dev.chaos.cast import Cast, draw, house_files, open_at, write_rules
from services.rules.check import check_files
from services.rules.rulebook.loader import read_folder, read_rulebook

_DAYS = (datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 12, 25, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def cast_at(now: datetime) -> Cast:
    cast = draw(1, now, people=24, works=5)
    open_at(cast, now + timedelta(seconds=60))
    return cast


def test_the_rules_of_a_run_have_no_fault(tmp_path: Path) -> None:
    write_rules(cast_at(_DAYS[0]), tmp_path / "rules")
    assert check_files(read_folder(tmp_path / "rules"), tested=False).faults == ()


@pytest.mark.parametrize("day", _DAYS)
@pytest.mark.parametrize("hour", range(24))
def test_some_are_awake_and_some_sleep_until_a_minute_of_the_run(day: datetime, hour: int) -> None:
    now = day + timedelta(hours=hour, minutes=59, seconds=30)
    cast = cast_at(now)
    calendar = read_rulebook({"calendar.yaml": house_files(cast)["calendar.yaml"]}).rulebook.calendar
    opens = {
        zone: calendar.calendar_of(country=cast.country, zone=zone, roles=(), staff=True).next_open(now)
        for zone in (cast.day_zone, cast.night_zone)
    }
    assert opens == {cast.day_zone: now, cast.night_zone: cast.opens}


def test_the_same_seed_draws_the_same_people_and_works() -> None:
    first, second = (draw(3, _DAYS[0], people=24, works=9) for _ in range(2))
    assert (first.people, first.works) == (second.people, second.works)
    assert first.works != draw(4, _DAYS[0], people=24, works=9).works
