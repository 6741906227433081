"""Reads the YAML of a mapping file into values, with the place of each key and item.

It is YAML 1.2 (core schema): yes, no and on are words. PyYAML's parser in C gives the events: reading the same by
ruamel.yaml would keep 3 MiB more of memory in every process of writeback, for a file that is read once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yaml import events as kinds
from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError

__all__ = ["MarkedYAMLError", "YAMLError", "YamlValue", "read_yaml"]

YamlPlace = tuple[int, int]
"""Line and column, from 1."""

_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[-+]?[0-9]{1,300}")
_FRACTION = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_TEXT = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class YamlValue:
    """A value; of a mapping or list also the places and nodes of its keys or indexes."""

    value: Any
    places: Mapping[str | int, YamlPlace] = field(default_factory=dict)
    nodes: Mapping[str | int, "YamlValue"] = field(default_factory=dict)


def read_yaml(text: str) -> YamlValue:
    """Raises YAMLError, with a mark where it knows the place; RecursionError for a text that is nested too deep."""
    parser, anchors = CParser(text), dict[str, YamlValue]()
    parser.get_event()  # the stream
    if isinstance(parser.get_event(), kinds.StreamEndEvent):
        return YamlValue(None)
    node = _node(parser, parser.get_event(), anchors)
    parser.get_event()  # the end of the document
    if not isinstance(event := parser.get_event(), kinds.StreamEndEvent):
        raise _fault("a file holds one document", event)
    return node


def _node(parser: Any, event: Any, anchors: dict[str, YamlValue]) -> YamlValue:
    if isinstance(event, kinds.AliasEvent):
        if event.anchor not in anchors:
            raise _fault(f"there is no complete &{event.anchor} above", event)
        return anchors[event.anchor]
    if isinstance(event, kinds.ScalarEvent):
        node = YamlValue(_scalar(event))
    elif isinstance(event, kinds.SequenceStartEvent):
        node = _sequence(parser, anchors)
    else:
        node = _mapping(parser, anchors)
    if event.anchor is not None:
        anchors[event.anchor] = node
    return node


def _sequence(parser: Any, anchors: dict[str, YamlValue]) -> YamlValue:
    places: dict[str | int, YamlPlace] = {}
    nodes: dict[str | int, YamlValue] = {}
    while not isinstance(event := parser.get_event(), kinds.SequenceEndEvent):
        places[len(nodes)] = _place(event)
        nodes[len(nodes)] = _node(parser, event, anchors)
    return YamlValue([each.value for each in nodes.values()], places, nodes)


def _mapping(parser: Any, anchors: dict[str, YamlValue]) -> YamlValue:
    places: dict[str | int, YamlPlace] = {}
    nodes: dict[str | int, YamlValue] = {}
    while not isinstance(event := parser.get_event(), kinds.MappingEndEvent):
        if not isinstance(event, kinds.ScalarEvent):
            raise _fault("a key is a word", event)
        if event.value in nodes:
            raise _fault(f"{event.value!r} is here twice", event)
        places[event.value] = _place(event)
        nodes[event.value] = _node(parser, parser.get_event(), anchors)
    return YamlValue({key: each.value for key, each in nodes.items()}, places, nodes)


def _scalar(event: Any) -> str | int | float | bool | None:
    written = str(event.value)
    if event.tag not in {None, "!", _TEXT}:
        raise _fault("a tag has no meaning here", event)
    if not event.implicit[0] or event.tag is not None:
        return written
    if written in _WORDS:
        return _WORDS[written]
    if _WHOLE.fullmatch(written):
        return int(written)
    return float(written) if _FRACTION.fullmatch(written) else written


def _place(event: Any) -> YamlPlace:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _fault(problem: str, event: Any) -> MarkedYAMLError:
    return MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
