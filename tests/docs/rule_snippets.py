"""The rule files that the pages of docs/rules show: each block of YAML, named in the line before it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT

PAGES = sorted((ROOT / "docs/rules").rglob("*.md"))
_BLOCK = re.compile(r"(?P<before>[^\n]*)\n+```(?P<kind>\w+)[^\n]*\n(?P<text>.*?)\n```", re.DOTALL)
_NAME = re.compile(r"`rules/(\S+\.yaml)`[^`]*:$")


@dataclass(frozen=True)
class Snippet:
    """``name`` is the file's below ``rules``; empty where the page does not say it."""

    page: Path
    line: int
    name: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page: Path) -> Iterator[Snippet]:
    """The blocks of YAML of a page; a file that is shown again stands for the one before."""
    text = page.read_text("utf-8")
    for block in _BLOCK.finditer(text):
        if block["kind"] == "yaml":
            named = _NAME.search(block["before"])
            line = text.count("\n", 0, block.start("text")) + 1
            yield Snippet(page, line, named[1] if named else "", block["text"] + "\n")


def files_of(shown: Iterable[Snippet]) -> dict[str, str]:
    """The files by name, as they are at the end of the page."""
    return {snippet.name: snippet.text for snippet in shown}
