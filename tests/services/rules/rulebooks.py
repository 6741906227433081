"""The small rulebook of these tests, and how one of its files is made wrong."""

from pathlib import Path

from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder

BOOK = Path(__file__).parent / "book"


def good_files() -> dict[str, str]:
    return read_folder(BOOK)


def good_book() -> Rulebook:
    rulebook, faults = load(good_files())
    assert rulebook is not None, faults
    return rulebook
