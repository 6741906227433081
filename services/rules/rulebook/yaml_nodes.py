"""The tree of a YAML text: each key and each value with its line and column."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Final

from msgspec import Struct

from services.rules.rulebook.model import Location

Plain = str | int | float | bool | date | datetime | None


class Faulty(str):
    """The text of a value that was reported already, such as a date that does not exist."""

    __slots__ = ()


class ScalarNode(Struct, frozen=True, gc=False):
    """``text`` is what was written, ``value`` what it means."""

    location: Location
    text: str
    value: Plain


class SequenceNode(Struct, frozen=True, gc=False):
    location: Location
    nodes: tuple["Node", ...]


class MappingNode(Struct, frozen=True, gc=False):
    """``places`` are those of the keys, in the order of ``nodes``. ``in_braces``: it is written as ``{key: value}``."""

    location: Location
    nodes: Mapping[str, "Node"]
    places: tuple[Location, ...]
    in_braces: bool = False

    @property
    def keys(self) -> Mapping[str, Location]:
        """The location of each key; made when it is asked for, since most never are."""
        return dict(zip(self.nodes, self.places, strict=True))

    def place_of(self, key: str) -> Location:
        """The location of one key, without those of the others. Raises ValueError where it is not there."""
        return self.places[[*self.nodes].index(key)]


Node = ScalarNode | SequenceNode | MappingNode


class Absent:
    """In place of the node of a required key that is not written. Every value reads it as its fallback."""


ABSENT: Final = Absent()


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
            location, node = node.place_of(str(part)), node.nodes[str(part)]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.nodes):
            node = node.nodes[part]
            location = node.location
        elif part == 0 and not isinstance(node, SequenceNode):
            continue  # a single item may stand without a list
        else:
            break
    return location, node


def lines_of_node(node: Node) -> Iterator[int]:
    """The lines on which a part of it begins."""
    yield node.location.line
    for each in node.nodes.values() if isinstance(node, MappingNode) else ():
        yield from lines_of_node(each)
    for each in node.nodes if isinstance(node, SequenceNode) else ():
        yield from lines_of_node(each)
