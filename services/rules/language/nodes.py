"""A YAML text as a tree that remembers line and column, every key's included. Keys are always words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

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
