"""What the shape of a mapping file does not show: whether its words mean something to the operation they serve."""

import difflib
from collections.abc import Iterator, Mapping

from graphql import GraphQLSyntaxError, OperationDefinitionNode, OperationType
from graphql import parse as parse_document

from services.writeback.changes import facts_of
from services.writeback.ways import Call, Each, Way
from shared.contracts.writes import Operation

VALUES: Mapping[Operation, tuple[str, ...]] = {
    Operation.APPLY_METADATA: ("current", "source", "ids"),
    Operation.RECORD_DECISION: ("decision", "status", "terms_hash", "exclusivity", "requires_signature", "right_type"),
    Operation.ADVANCE_WORKFLOW: ("stage",),
    Operation.CREATE_ACQUISITION: ("reference",),
    Operation.APPEND_ACQUISITION: ("message_ids",),
    Operation.RECORD_ACKNOWLEDGEMENT: ("kind",),
    Operation.COMPLETE_MILESTONE: ("done_on",),
}
"""What a read may give to a judgement; the first of each must be there."""

Said = tuple[tuple[str, ...], str]
"""Where in the way, and the sentence."""


def faults_of(way: Way) -> Iterator[Said]:
    facts = facts_of(way.operation)
    yield from ((("when", name), _unknown("fact", name, facts)) for name in way.when if name not in facts)
    yield from _value_faults(way)
    calls: list[tuple[str, Call, OperationType]] = [
        ("read", way.read, OperationType.QUERY),
        ("write", way.write, OperationType.MUTATION),
    ]
    if way.remove is not None:
        calls.append(("remove", way.remove, OperationType.MUTATION))
    for name, call, kind in calls:
        yield from (((name, *place), sentence) for place, sentence in _call_faults(call, kind, facts))


def _value_faults(way: Way) -> Iterator[Said]:
    allowed = VALUES[way.operation]
    if allowed[0] not in way.read.values:
        yield ("read", "values"), f"{allowed[0]!r} is missing: {way.operation} is judged by it"
    for name in way.read.values:
        if name not in allowed:
            yield ("read", "values", name), _unknown("value", name, allowed)


def _call_faults(call: Call, kind: OperationType, facts: frozenset[str]) -> Iterator[Said]:
    for variable, filling in call.variables.items():
        source = filling.source if isinstance(filling, Each) else filling
        if source not in facts:
            yield ("variables", variable), _unknown("fact", source, facts)
    try:
        operation = _only_operation(call.document)
    except GraphQLSyntaxError as error:
        where = error.locations[0] if error.locations else None
        yield ("document",), f"{error.message} (line {where.line} of the document)" if where else error.message
        return
    if operation is None or operation.operation is not kind:
        yield ("document",), f"one {kind.value} is expected here"
        return
    declared = {definition.variable.name.value for definition in operation.variable_definitions or ()}
    yield from ((("variables", name), _unknown("variable", name, declared)) for name in {*call.variables} - declared)
    yield from ((("document",), f"variable ${name} is never filled") for name in declared - {*call.variables})


def _only_operation(document: str) -> OperationDefinitionNode | None:
    definitions = parse_document(document).definitions
    only = definitions[0] if len(definitions) == 1 else None
    return only if isinstance(only, OperationDefinitionNode) else None


def _unknown(what: str, word: str, allowed: frozenset[str] | set[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, sorted(allowed), n=1)
    return f"{word!r} is not a {what} here" + (f"; did you mean {near[0]!r}?" if near else "")
