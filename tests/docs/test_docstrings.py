"""Docstrings and names of tests begin with the thing they describe, and texts about code name their subject."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT

_FOLDERS = ("services", "shared", "ops", "dev", "bench", "tests")
_WHAT = re.compile(r"What(ever)?\b")
_RELATIVE = re.compile(r"[.;:]\s+(?:What|Who)(?:ever)?\b[^.?]*(?:\.|\Z)")
"""A sentence that is no question: its subject is a clause, and its verb comes late."""
_STRING = re.compile(r'^([^\n]*?)"{3}(.*?)"{3}', re.MULTILINE | re.DOTALL)
"""A long string with what stands before it in its line; that is nothing for a docstring. Parsing costs seconds."""
_COMMENTS = {".py": re.compile(r"(?:^|\s)#:? (.*)$", re.MULTILINE), ".sql": re.compile(r"--(.*)$", re.MULTILINE)}
_UNNAMED = re.compile(r"\b((some|no|any|every)body|(some|any)one|no one|who(m|se)?ever)\b", re.IGNORECASE)
"""A reader has to guess who or what is meant: a person, a recipient, another replica, another rule."""
_TEST_NAME = re.compile(r"\bdef (test_\w+)\(")
_CLAUSE_NAME = re.compile(r"test_(?:what|who|whom|whose)(?:ever)?_")
"""A name whose subject is a clause: the thing under test comes late, or not at all."""


@cache
def _texts() -> list[tuple[Path, str]]:
    """Every file of code but migrations, which never change once they are applied."""
    paths = (path for folder in _FOLDERS for path in sorted((ROOT / folder).rglob("*.*")) if path.suffix in _COMMENTS)
    return [(path, path.read_text("utf-8")) for path in paths if "migrations" not in path.parts]


def _place(path: Path, text: str, at: int) -> str:
    return f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, at) + 1}"


def _docstrings() -> Iterator[tuple[str, str]]:
    """The place and the text of each."""
    for path, text in _texts():
        if path.suffix == ".py":
            for found in _STRING.finditer(text):
                if found[1].strip() in {"", "r"}:
                    yield _place(path, text, found.start(2)), found[2].lstrip()


def _comments() -> Iterator[tuple[str, str]]:
    for path, text in _texts():
        for found in _COMMENTS[path.suffix].finditer(text):
            yield _place(path, text, found.start()), found[1]


def test_no_docstring_begins_with_what() -> None:
    found = list(_docstrings())
    assert len(found) > 4000
    assert [place for place, text in found if _WHAT.match(text)] == []


def test_no_sentence_of_a_docstring_begins_with_a_relative_clause() -> None:
    assert [place for place, text in _docstrings() if _RELATIVE.search(text)] == []


def test_docstrings_and_comments_name_their_subject() -> None:
    comments = list(_comments())
    assert len(comments) > 2000
    assert [place for place, text in (*_docstrings(), *comments) if _UNNAMED.search(text)] == []


def test_names_of_tests_begin_with_their_subject() -> None:
    names = [(path, name) for path, text in _texts() for name in _TEST_NAME.findall(text)]
    assert len(names) > 2500
    assert [f"{path.relative_to(ROOT)}: {name}" for path, name in names if _CLAUSE_NAME.match(name)] == []
