"""Reads a mapping file: every fault is told at once, with file, line, column and the nearest right word.

The language is data only (YAML 1.2); a file may extend another beside it, way by way.
"""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from services.writeback.mapping_meaning import faults_of
from services.writeback.ways import Call, Read, Spelled, Strict, Way, Ways, Write
from shared.contracts.errors import Misconfigured
from shared.contracts.writes import Operation

SETTING = "STET_CONSONANCE_MAPPING"

Place = tuple[str | int, ...]
"""A path of keys and indexes into the file."""


class _File(Strict):
    extends: Spelled | None = None
    ways: dict[str, Way]


_WORDS = sorted(
    {
        *map(str, Operation),
        *(name for model in (_File, Way, Read, Write, Call) for name in model.model_fields),
        "each",
        "as",
    }
)


class Fault(NamedTuple):
    file: str
    line: int
    column: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.sentence}"


def read_mapping(path: Path) -> Ways:
    """Raises Misconfigured with every fault of the file, one a line."""
    tree = _tree(path)
    try:
        file = _File.model_validate(tree)
    except ValidationError as error:
        raise _misconfigured(_shape_faults(path, tree, error)) from None
    meant = [(name, place, sentence) for name, way in file.ways.items() for place, sentence in faults_of(way)]
    if meant:
        raise _misconfigured(_fault(path, tree, ("ways", name, *place), sentence) for name, place, sentence in meant)
    inherited = read_mapping(path.parent / file.extends) if file.extends else {}
    return {**inherited, **file.ways}


def _tree(path: Path) -> CommentedMap:
    try:
        tree = YAML().load(path.read_text())
    except OSError as error:
        raise Misconfigured(SETTING, f"{path}: {error.strerror}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise _misconfigured([Fault(path.name, mark.line + 1, mark.column + 1, str(error.problem))]) from None
    if not isinstance(tree, CommentedMap):
        raise _misconfigured([Fault(path.name, 1, 1, "a mapping file holds ways")])
    return tree


def _shape_faults(path: Path, tree: CommentedMap, error: ValidationError) -> Iterator[Fault]:
    for fault in error.errors(include_url=False, include_context=False):
        place = tuple(part for part in fault["loc"] if part not in {"function-after", "str", "Each"})
        yield _fault(path, tree, place, _sentence(fault["type"], fault["msg"], place, fault["input"]))


def _sentence(kind: str, message: str, place: Place, given: Any) -> str:
    if kind == "extra_forbidden":
        return f"{place[-1]!r} is not a key here{_nearest(str(place[-1]))}"
    if kind == "enum":
        return f"{given!r} is not an operation{_nearest(str(given))}"
    if kind == "missing":
        return f"{place[-1]!r} is missing"
    return f"{message}{_nearest(given) if isinstance(given, str) else ''}"


def _nearest(word: str) -> str:
    near = difflib.get_close_matches(word, _WORDS, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _fault(path: Path, tree: CommentedMap, place: Place, sentence: str) -> Fault:
    line, column = _position(tree, place)
    return Fault(path.name, line, column, sentence)


def _position(tree: CommentedMap, place: Place) -> tuple[int, int]:
    """Of the deepest key of the place that stands in the file, counted from 1."""
    node: Any = tree
    line, column = 0, 0
    for part in place:
        if isinstance(node, CommentedMap) and part in node:
            line, column = node.lc.key(part)
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line, column = node.lc.item(part)
        else:
            break
        node = node[part]
    return line + 1, column + 1


def _misconfigured(faults: Iterable[Fault]) -> Misconfigured:
    return Misconfigured(SETTING, "\n".join(map(str, sorted(faults))))
