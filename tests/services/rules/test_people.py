"""The rules of ``people/`` pass their stories: who counts, is asked next, covers, gets a copy, or is told no more."""

from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

import pytest

from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import Checked, check_files
from services.rules.scenario.player import play_story
from services.rules.scenario.story_file import Story
from shared.contracts.ids import RuleId
from tests.services.rules.delayed_dispatcher import DelayedStory
from tests.services.rules.rulebooks import good_files

FOLDER = Path(__file__).parent / "people"


@lru_cache(maxsize=1)
def checked_folder() -> Checked:
    house = {name: text for name, text in good_files().items() if not name.startswith(("rights/", "pitch/"))}
    return check_files(house | read_folder(FOLDER))


def test_the_rules_about_people_have_no_faults() -> None:
    assert [str(fault) for fault in checked_folder().faults] == []


@lru_cache(maxsize=1)
def rulebook_of(rule: str) -> Rulebook:
    """One rule at a time, since they start by the same event."""
    book = checked_folder().rulebook
    return replace(book, rules={RuleId(rule): book.rules[RuleId(rule)]})


@pytest.mark.parametrize("each", checked_folder().stories, ids=lambda each: f"{each.rule}: {each.it}")
def test_a_story_about_people_passes(each: Story) -> None:
    faults = [str(fault) for fault in play_story(each, rulebook_of(each.rule))]
    assert not faults, "\n".join(faults)


def test_a_notice_that_is_read_after_an_outage_means_the_days_as_they_were_when_it_was_written() -> None:
    people = (
        "40: {name: Rosalind Achebe, roles: [rights_manager], country: GB}\n"
        "22: {name: Tom Price, roles: [production_coordinator], country: GB}"
    )
    story = DelayedStory(people, rule="who-covers", book=rulebook_of("who-covers"))  # on Wednesday, 3 March 2027
    story.simulation.read_late = timedelta(days=5)
    story.play("reply: {from: 40, text: 'Away till Thursday, Tom covers'}")
    absence = story.simulation.facts.absences[story.person(40)]
    assert (absence.first, absence.last) == (date(2027, 2, 26), date(2027, 3, 4))
    story.simulation.read_late = timedelta(days=1)
    story.play("reply: {from: 40, text: I am back}")
    assert story.simulation.facts.absences[story.person(40)].returned_on == date(2027, 3, 2)
