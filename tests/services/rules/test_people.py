"""The rules of ``people/`` pass their stories: who counts, is asked next, covers, gets a copy, or is told no more."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import Checked, check_files
from services.rules.scenario.player import play_story
from services.rules.scenario.story_file import Story
from shared.contracts.ids import RuleId
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
