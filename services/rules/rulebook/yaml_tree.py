"""A YAML 1.2 text as a tree that knows line and column of every key and value, read in bounded time and memory.

Plain ``on``, ``no`` and ``yes`` are words. Keys are always words, so ``812:`` is the key ``"812"``. The tree is built
from the events of ruamel.yaml's parser, without recursion; an alias shares the node it names.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLStreamError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode as PlainNode
from ruamel.yaml.reader import ReaderError

from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import Location

# ------------------------------------------------------------------ the tree


Plain = str | int | float | bool | date | datetime | None


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """``text`` is what was written, ``value`` what it means."""

    location: Location
    text: str
    value: Plain


@dataclass(frozen=True, slots=True)
class SequenceNode:
    location: Location
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MappingNode:
    """``keys`` has the location of each key."""

    location: Location
    nodes: Mapping[str, "Node"]
    keys: Mapping[str, Location]


Node = ScalarNode | SequenceNode | MappingNode


def location_of(node: Node, *path: str | int) -> Location:
    """The location of the single value at ``path``, or of the key of anything larger."""
    key, found = _walk(node, path)
    return found.location if isinstance(found, ScalarNode) and found.text else key


def key_location_of(node: Node, *path: str | int) -> Location:
    return _walk(node, path)[0]


def _walk(node: Node, path: tuple[str | int, ...]) -> tuple[Location, Node]:
    """The key's location and the node, as deep as the path exists in the file."""
    location = node.location
    for part in path:
        if isinstance(node, MappingNode) and part in node.nodes:
            location, node = node.keys[str(part)], node.nodes[str(part)]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.nodes):
            node = node.nodes[part]
            location = node.location
        else:
            break
    return location, node


# ------------------------------------------------------------------ the parser


DEEPEST = 50
"""Nested collections; a rule that a person writes has about ten."""
MOST_REPEATED = 100_000
"""Nodes of one file that aliases repeat."""
LARGEST_NUMBER = 2**53
"""A larger number is not exact in every reader of JSON."""

_FORBIDDEN_CHARACTERS = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def parse(file: str, text: str, report: FaultReport) -> Node | None:
    """The tree of one file; None for an empty file and for one that is no YAML, which is reported."""
    builder = _Builder(file, report)
    try:
        for event in _events(text):
            builder.take(event)
    except _Unreadable as error:
        report.add(error.location or Location(file, 1, 1), str(error))
        return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        location = Location(file, mark.line + 1, mark.column + 1) if mark else Location(file, 1, 1)
        report.add(location, f"this is not YAML: {error.problem or error.context}")
        return None
    except ReaderError as error:
        location = _location_at(file, text, error.position)
        report.add(location, f"this is not YAML: no text may hold the character U+{ord(text[error.position]):04X}")
        return None
    except (YAMLStreamError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError, TypeError):
        # the library raises these for odd escapes and directives
        report.add(builder.last, "this is not YAML")
        return None
    if builder.root is None:
        report.add(Location(file, 1, 1), "the file is empty")
    return builder.root


@cache
def _resolver() -> Any:
    """Resolves the type of a plain word by YAML 1.2; it has no state."""
    return YAML(typ="safe", pure=True).resolver


def _events(text: str) -> Iterator[Event]:
    events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    return events


def _location_at(file: str, text: str, position: int) -> Location:
    before = text[:position]
    return Location(file, before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)


class _Unreadable(Exception):
    """The file cannot be read further."""

    def __init__(self, sentence: str, location: Location | None = None) -> None:
        super().__init__(sentence)
        self.location = location


@dataclass(slots=True)
class _Open:
    """A collection that is not complete: ``key`` belongs to the next value, ``size`` includes repeated nodes."""

    location: Location
    mapping: bool
    anchor: str | None
    size: int = 1
    items: list[Node] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Location] = field(default_factory=dict)
    key: str | None = None
    awaits_value: bool = False


class _Builder:
    """``last`` is the location of the latest event."""

    def __init__(self, file: str, report: FaultReport) -> None:
        self.root: Node | None = None
        self.last = Location(file, 1, 1)
        self._file = file
        self._report = report
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._repeated = 0

    def take(self, event: Event) -> None:
        mark = event.start_mark
        location = self.last = Location(self._file, mark.line + 1, mark.column + 1) if mark else self.last
        match event:
            case ScalarEvent():
                self._keep(_scalar(event, location, self._tag_of(event), self._report), 1, event.anchor)
            case AliasEvent():
                self._repeat(event, location)
            case SequenceStartEvent() | MappingStartEvent():
                self._begin(event, location)
            case CollectionEndEvent():
                self._end()
            case DocumentStartEvent() if self.root is not None:
                raise _Unreadable("a file holds one document; a second begins here", location)
            case _:
                pass

    def _tag_of(self, event: ScalarEvent) -> str:
        if event.tag is not None and event.tag != "!":
            return str(event.tag)
        return str(_resolver().resolve(PlainNode, event.value, event.implicit))

    def _begin(self, event: NodeEvent, location: Location) -> None:
        if len(self._open) >= DEEPEST:
            raise _Unreadable(f"this is nested more than {DEEPEST} deep", location)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(location, isinstance(event, MappingStartEvent), event.anchor))

    def _end(self) -> None:
        done = self._open.pop()
        node: Node = (
            MappingNode(done.location, done.nodes, done.keys)
            if done.mapping
            else SequenceNode(done.location, tuple(done.items))
        )
        self._keep(node, done.size, done.anchor)

    def _repeat(self, event: AliasEvent, location: Location) -> None:
        if event.anchor not in self._anchors:
            raise _Unreadable(f"nothing above is anchored “&{event.anchor}”", location)
        known = self._anchors[event.anchor]
        if known is None:
            raise _Unreadable(f"“*{event.anchor}” stands within itself", location)
        node, size = known
        self._repeated += size
        if self._repeated > MOST_REPEATED:
            raise _Unreadable(f"the aliases of this file repeat more than {MOST_REPEATED:,} values", location)
        self._keep(node, size, None)

    def _keep(self, node: Node, size: int, anchor: str | None) -> None:
        """Add a complete node to its parent: as the root, an item, a key or a value."""
        if anchor is not None:
            self._anchors[anchor] = (node, size)
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.size += size
        if not parent.mapping:
            parent.items.append(node)
        elif parent.awaits_value:
            self._value(parent, node)
        else:
            self._key(parent, node)

    def _key(self, parent: _Open, node: Node) -> None:
        parent.awaits_value, parent.key = True, None
        if not isinstance(node, ScalarNode):
            self._report.add(node.location, "a key is a single word")
        elif node.text in parent.nodes:
            first = parent.keys[node.text].line
            self._report.add(node.location, f"“{node.text}” is said twice; the first is on line {first}")
        else:
            parent.key = node.text
            parent.keys[node.text] = node.location

    def _value(self, parent: _Open, node: Node) -> None:
        parent.awaits_value = False
        if parent.key is not None:
            parent.nodes[parent.key] = node


# ------------------------------------------------------------------ what a scalar means


def _instant(text: str) -> date | datetime:
    return date.fromisoformat(text) if len(text) <= len("2027-03-03") else datetime.fromisoformat(text)


def _whole(text: str) -> int:
    number = int(text.replace("_", ""), 0)
    if abs(number) > LARGEST_NUMBER:
        raise ValueError("too large")
    return number


def _fraction(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("no number")
    return number


_MEANINGS: Mapping[str, Callable[[str], Plain]] = {
    "str": str,
    "int": _whole,
    "float": _fraction,
    "bool": lambda text: text.lower() == "true",
    "null": lambda _: None,
    "timestamp": _instant,
}


def _scalar(event: Any, location: Location, tag: str, report: FaultReport) -> ScalarNode:
    """Reports a value that looks like a number or date and is none, and takes its text instead."""
    text = str(event.value)
    if found := _FORBIDDEN_CHARACTERS.search(text):
        report.add(location, f"no text may hold the character U+{ord(found[0]):04X}")
        text = _FORBIDDEN_CHARACTERS.sub("", text)
    kind = tag.rpartition(":")[2]
    read = _MEANINGS.get(kind)
    if read is None:
        report.add(location, f"“{tag}”: tags have no meaning here")
        return ScalarNode(location, text, text)
    try:
        return ScalarNode(location, text, read(text))
    except ValueError:
        written = "this" if kind == "int" else f"“{text}”"  # it may be somebody's phone number
        report.add(location, f"{written} looks like {_KINDS.get(kind, kind)}, but is none")
        return ScalarNode(location, text, text)


_KINDS = {"int": "a number", "float": "a number", "timestamp": "a date"}
