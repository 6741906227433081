"""The rules of ``attached/`` check and their stories pass: a message goes with its document, or not at all."""

from pathlib import Path

import pytest

from services.rules.analysis.diff import ChangeKind, diff_stories, read_prices
from services.rules.analysis.diff_text import markdown_of
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import play_story
from services.rules.scenario.story_file import Story
from tests.services.rules.rulebooks import good_files

HOUSE = {name: text for name, text in good_files().items() if not name.startswith(("rights/", "pitch/"))}
FILES = HOUSE | read_folder(Path(__file__).parent / "attached")
CHECKED = check_files(FILES)


def test_the_rules_that_attach_documents_have_no_faults() -> None:
    assert [str(fault) for fault in CHECKED.faults] == []


@pytest.mark.parametrize("each", CHECKED.stories, ids=lambda each: each.it)
def test_a_story_about_an_attached_document_passes(each: Story) -> None:
    faults = [str(fault) for fault in play_story(each, CHECKED.rulebook)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("attached", "said"),
    [
        ("attach: {file: document.url, name: Cover.pdf, optional: true}", "goes with another document now"),
        ("", "goes without its document now"),
    ],
)
def test_a_difference_names_the_messages_that_go_with_another_document(attached: str, said: str) -> None:
    rule = "cover-proof.rule.yaml"
    old = "attach: {file: document.url, name: {field: document.title}}"
    question, reminder = FILES[rule].rsplit(f"    {old}\n", 1)
    head = FILES | {rule: f"{question}    {attached}\n{reminder}"}
    found = diff_stories(FILES, head)
    assert [(each.kind, each.message.verb) for each in found.changes] == [(ChangeKind.DOCUMENT_CHANGED, "remind")]
    comment = markdown_of(found, read_prices())
    assert "one reminder with another document" in comment
    assert said in comment
    assert "| other document |" in comment
