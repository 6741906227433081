"""The rules of ``attached/`` check and their stories pass: a message goes with its document, or not at all."""

from pathlib import Path

import pytest

from services.rules.rulebook.loader import read_folder
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import play_story
from services.rules.scenario.story_file import Story
from tests.services.rules.rulebooks import good_files

HOUSE = {name: text for name, text in good_files().items() if not name.startswith(("rights/", "pitch/"))}
CHECKED = check_files(HOUSE | read_folder(Path(__file__).parent / "attached"))


def test_the_rules_that_attach_documents_have_no_faults() -> None:
    assert [str(fault) for fault in CHECKED.faults] == []


@pytest.mark.parametrize("each", CHECKED.stories, ids=lambda each: each.it)
def test_a_story_about_an_attached_document_passes(each: Story) -> None:
    faults = [str(fault) for fault in play_story(each, CHECKED.rulebook)]
    assert not faults, "\n".join(faults)
