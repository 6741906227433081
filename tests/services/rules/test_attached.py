"""The rules of ``attached/`` check and their stories pass: a message goes with its document, or not at all."""

from pathlib import Path

import pytest

from services.rules.analysis.diff import ChangeKind, diff_stories, read_prices
from services.rules.analysis.diff_text import markdown_of, rows_of
from services.rules.conversation.context import Decision
from services.rules.matching.conditions import FieldValues
from services.rules.matching.matcher import Matcher
from services.rules.rollout.differences import DifferenceKind, compare_decisions
from services.rules.rulebook.model import Condition
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import StoryPlayer, play_story
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


REQUIRED = "attach: {file: document.url, name: {field: document.title}}"
OTHER = "attach: {file: document.url, name: Cover.pdf}"
OPTIONAL = "attach: {file: document.url, name: {field: document.title}, optional: true}"


def with_reminder(attached: str) -> dict[str, str]:
    """The files, where the reminder of the rule goes with this document."""
    rule = "cover-proof.rule.yaml"
    question, reminder = FILES[rule].rsplit(f"    {REQUIRED}\n", 1)
    return FILES | {rule: f"{question}    {attached}\n{reminder}"}


@pytest.mark.parametrize(
    ("base", "head", "document", "said"),
    [
        ("", REQUIRED, "added", "goes with a document now"),
        (REQUIRED, "", "removed", "goes without its document now"),
        (REQUIRED, OTHER, "changed", "goes with another document now"),
        (REQUIRED, OPTIONAL, "optional", "goes also without its document now, where that cannot be had"),
        (OPTIONAL, REQUIRED, "needed", "waits for its document now, and does not go without it"),
    ],
)
def test_a_difference_names_the_messages_that_go_with_another_document(
    base: str, head: str, document: str, said: str
) -> None:
    found = diff_stories(with_reminder(base), with_reminder(head))
    assert [(each.kind, each.message.verb) for each in found.changes] == [(ChangeKind.DOCUMENT_CHANGED, "remind")]
    assert [row["document"] for row in rows_of(found)] == [document]
    comment = markdown_of(found, read_prices())
    assert comment.startswith("### 1 message with another document, for 1 person")
    assert "one reminder with another document" in comment
    assert said in comment
    assert "| with another document |" in comment


class Decisions:
    """Keeps what is decided in a story."""

    def __init__(self) -> None:
        self.made: list[Decision] = []

    def matcher(self, matcher: Matcher) -> Matcher:
        return matcher

    def observe_condition(self, condition: Condition, values: FieldValues) -> None:
        pass

    def observe_decision(self, decision: Decision) -> None:
        self.made.append(decision)


def decisions_of(files: dict[str, str]) -> list[Decision]:
    each, observer = CHECKED.stories[0], Decisions()
    play_observed = StoryPlayer.of(each, check_files(files).rulebook, observer)
    for step in each.steps:
        play_observed.play(step)
    return observer.made


@pytest.mark.parametrize(
    ("head", "kinds"),
    [
        (REQUIRED, set()),
        (OTHER, {DifferenceKind.DOCUMENT_CHANGED}),
        (OPTIONAL, {DifferenceKind.DOCUMENT_CHANGED}),
        ("", {DifferenceKind.DOCUMENT_CHANGED, DifferenceKind.MESSAGE_REWORDED}),  # its template goes with one alone
    ],
)
def test_a_trial_counts_the_messages_that_go_with_another_document(head: str, kinds: set[DifferenceKind]) -> None:
    decided = zip(decisions_of(FILES), decisions_of(with_reminder(head)), strict=True)
    found = {key for acting, proposed in decided for key in compare_decisions(acting, proposed)}
    assert found == {("cover-proof", kind) for kind in kinds}
