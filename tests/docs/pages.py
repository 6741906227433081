"""Names in the documentation, and their places: code, links and commands of README.md, CONTRIBUTING.md and docs/."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    chain(
        (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        (ROOT / "docs").rglob("*.md"),
    )
)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Mention:
    """``text`` as written on a page; ``in_block`` where it is a line of a fenced block."""

    page: Path
    line: int
    text: str
    in_block: bool = False

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def spans(page: Path) -> Iterator[Mention]:
    """Every code span of a page, and every line of its fenced blocks."""
    for number, line, in_block in _lines(page):
        if in_block:
            yield Mention(page, number, line.strip(), in_block=True)
        else:
            yield from (Mention(page, number, text.strip()) for text in _SPAN.findall(line))


def links(page: Path) -> Iterator[Mention]:
    """The target of every link of a page."""
    for number, line, in_block in _lines(page):
        if not in_block:
            yield from (Mention(page, number, target) for target in _LINK.findall(line))


def _lines(page: Path) -> Iterator[tuple[int, str, bool]]:
    in_block = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            in_block = not in_block
        else:
            yield number, line, in_block
