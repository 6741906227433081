"""Each folder of ``mistakes/`` is named for its one mistake; ``expected.txt`` has the faults that are said of it.
The folders of ``correct/`` have none.

Its files are laid over the valid rulebook: people.yaml, calendar.yaml, limits.yaml and house.yaml replace those, other
files are added. ``STET_WRITE_EXPECTED=1`` writes the faults as they are now, to be read in the difference.
"""

import os
from pathlib import Path

import pytest

from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files
from tests.services.rules.rulebooks import good_files

MISTAKES = sorted(Path(__file__).parent.joinpath("mistakes").iterdir())
CORRECT = sorted(Path(__file__).parent.joinpath("correct").iterdir())
EXPECTED = "expected.txt"


def faults_of(mistake: Path) -> str:
    """The faults of the valid rulebook with these files, a line for each."""
    report = FaultReport()
    files = good_files() | read_folder(mistake, report, misnamed=True)
    report.faults += check_files(files, tested=False).faults
    return "".join(f"{fault}\n" for fault in report.sorted())


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda path: path.name)
def test_a_mistake_is_said_at_its_place_and_nothing_else_is(mistake: Path) -> None:
    said, expected = faults_of(mistake), mistake / EXPECTED
    if os.environ.get("STET_WRITE_EXPECTED"):
        expected.write_text(said, "utf-8")
    assert said, "each folder has a mistake"
    assert said == expected.read_text("utf-8")


@pytest.mark.parametrize("folder", CORRECT, ids=lambda path: path.name)
def test_unusual_and_correct_files_have_no_fault(folder: Path) -> None:
    assert faults_of(folder) == ""


def test_the_rulebook_without_a_mistake_has_no_fault() -> None:
    assert check_files(good_files()).faults == ()
