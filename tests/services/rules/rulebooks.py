"""The small rulebook of these tests, and all folders of rules that have stories."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import FORM, RULE, STORIES, read_folder
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.story_file import Story

BOOK = Path(__file__).parent / "book"
RULES = Path(__file__).parents[3] / "rules"
EXAMPLES = Path(os.environ.get("STET_RULE_EXAMPLES", RULES.parents[1] / "shared/rules-examples"))
LANGUAGE_FOLDERS = sorted(
    path for path in (Path(__file__).parent / "language").iterdir() if path.is_dir() and list(path.glob("*.rule.yaml"))
)
Files = Mapping[str, str]


def good_files() -> dict[str, str]:
    return read_folder(BOOK)


def good_book() -> Rulebook:
    rulebook, faults = load(good_files())
    assert rulebook is not None, faults
    return rulebook


def story_folders() -> Iterator[tuple[str, Rulebook, Sequence[Story]]]:
    """The folders of rules in this repository, each with its rulebook and its stories; the examples where they are."""
    for name, house, own in _folders():
        checked = check_files({**house, **own}, tested=False)
        assert checked.faults == (), (name, checked.faults)
        yield name, checked.rulebook, [story for story in checked.stories if story.location.file in own]


def _folders() -> Iterator[tuple[str, Files, Files]]:
    yield "rules", {}, read_folder(RULES)
    for folder in LANGUAGE_FOLDERS:
        yield folder.name, good_files(), read_folder(folder)
    if EXAMPLES.is_dir():
        yield EXAMPLES.name, {}, example_files()


def example_files() -> Files:
    """The example rules, with the templates and the ``house.yaml`` of the shipped rules, which they do not contain."""
    report = FaultReport()
    examples, shipped = read_folder(EXAMPLES, report), read_folder(RULES, report)
    assert not report.faults
    named = {file.rpartition("/")[2] for file in examples}
    missing = {
        file: text
        for file, text in shipped.items()
        if file.rpartition("/")[2] not in named and not file.endswith((RULE, FORM, STORIES))
    }
    return missing | examples
