"""What a tenant's Consonance can do: every document of the mapping, validated against the introspected schema.

The error fields of a payload are asked for as the schema shows them, so three rivalling shapes need no three mappings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionNode,
    Visitor,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    print_ast,
    validate,
    visit,
)
from graphql import parse as parse_document

from services.writeback.judgement import Judgement
from services.writeback.ways import Call, Way, Ways, Write
from shared.contracts.writes import Operation


class Support(NamedTuple):
    """One way here: documents as they are sent, None where the schema refuses them; ``refusals`` say why not."""

    name: str
    way: Way
    read: str | None
    write: str | None
    remove: str | None
    refusals: tuple[str, ...]

    def allows(self, judgement: Judgement) -> bool:
        """Whether every mutation that this change still needs exists."""
        creates = self.write is not None or not judgement.create
        removes = self.remove is not None or not judgement.stale
        return creates and removes and self.read is not None


Capabilities = tuple[Support, ...]


def examine(schema: GraphQLSchema, ways: Ways) -> Capabilities:
    return tuple(_support(schema, name, way) for name, way in ways.items())


def choose(capabilities: Capabilities, operation: Operation, facts: Mapping[str, Any]) -> Support | None:
    """The first way that can both read and write; else one that can at least be read; None where nothing fits."""
    fitting = [support for support in capabilities if support.way.fits(operation, facts)]
    readable = [support for support in fitting if support.read]
    whole = [support for support in readable if support.write]
    return next(iter([*whole, *readable, *fitting]), None)


def _support(schema: GraphQLSchema, name: str, way: Way) -> Support:
    refusals: list[str] = []
    read = _sendable(schema, way.read, refusals)
    write = _sendable(schema, way.write, refusals)
    remove = _sendable(schema, way.remove, refusals) if way.remove is not None else None
    return Support(name, way, read, write, remove, tuple(refusals))


def _sendable(schema: GraphQLSchema, call: Call, refusals: list[str]) -> str | None:
    document = parse_document(call.document)
    if isinstance(call, Write):
        document = visit(document, _AskForErrors(schema, call.errors))
    faults = validate(schema, document)
    refusals.extend(fault.message for fault in faults)
    return None if faults else print_ast(document)


class _AskForErrors(Visitor):
    """Adds the errors field to the payload of every mutation of a document, as far as the schema shows one."""

    def __init__(self, schema: GraphQLSchema, errors: str) -> None:
        super().__init__()
        mutations = schema.mutation_type.fields if schema.mutation_type is not None else {}
        self._payloads = {name: get_named_type(field.type) for name, field in mutations.items()}
        self._errors = errors

    def enter_field(self, node: FieldNode, _key: Any, _parent: Any, _path: Any, ancestors: list[Any]) -> Any:
        payload = self._payloads.get(node.name.value)
        is_root = isinstance(ancestors[-2], OperationDefinitionNode)
        if not is_root or node.selection_set is None or not isinstance(payload, GraphQLObjectType):
            return None
        if self._errors not in payload.fields:
            return None
        wanted = _field(f"{self._errors} {' '.join(_parts(payload, self._errors))}")
        selections = (*node.selection_set.selections, wanted)
        return replace(node, selection_set=replace(node.selection_set, selections=selections))


def _parts(payload: GraphQLObjectType, errors: str) -> Iterator[str]:
    """The selection of an errors field: nothing where it is text, else every plain field it has."""
    kind = get_named_type(payload.fields[errors].type)
    if isinstance(kind, GraphQLObjectType):
        plain = (name for name, field in kind.fields.items() if is_leaf_type(get_named_type(field.type)))
        yield "{"
        yield from (name for name in plain if not any(map(is_required_argument, kind.fields[name].args.values())))
        yield "}"


def _field(selection: str) -> SelectionNode:
    definition = parse_document(f"{{ {selection} }}").definitions[0]
    assert isinstance(definition, OperationDefinitionNode)  # noqa: S101 -- parsed from the line above
    return definition.selection_set.selections[0]
