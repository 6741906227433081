"""Each rule file that docs/rules shows is valid, and its stories come true, beside the shipped people and texts.

All pages together are one folder, which is checked once. A page that shows a file of which a folder has one, such as
limits.yaml, is a folder of its own. The stories of a page are played with the rules of that page alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from services.rules.rulebook.rule_folder import SINGLES
from services.rules.scenario.folder_check import Checked, check_files
from services.rules.scenario.player import play_story
from tests.docs import sample_pull_request
from tests.docs.pages import ROOT
from tests.docs.rule_page_outputs import remade, shared_files
from tests.docs.rule_snippets import PAGES, Snippet, files_of, snippets

SHOWN: dict[Path, list[Snippet]] = {page: found for page in PAGES if (found := list(snippets(page)))}
ALONE = {page for page, shown in SHOWN.items() if any(snippet.name in SINGLES for snippet in shown)}


@cache
def checked(page: Path | None) -> Checked:
    """The folder of this page alone; None for that of all the others."""
    shown = SHOWN[page] if page else [each for other in SHOWN if other not in ALONE for each in SHOWN[other]]
    return check_files(shared_files() | files_of(shown))


def each_page() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.relative_to(ROOT / "docs/rules").as_posix())


def faults_of(page: Path) -> Iterator[str]:
    """With the place on the page instead of that in the file."""
    shown = {snippet.name: snippet for snippet in SHOWN[page]}
    for fault in checked(page if page in ALONE else None).faults:
        if (snippet := shown.get(fault.location.file)) is not None:
            yield f"docs/{page.relative_to(ROOT / 'docs')}:{snippet.line + fault.location.line - 1}: {fault}"


@each_page()
def test_each_block_of_yaml_has_the_name_of_its_file(page: Path) -> None:
    assert [snippet.place for snippet in SHOWN[page] if not snippet.name] == []


def test_no_two_pages_show_different_files_of_one_name() -> None:
    known: dict[str, Path] = {}
    for page, shown in SHOWN.items():
        for name in files_of(shown).keys() - set(SINGLES):
            assert known.setdefault(name, page) == page, f"{name} is shown by {known[name].name} and {page.name}"


@each_page()
def test_the_files_of_a_page_are_valid(page: Path) -> None:
    assert list(faults_of(page)) == []


@each_page()
def test_the_stories_of_a_page_come_true(page: Path) -> None:
    folder, own = checked(page if page in ALONE else None), files_of(SHOWN[page])
    rules = {name: rule for name, rule in folder.rulebook.rules.items() if rule.location.file in own}
    book = replace(folder.rulebook, rules=rules)
    stories = [story for story in folder.stories if story.rule in rules]

    assert {story.rule for story in stories} == set(rules)
    assert rules
    assert [str(fault) for story in stories for fault in play_story(story, book)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT / "docs/rules").as_posix())
def test_a_page_shows_what_its_commands_print_and_what_its_people_read(page: Path) -> None:
    assert remade(page) == page.read_text("utf-8"), "run: make rule-pages"


def test_the_sample_pull_request_was_made_from_the_rules_as_they_are() -> None:
    assert f"<!-- made from {sample_pull_request.made_from()} -->" in sample_pull_request.PAGE.read_text("utf-8"), (
        "run: make rule-pages"
    )
    assert sample_pull_request.PICTURE.read_text("utf-8") == sample_pull_request.picture(), "run: make rule-pages"
