"""The small rulebook that these tests read, and how one file of it is made wrong."""

from pathlib import Path

from services.rules.rulebook.loader import load, read_folder
from services.rules.rulebook.model import Rulebook

BOOK = Path(__file__).parent / "book"


def good_files() -> dict[str, str]:
    return read_folder(BOOK)


def good_book() -> Rulebook:
    rulebook, faults = load(good_files())
    assert rulebook is not None, faults
    return rulebook
