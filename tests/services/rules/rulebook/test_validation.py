"""Each file of ``mistakes/`` is named for its one mistake, and ends with the faults that are expected.

A ``name.people.yaml`` (calendar, limits, house) replaces that file of the valid rulebook; other files are added to it.
"""

from pathlib import Path

import pytest

from services.rules.rulebook.loader import SINGLES
from services.rules.scenario.folder_check import check_files
from tests.services.rules.rulebooks import good_files

MISTAKES = sorted(Path(__file__).parent.joinpath("mistakes").iterdir())
EXPECTED = "#! "


def faults_of(mistake: Path) -> list[str]:
    """The faults of the valid rulebook with this file added."""
    name = next((single for single in SINGLES if mistake.name.endswith(f".{single}")), mistake.name)
    files = good_files() | {name: mistake.read_text("utf-8")}
    return [str(fault).removeprefix(f"{name}:") for fault in check_files(files, tested=False).faults]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda path: path.name)
def test_a_mistake_is_reported_at_its_location(mistake: Path) -> None:
    lines = mistake.read_text("utf-8").splitlines()
    expected = [line.removeprefix(EXPECTED) for line in lines if line.startswith(EXPECTED)]
    assert expected, "each file names the faults that are expected"
    assert faults_of(mistake) == expected


def test_the_rulebook_without_a_mistake_has_no_fault() -> None:
    assert check_files(good_files()).faults == ()
