"""A run is possible at any hour of any day: some people are awake, and some sleep until a minute of the run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dev.chaos.population import Population, draw_population, publisher_files, set_opening, write_rules
from services.rules.rulebook.loader import read_rulebook
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files

_DAYS = (datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 12, 25, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def population_at(now: datetime) -> Population:
    population = draw_population(1, now, people=24, works=5)
    set_opening(population, now + timedelta(seconds=60))
    return population


def test_the_rules_of_a_run_have_no_fault(tmp_path: Path) -> None:
    write_rules(population_at(_DAYS[0]), tmp_path / "rules")
    assert [str(fault) for fault in check_files(read_folder(tmp_path / "rules"), tested=False).faults] == []


@pytest.mark.parametrize("day", _DAYS)
@pytest.mark.parametrize("hour", range(24))
def test_some_are_awake_and_some_sleep_until_a_minute_of_the_run(day: datetime, hour: int) -> None:
    now = day + timedelta(hours=hour, minutes=59, seconds=30)
    population = population_at(now)
    calendar = read_rulebook({"calendar.yaml": publisher_files(population)["calendar.yaml"]}).rulebook.calendar
    opens = {
        zone: calendar.calendar_of(country=population.country, zone=zone, roles=(), staff=True).next_open(now)
        for zone in (population.day_zone, population.night_zone)
    }
    assert opens == {population.day_zone: now, population.night_zone: population.opens}


def test_the_same_seed_draws_the_same_people_and_works() -> None:
    first, second = (draw_population(3, _DAYS[0], people=24, works=9) for _ in range(2))
    assert (first.people, first.works) == (second.people, second.works)
    assert first.works != draw_population(4, _DAYS[0], people=24, works=9).works
