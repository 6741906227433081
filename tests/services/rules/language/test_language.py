"""Each folder beside this file is a part of the language: rules with their stories, over the small rulebook."""

from pathlib import Path

import pytest

from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import play_story
from tests.services.rules.rulebooks import LANGUAGE_FOLDERS, good_files


@pytest.mark.parametrize("folder", LANGUAGE_FOLDERS, ids=lambda folder: folder.name)
def test_a_part_of_the_language_checks_and_plays(folder: Path) -> None:
    own = read_folder(folder)
    checked = check_files(good_files() | own)
    assert [str(fault) for fault in checked.faults] == []
    stories = [story for story in checked.stories if story.location.file in own]
    assert [str(fault) for story in stories for fault in play_story(story, checked.rulebook)] == []
