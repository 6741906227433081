"""Readers of single values: each reports what it cannot read and returns something harmless in its location."""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import TypeVar

from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import NOWHERE, Field, Literal, Location
from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode, SequenceNode

SANE_YEARS = range(1970, 2200)
"""Years a calendar or a story of this house can be about."""

Word = TypeVar("Word", bound=StrEnum)


class Part:
    """One mapping of a file, whose unknown keys are reported as soon as it is opened."""

    def __init__(self, node: Node | None, what: str, known: Collection[str], report: FaultReport) -> None:
        self.what = what
        self.report = report
        self.location = node.location if node else NOWHERE
        self.keys: Mapping[str, Location] = {}
        self._nodes: Mapping[str, Node] = {}
        if isinstance(node, MappingNode):
            self.keys, self._nodes = node.keys, node.nodes
            self._refuse_unknown(known)
        elif node:
            report.add(node.location, f"{what} is a mapping of {', '.join(known)}")

    def _refuse_unknown(self, known: Collection[str]) -> None:
        for key in self._nodes:
            if key not in known:
                self.report.unknown(self.keys[key], f"{self.what} has no “{key}”", key, known)

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def get(self, key: str) -> Node | None:
        return self._nodes.get(key)

    def need(self, key: str) -> Node | None:
        if key not in self._nodes and self.location is not NOWHERE:
            self.report.add(self.location, f"{self.what} needs “{key}”")
        return self._nodes.get(key)

    def where(self, key: str) -> Location:
        return self.keys.get(key, self.location)


def text(node: Node | None, report: FaultReport) -> str:
    if node is None:
        return ""
    if isinstance(node, ScalarNode) and node.text and node.value is not None:
        return node.text
    report.add(node.location, "a text belongs here")
    return ""


def texts(node: Node | None, report: FaultReport) -> tuple[str, ...]:
    """One text or a list of them."""
    return tuple(text(each, report) for each in listed(node))


def listed(node: Node | None) -> tuple[Node, ...]:
    match node:
        case None:
            return ()
        case SequenceNode():
            return node.nodes
        case _:
            return (node,)


def mapped(node: Node | None, report: FaultReport, what: str) -> Mapping[str, Node]:
    """A mapping whose keys are the author's own."""
    if isinstance(node, MappingNode):
        return node.nodes
    if node is not None:
        report.add(node.location, f"{what} is a mapping")
    return {}


def flag(node: Node | None, report: FaultReport) -> bool:
    if node is None:
        return False
    if isinstance(node, ScalarNode) and isinstance(node.value, bool):
        return node.value
    report.add(node.location, "true or false belongs here")
    return False


def number(node: Node | None, report: FaultReport, *, least: int = 1) -> int:
    """A whole number; ``least`` where it is none."""
    if node is None:
        return least
    if isinstance(node, ScalarNode) and type(node.value) is int and node.value >= least:
        return node.value
    report.add(node.location, f"a whole number belongs here, at least {least}")
    return least


def day(node: Node | None, report: FaultReport) -> date | None:
    if node is None:
        return None
    if isinstance(node, ScalarNode) and isinstance(node.value, date) and not isinstance(node.value, datetime):
        if node.value.year in SANE_YEARS:
            return node.value
        report.add(node.location, f"this date lies outside of {SANE_YEARS[0]} to {SANE_YEARS[-1]}")
        return None
    report.add(node.location, "a date belongs here, like 2027-03-19")
    return None


def word(node: Node | None, words: type[Word], report: FaultReport, default: Word) -> Word:
    if node is None:
        return default
    written = node.text if isinstance(node, ScalarNode) else ""
    if written in list(words):
        return words(written)
    known = ", ".join(words)
    report.unknown(node.location, f"“{written}” is none of {known}", written, list(words))
    return default


def literal(node: Node, report: FaultReport) -> Literal:
    if isinstance(node, ScalarNode) and node.value is not None:
        return node.value
    report.add(node.location, "a single value belongs here")
    return ""


def literal_or_field(node: Node, report: FaultReport) -> Literal | Field:
    """``approved``, or ``{field: x}``."""
    if isinstance(node, MappingNode):
        part = Part(node, "a value", ("field",), report)
        return field(part.need("field"), report)
    return literal(node, report)


def field(node: Node | None, report: FaultReport) -> Field:
    return Field(text(node, report), node.location if node else NOWHERE)


def is_field(node: Node | None) -> bool:
    return isinstance(node, MappingNode) and "field" in node.nodes


def choice_or_field(node: Node | None, words: type[Word], report: FaultReport, default: Word) -> Word | Field:
    if isinstance(node, MappingNode):
        return field(Part(node, "a value", ("field",), report).need("field"), report)
    return word(node, words, report, default)
