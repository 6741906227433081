"""Readers of single values: each reports what it cannot read and returns something harmless in its place."""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import TypeVar

from services.rules.language.faults import Report
from services.rules.language.nodes import Entries, Items, Node, Scalar
from services.rules.terms import NOWHERE, Field, Literal, Place

SANE_YEARS = range(1970, 2200)
"""Years a calendar or a story of this house can be about."""

Word = TypeVar("Word", bound=StrEnum)


class Part:
    """One mapping of a file, whose unknown keys are reported as soon as it is opened."""

    def __init__(self, node: Node | None, what: str, known: Collection[str], report: Report) -> None:
        self.what = what
        self.report = report
        self.place = node.place if node else NOWHERE
        self.keys: Mapping[str, Place] = {}
        self._nodes: Mapping[str, Node] = {}
        if isinstance(node, Entries):
            self.keys, self._nodes = node.keys, node.nodes
            self._refuse_unknown(known)
        elif node:
            report.add(node.place, f"{what} is a mapping of {', '.join(known)}")

    def _refuse_unknown(self, known: Collection[str]) -> None:
        for key in self._nodes:
            if key not in known:
                self.report.unknown(self.keys[key], f"{self.what} has no “{key}”", key, known)

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def get(self, key: str) -> Node | None:
        return self._nodes.get(key)

    def need(self, key: str) -> Node | None:
        if key not in self._nodes and self.place is not NOWHERE:
            self.report.add(self.place, f"{self.what} needs “{key}”")
        return self._nodes.get(key)

    def where(self, key: str) -> Place:
        return self.keys.get(key, self.place)


def text(node: Node | None, report: Report) -> str:
    if node is None:
        return ""
    if isinstance(node, Scalar) and node.text and node.value is not None:
        return node.text
    report.add(node.place, "a text belongs here")
    return ""


def texts(node: Node | None, report: Report) -> tuple[str, ...]:
    """One text or a list of them."""
    return tuple(text(each, report) for each in listed(node))


def listed(node: Node | None) -> tuple[Node, ...]:
    match node:
        case None:
            return ()
        case Items():
            return node.nodes
        case _:
            return (node,)


def mapped(node: Node | None, report: Report, what: str) -> Mapping[str, Node]:
    """A mapping whose keys are the author's own."""
    if isinstance(node, Entries):
        return node.nodes
    if node is not None:
        report.add(node.place, f"{what} is a mapping")
    return {}


def flag(node: Node | None, report: Report) -> bool:
    if node is None:
        return False
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    report.add(node.place, "true or false belongs here")
    return False


def number(node: Node | None, report: Report, *, least: int = 1) -> int:
    """A whole number; ``least`` where it is none."""
    if node is None:
        return least
    if isinstance(node, Scalar) and type(node.value) is int and node.value >= least:
        return node.value
    report.add(node.place, f"a whole number belongs here, at least {least}")
    return least


def day(node: Node | None, report: Report) -> date | None:
    if node is None:
        return None
    if isinstance(node, Scalar) and isinstance(node.value, date) and not isinstance(node.value, datetime):
        if node.value.year in SANE_YEARS:
            return node.value
        report.add(node.place, f"this date lies outside of {SANE_YEARS[0]} to {SANE_YEARS[-1]}")
        return None
    report.add(node.place, "a date belongs here, like 2027-03-19")
    return None


def word(node: Node | None, words: type[Word], report: Report, default: Word) -> Word:
    if node is None:
        return default
    written = node.text if isinstance(node, Scalar) else ""
    if written in list(words):
        return words(written)
    known = ", ".join(words)
    report.unknown(node.place, f"“{written}” is none of {known}", written, list(words))
    return default


def literal(node: Node, report: Report) -> Literal:
    if isinstance(node, Scalar) and node.value is not None:
        return node.value
    report.add(node.place, "a single value belongs here")
    return ""


def literal_or_field(node: Node, report: Report) -> Literal | Field:
    """``approved``, or ``{field: x}``."""
    if isinstance(node, Entries):
        part = Part(node, "a value", ("field",), report)
        return field(part.need("field"), report)
    return literal(node, report)


def field(node: Node | None, report: Report) -> Field:
    return Field(text(node, report), node.place if node else NOWHERE)


def is_field(node: Node | None) -> bool:
    return isinstance(node, Entries) and "field" in node.nodes


def choice_or_field(node: Node | None, words: type[Word], report: Report, default: Word) -> Word | Field:
    if isinstance(node, Entries):
        return field(Part(node, "a value", ("field",), report).need("field"), report)
    return word(node, words, report, default)
