"""Docstrings begin with the thing they describe."""

import ast
import re
from collections.abc import Iterator

from tests.docs.pages import ROOT

_FOLDERS = ("services", "shared", "ops", "dev", "bench", "tests")
_WHAT = re.compile(r"What(ever)?\b")
_DESCRIBED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _docstrings() -> Iterator[tuple[str, str]]:
    for folder in _FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                text = ast.get_docstring(node) if isinstance(node, _DESCRIBED) else None
                if text is not None:
                    yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text


def test_no_docstring_begins_with_what() -> None:
    found = list(_docstrings())
    assert len(found) > 2000
    assert [place for place, text in found if _WHAT.match(text)] == []
