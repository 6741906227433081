"""Docstrings begin with the thing they describe."""

import re
from collections.abc import Iterator

from tests.docs.pages import ROOT

_FOLDERS = ("services", "shared", "ops", "dev", "bench", "tests")
_WHAT = re.compile(r"What(ever)?\b")
_BEGINNING = re.compile(r'^ *[rR]?"""\s*(\w+)', re.MULTILINE)
"""A string that begins a line: a docstring, of a module, class or function as of a constant. Parsing costs seconds."""


def _docstrings() -> Iterator[tuple[str, str]]:
    """The place and the first word of each."""
    for folder in _FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text("utf-8")
            for found in _BEGINNING.finditer(text):
                yield f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}", found[1]


def test_no_docstring_begins_with_what() -> None:
    found = list(_docstrings())
    assert len(found) > 4000
    assert [place for place, word in found if _WHAT.match(word)] == []
