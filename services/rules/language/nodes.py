"""A YAML 1.2 text as a tree that remembers line and column, every key's included.

Plain ``on``, ``no`` and ``yes`` are words. Keys are always words, so ``812:`` is the key ``"812"``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode

from services.rules.language.faults import Report
from services.rules.terms import Place

Plain = str | int | float | bool | date | datetime | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """``text`` is what was written, ``value`` what it means."""

    place: Place
    text: str
    value: Plain


@dataclass(frozen=True, slots=True)
class Items:
    place: Place
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """``keys`` says where each key stands."""

    place: Place
    nodes: Mapping[str, "Node"]
    keys: Mapping[str, Place]


Node = Scalar | Items | Entries


def parse(file: str, text: str, report: Report) -> Node | None:
    """The tree of one file; None where it is no YAML, or nothing, which is reported."""
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        report.add(place, f"this is not YAML: {error.problem or error.context}")
        return None
    except YAMLError:
        report.add(Place(file, 1, 1), "this is not YAML")
        return None
    if root is None:
        report.add(Place(file, 1, 1), "the file is empty")
        return None
    return _converted(file, root, report)


def place_of(node: Node, *path: str | int) -> Place:
    """Where the word at ``path`` stands, or the key of what is more than a word."""
    key, found = _walked(node, path)
    return found.place if isinstance(found, Scalar) and found.text else key


def key_of(node: Node, *path: str | int) -> Place:
    return _walked(node, path)[0]


def _walked(node: Node, path: tuple[str | int, ...]) -> tuple[Place, Node]:
    """As far as the path goes in what was written."""
    place = node.place
    for part in path:
        if isinstance(node, Entries) and part in node.nodes:
            place, node = node.keys[str(part)], node.nodes[str(part)]
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.nodes):
            node = node.nodes[part]
            place = node.place
        else:
            break
    return place, node


def _converted(file: str, node: YamlNode, report: Report) -> Node:
    place = Place(file, node.start_mark.line + 1, node.start_mark.column + 1)
    match node:
        case ScalarNode():
            return Scalar(place, node.value, _meaning(node, place, report))
        case SequenceNode():
            return Items(place, tuple(_converted(file, item, report) for item in node.value))
        case MappingNode():
            return _entries(file, node, place, report)
        case _:
            raise TypeError(f"YAML has no such node: {type(node).__name__}")


def _entries(file: str, node: MappingNode, place: Place, report: Report) -> Entries:
    nodes: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    for key, value in node.value:
        where = Place(file, key.start_mark.line + 1, key.start_mark.column + 1)
        if not isinstance(key, ScalarNode):
            report.add(where, "a key is a single word")
            continue
        if key.value in nodes:
            report.add(where, f"“{key.value}” is said twice; the first is on line {keys[key.value].line}")
            continue
        nodes[key.value] = _converted(file, value, report)
        keys[key.value] = where
    return Entries(place, nodes, keys)


def _instant(text: str) -> date | datetime:
    return date.fromisoformat(text) if len(text) <= len("2027-03-03") else datetime.fromisoformat(text)


_MEANINGS: Mapping[str, Callable[[str], Plain]] = {
    "str": str,
    "int": lambda text: int(text.replace("_", ""), 0),
    "float": float,
    "bool": lambda text: text.lower() == "true",
    "null": lambda _: None,
    "timestamp": _instant,
}


def _meaning(node: ScalarNode, place: Place, report: Report) -> Plain:
    kind = str(node.tag).rpartition(":")[2]
    read = _MEANINGS.get(kind)
    if read is None:
        report.add(place, f"“{node.tag}”: tags have no meaning here")
        return str(node.value)
    try:
        return read(node.value)
    except ValueError:
        report.add(place, f"“{node.value}” looks like a {kind}, but is none")
        return str(node.value)
