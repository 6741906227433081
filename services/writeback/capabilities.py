"""The capabilities of a tenant's Consonance: every document of the mapping, validated against the introspected schema.

The error fields of a payload are requested as the schema has them, so three rivalling shapes need no three mappings.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    GraphQLInterfaceType,
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

from services.writeback import metrics
from services.writeback.changes import WriteChange
from services.writeback.comparison import ChangeComparison
from services.writeback.operation_mapping import GraphQLCall, MappedOperation, MutationCall, OperationMapping
from shared.clients.consonance_graphql import ConsonanceClient
from shared.contracts.errors import Unavailable
from shared.contracts.writes import WriteOperation
from shared.runtime.telemetry import get_logger

_VALID_FOR_SECONDS = 3600.0

log = get_logger()


class OperationSupport(NamedTuple):
    """One mapped operation here: documents as they are sent, None where the schema refuses them.

    ``schema_errors`` are GraphQL's sentences about the refused ones.
    """

    name: str
    mapped: MappedOperation
    read: str | None
    write: str | None
    remove: str | None
    schema_errors: tuple[str, ...]

    def allows(self, comparison: ChangeComparison) -> bool:
        """Whether the schema has every mutation that the change still needs."""
        can_create = self.write is not None or not comparison.create
        can_remove = self.remove is not None or not comparison.stale
        return can_create and can_remove and self.read is not None


class Capabilities:
    """The support found by the latest introspection."""

    def __init__(self, mapping: OperationMapping) -> None:
        self._mapping = mapping
        self._supports: tuple[OperationSupport, ...] = ()
        self._examined_at: float | None = None

    @property
    def is_outdated(self) -> bool:
        """Introspect before the next write: after a failure, and each hour, for what a schema gains fails nothing."""
        return self._examined_at is None or time.monotonic() - self._examined_at > _VALID_FOR_SECONDS

    def mark_outdated(self) -> None:
        self._examined_at = None

    async def refresh(self, client: ConsonanceClient) -> None:
        """Raises Unavailable where Consonance cannot be asked, or describes a schema that cannot be examined."""
        schema = await client.fetch_schema()
        try:
            self._supports = examine_schema(schema, self._mapping)
        except Exception as error:  # a schema may be valid and yet of a shape that no mapping foresaw
            raise Unavailable(f"Consonance's schema cannot be examined: {type(error).__name__}") from error
        self._examined_at = time.monotonic()
        for support in self._supports:
            metrics.OPERATION_SUPPORTED.labels(support.name).set(support.write is not None)
            if support.schema_errors:
                log.info("operation.refused", operation=support.name, errors=support.schema_errors[:3])

    def choose(self, change: WriteChange) -> OperationSupport | None:
        return choose_support(self._supports, change.operation, change.inputs)


def examine_schema(schema: GraphQLSchema, mapping: OperationMapping) -> tuple[OperationSupport, ...]:
    return tuple(_examine_operation(schema, name, mapped) for name, mapped in mapping.items())


def choose_support(
    supports: tuple[OperationSupport, ...], operation: WriteOperation, inputs: Mapping[str, Any]
) -> OperationSupport | None:
    """The first that can both read and write; else one that can at least be read; None where nothing matches."""
    matching = [support for support in supports if support.mapped.matches(operation, inputs)]
    readable = [support for support in matching if support.read]
    complete = [support for support in readable if support.write]
    return next(iter([*complete, *readable, *matching]), None)


def _examine_operation(schema: GraphQLSchema, name: str, mapped: MappedOperation) -> OperationSupport:
    errors: list[str] = []
    read = _valid_document(schema, mapped.read, errors)
    write = _valid_document(schema, mapped.write, errors)
    remove = _valid_document(schema, mapped.remove, errors) if mapped.remove is not None else None
    return OperationSupport(name, mapped, read, write, remove, tuple(errors))


def _valid_document(schema: GraphQLSchema, call: GraphQLCall, errors: list[str]) -> str | None:
    """The document to send; None where the schema refuses it, with the refusals added to ``errors``."""
    document = parse_document(call.document)
    if isinstance(call, MutationCall):
        document = visit(document, _AddErrorsField(schema, call.errors))
    refusals = validate(schema, document)
    errors.extend(refusal.message for refusal in refusals)
    return None if refusals else print_ast(document)


class _AddErrorsField(Visitor):
    """Adds the errors field to the payload of every mutation of a document, where the schema has one."""

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
        errors_field = _parse_field(f"{self._errors} {' '.join(_selection(payload, self._errors))}")
        selections = (*node.selection_set.selections, errors_field)
        return replace(node, selection_set=replace(node.selection_set, selections=selections))


def _selection(payload: GraphQLObjectType, errors: str) -> Iterator[str]:
    """The selection of an errors field: nothing where it is text, else every leaf field that needs no argument.

    Where there is none, as in a union, the name of the type alone.
    """
    kind = get_named_type(payload.fields[errors].type)
    if is_leaf_type(kind):
        return
    fields = kind.fields if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) else {}
    leaves = (name for name, field in fields.items() if is_leaf_type(get_named_type(field.type)))
    plain = [name for name in leaves if not any(map(is_required_argument, fields[name].args.values()))]
    yield from ("{", *(plain or ["__typename"]), "}")


def _parse_field(selection: str) -> SelectionNode:
    definition = parse_document(f"{{ {selection} }}").definitions[0]
    assert isinstance(definition, OperationDefinitionNode)  # noqa: S101 -- parsed from the line above
    return definition.selection_set.selections[0]
