"""The mapping file: how each operation is read and written through a tenant's GraphQL.

A file is data only (YAML 1.2) and may extend another one: one beside it, or one that comes along. All faults of a file
are reported at once, each with file, line, column and the nearest right word.

In the YAML, yes, no and on are words (core schema). PyYAML's parser in C gives the events: reading the same by
ruamel.yaml would keep 3 MiB more of memory in every process of writeback, for a file that is read once.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from graphql import GraphQLSyntaxError, OperationDefinitionNode, OperationType
from graphql import parse as parse_document
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yaml import events as kinds
from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError

from services.writeback.changes import input_names
from shared.contracts.errors import Misconfigured
from shared.contracts.writes import WriteOperation

SETTING = "STET_CONSONANCE_MAPPING"
_SHIPPED = Path(__file__).parent / "mapping"

READ_VALUES: Mapping[WriteOperation, tuple[str, ...]] = {
    WriteOperation.APPLY_METADATA: ("current", "source", "ids"),
    WriteOperation.RECORD_DECISION: (
        "decision",
        "status",
        "terms_hash",
        "exclusivity",
        "requires_signature",
        "right_type",
    ),
    WriteOperation.ADVANCE_WORKFLOW: ("stage",),
    WriteOperation.CREATE_ACQUISITION: ("reference",),
    WriteOperation.APPEND_ACQUISITION: ("message_ids",),
    WriteOperation.RECORD_ACKNOWLEDGEMENT: ("kind",),
    WriteOperation.COMPLETE_MILESTONE: ("done_on",),
}
"""The values that a comparison can use; the first of each operation is required."""

ValuePath = tuple[str | int, ...]
"""A path of keys and indexes into the file."""

NonEmpty = Annotated[str, Field(min_length=1)]


# ------------------------------------------------------------------ the models of the file


class _StrictModel(BaseModel):
    """An unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)


class ListVariable(_StrictModel):
    """A list variable: every element of the input ``source``, its parts renamed (GraphQL name → part of the input)."""

    source: Annotated[NonEmpty, Field(alias="each")]
    parts: Annotated[dict[str, NonEmpty], Field(alias="as")]


Variable = NonEmpty | ListVariable
"""The source of a variable: the name of an input, or a list of renamed parts."""


class GraphQLCall(_StrictModel):
    """A document, and the input that each of its variables is filled from."""

    document: NonEmpty
    variables: dict[str, Variable]

    def fill_variables(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _variable_value(variable, inputs) for name, variable in self.variables.items()}


class ReadCall(GraphQLCall):
    """``found``: a path that is null, or an empty list, where the record does not exist; ``values``: paths of what a
    comparison uses.
    """

    found: NonEmpty
    values: dict[str, NonEmpty]

    def is_answered_by(self, data: Mapping[str, Any]) -> bool:
        """Whether ``data`` has the field at ``found``, even as null; otherwise the answer is not about the record."""
        first, *further = self.found.split(".")
        if first not in data:
            return False
        value = data[first]
        for part in further:
            if not isinstance(value, Mapping):
                return value is None
            if part not in value:
                return False
            value = value[part]
        return True

    def extract(self, data: Mapping[str, Any]) -> "ReadResult":
        values = {name: value_at(data, path) for name, path in self.values.items()}
        return ReadResult(found=_is_there(value_at(data, self.found)), values=values)


class MutationCall(GraphQLCall):
    """``errors``: the field of the payload that holds refusals; requested only where the schema has it."""

    errors: NonEmpty = "errors"


class MappedOperation(_StrictModel):
    """One way to read and write a kind of change; whether it is possible here, the schema shows.

    ``when`` narrows it to changes with these inputs; ``expected_from``: the states a record may be in for the write to
    make sense, empty means any; ``remove`` removes the text that a created one replaces.
    """

    operation: WriteOperation
    when: dict[str, NonEmpty] = Field(default_factory=dict)
    expected_from: frozenset[str] = frozenset()
    read: ReadCall
    write: MutationCall
    remove: MutationCall | None = None

    def matches(self, operation: WriteOperation, inputs: Mapping[str, Any]) -> bool:
        return operation is self.operation and all(inputs.get(name) == value for name, value in self.when.items())


OperationMapping = Mapping[str, MappedOperation]
"""By name, in the order in which they are tried."""


class _MappingFile(_StrictModel):
    extends: NonEmpty | None = None
    operations: dict[str, MappedOperation]


@dataclass(frozen=True, slots=True)
class ReadResult:
    """The values of one read."""

    found: bool
    values: Mapping[str, Any]


def _is_there(value: Any) -> bool:
    """Whether a value is there. An empty list counts as absent, since a query for records by a key gives one where
    there is none.
    """
    return any(map(_is_there, value)) if isinstance(value, list) else value is not None


def value_at(data: Any, path: str) -> Any:
    """The value at a dotted path; through a list, the list of the values in its elements."""
    for index, part in enumerate(parts := path.split(".")):
        if isinstance(data, list):
            return [value_at(element, ".".join(parts[index:])) for element in data]
        if not isinstance(data, Mapping):
            return None
        data = data.get(part)
    return data


def _variable_value(variable: Variable, inputs: Mapping[str, Any]) -> Any:
    if isinstance(variable, str):
        return inputs.get(variable)
    elements = inputs.get(variable.source) or ()
    return [{name: element.get(part) for name, part in variable.parts.items()} for element in elements]


# ------------------------------------------------------------------ the YAML of the file

YamlPlace = tuple[int, int]
"""Line and column, from 1."""

_YAML_WORDS: Mapping[str, bool | None] = {
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
        raise _yaml_fault("a file holds one document", event)
    return node


def _node(parser: Any, event: Any, anchors: dict[str, YamlValue]) -> YamlValue:
    if isinstance(event, kinds.AliasEvent):
        if event.anchor not in anchors:
            raise _yaml_fault(f"there is no complete &{event.anchor} above", event)
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
            raise _yaml_fault("a key is a word", event)
        if event.value in nodes:
            raise _yaml_fault(f"{event.value!r} is here twice", event)
        places[event.value] = _place(event)
        nodes[event.value] = _node(parser, parser.get_event(), anchors)
    return YamlValue({key: each.value for key, each in nodes.items()}, places, nodes)


def _scalar(event: Any) -> str | int | float | bool | None:
    written = str(event.value)
    if event.tag not in {None, "!", _TEXT}:
        raise _yaml_fault("a tag has no meaning here", event)
    if not event.implicit[0] or event.tag is not None:
        return written
    if written in _YAML_WORDS:
        return _YAML_WORDS[written]
    if _WHOLE.fullmatch(written):
        return int(written)
    return float(written) if _FRACTION.fullmatch(written) else written


def _place(event: Any) -> YamlPlace:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _yaml_fault(problem: str, event: Any) -> MarkedYAMLError:
    return MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


# ------------------------------------------------------------------ loading


class MappingFault(NamedTuple):
    file: str
    line: int
    column: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.sentence}"


def load_mapping(path: Path, extended_by: tuple[Path, ...] = ()) -> OperationMapping:
    """Raises Misconfigured with every fault of the file, one a line; ``extended_by`` are the files that build on it."""
    if path.resolve() in extended_by:
        raise Misconfigured(SETTING, f"{path}: this file extends itself")
    tree = _load_tree(path)
    try:
        file = _MappingFile.model_validate(tree.value)
    except ValidationError as error:
        raise _misconfigured(_schema_faults(path, tree, error)) from None
    faults = [
        _fault(path, tree, ("operations", name, *place), sentence)
        for name, mapped in file.operations.items()
        for place, sentence in _semantic_faults(mapped)
    ]
    if faults:
        raise _misconfigured(faults)
    extending = (*extended_by, path.resolve())
    inherited = load_mapping(_extended(path, file.extends), extending) if file.extends else {}
    return {**inherited, **file.operations}


def _extended(path: Path, name: str) -> Path:
    """The file of this name beside ``path``, otherwise the one that is part of the program, if there is one."""
    beside, shipped = path.parent / name, _SHIPPED / name
    return shipped if shipped.exists() and not beside.exists() else beside


def _load_tree(path: Path) -> YamlValue:
    try:
        tree = read_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise Misconfigured(SETTING, f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise Misconfigured(SETTING, f"{path}: the file is not written in UTF-8") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        raise _misconfigured([MappingFault(path.name, *at, str(error.problem))]) from None
    except RecursionError:
        raise Misconfigured(SETTING, f"{path}: the file is nested too deep") from None
    except (YAMLError, ValueError, LookupError) as error:  # of a character or a number, which have no location
        raise Misconfigured(SETTING, f"{path}: the file cannot be read: {str(error).partition(chr(10))[0]}") from None
    if not isinstance(tree.value, dict):
        raise _misconfigured([MappingFault(path.name, 1, 1, "a mapping file holds operations")])
    return tree


def _misconfigured(faults: Iterable[MappingFault]) -> Misconfigured:
    return Misconfigured(SETTING, "\n".join(map(str, sorted(faults))))


# ------------------------------------------------------------------ faults of the schema

_WORDS = {
    *map(str, WriteOperation),
    *(
        name
        for model in (_MappingFile, MappedOperation, ReadCall, MutationCall, GraphQLCall)
        for name in model.model_fields
    ),
    "each",
    "as",
}
_MODEL_PARTS = frozenset({"function-after", "str", ListVariable.__name__})
"""Parts of a pydantic location that are no keys of the file."""


def _schema_faults(path: Path, tree: YamlValue, error: ValidationError) -> Iterator[MappingFault]:
    for fault in error.errors(include_url=False, include_context=False):
        place = tuple(part for part in fault["loc"] if part not in _MODEL_PARTS)
        yield _fault(path, tree, place, _schema_sentence(fault["type"], fault["msg"], place, fault["input"]))


def _schema_sentence(kind: str, message: str, place: ValuePath, given: Any) -> str:
    if kind == "extra_forbidden":
        return f"{place[-1]!r} is not a key here{_suggestion(str(place[-1]), _WORDS)}"
    if kind == "enum":
        return f"{given!r} is not an operation{_suggestion(str(given), _WORDS)}"
    if kind == "missing":
        return f"{place[-1]!r} is missing"
    return f"{message}{_suggestion(given, _WORDS) if isinstance(given, str) else ''}"


def _suggestion(word: str, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, sorted(allowed), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _fault(path: Path, tree: YamlValue, place: ValuePath, sentence: str) -> MappingFault:
    line, column = _position(tree, place)
    return MappingFault(path.name, line, column, sentence)


def _position(tree: YamlValue, place: ValuePath) -> tuple[int, int]:
    """Line and column, from 1, of the deepest key of the place that is in the file."""
    found, node = (1, 1), tree
    for part in place:
        if part not in node.places:
            break
        found, node = node.places[part], node.nodes[part]
    return found


# ------------------------------------------------------------------ faults that the schema does not show

PlacedSentence = tuple[tuple[str, ...], str]
"""A place in the mapped operation, and the sentence."""


def _semantic_faults(mapped: MappedOperation) -> Iterator[PlacedSentence]:
    allowed = input_names(mapped.operation)
    yield from ((("when", name), _unknown("an input", name, allowed)) for name in mapped.when if name not in allowed)
    yield from _value_faults(mapped)
    yield from _call_faults("read", mapped.read, OperationType.QUERY, allowed)
    yield from _call_faults("write", mapped.write, OperationType.MUTATION, allowed)
    if mapped.remove is not None:
        yield from _call_faults("remove", mapped.remove, OperationType.MUTATION, allowed)


def _value_faults(mapped: MappedOperation) -> Iterator[PlacedSentence]:
    allowed = READ_VALUES[mapped.operation]
    if allowed[0] not in mapped.read.values:
        yield ("read", "values"), f"{allowed[0]!r} is missing: {mapped.operation} is compared by it"
    if mapped.remove is not None and "ids" not in mapped.read.values:
        yield ("remove",), "'ids' is missing among the values that are read: a text is removed by its id"
    for name in mapped.read.values:
        if name not in allowed:
            yield ("read", "values", name), _unknown("a value", name, allowed)


def _call_faults(key: str, call: GraphQLCall, kind: OperationType, allowed: frozenset[str]) -> Iterator[PlacedSentence]:
    for variable, filling in call.variables.items():
        source = filling.source if isinstance(filling, ListVariable) else filling
        if source not in allowed:
            yield (key, "variables", variable), _unknown("an input", source, allowed)
    try:
        operation = _only_operation(call.document)
    except GraphQLSyntaxError as error:
        location = error.locations[0] if error.locations else None
        suffix = f" (line {location.line} of the document)" if location else ""
        yield (key, "document"), error.message + suffix
        return
    if operation is None or operation.operation is not kind:
        yield (key, "document"), f"one {kind.value} is expected here"
        return
    declared = {definition.variable.name.value for definition in operation.variable_definitions or ()}
    for name in {*call.variables} - declared:
        yield (key, "variables", name), _unknown("a variable", name, declared)
    for name in declared - {*call.variables}:
        yield (key, "document"), f"variable ${name} is never filled"


def _only_operation(document: str) -> OperationDefinitionNode | None:
    definitions = parse_document(document).definitions
    only = definitions[0] if len(definitions) == 1 else None
    return only if isinstance(only, OperationDefinitionNode) else None


def _unknown(kind: str, word: str, allowed: Collection[str]) -> str:
    return f"{word!r} is not {kind} here{_suggestion(word, allowed)}"
