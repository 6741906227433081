"""Each file of ``mistakes/`` is named for its one mistake and says, in its last lines, what the checker must answer.

A ``name.people.yaml`` (calendar, limits, house) takes the place of the book's own; any other file is added to the book.
"""

from pathlib import Path

import pytest

from services.rules.check import check_files
from services.rules.rulebook.loader import SINGLES
from tests.services.rules.books import good_files

MISTAKES = sorted(Path(__file__).parent.joinpath("mistakes").iterdir())
SAYS = "#! "


def told(mistake: Path) -> list[str]:
    """The faults of the good book with this one mistake in it."""
    name = next((single for single in SINGLES if mistake.name.endswith(f".{single}")), mistake.name)
    files = good_files() | {name: mistake.read_text("utf-8")}
    return [str(fault).removeprefix(f"{name}:") for fault in check_files(files, tested=False).faults]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda path: path.name)
def test_a_mistake_is_told(mistake: Path) -> None:
    lines = mistake.read_text("utf-8").splitlines()
    expected = [line.removeprefix(SAYS) for line in lines if line.startswith(SAYS)]
    assert expected, "a mistake says what is answered to it"
    assert told(mistake) == expected


def test_the_book_itself_has_none() -> None:
    assert check_files(good_files()).faults == ()
