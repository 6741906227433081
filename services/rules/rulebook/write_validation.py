"""Checks of the writes of a rule: what each operation needs of the event, and takes in ``with``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.rules.rulebook.catalogue import MESSAGE_RECEIVED, FieldSpec, FieldType, resolve
from services.rules.rulebook.faults import nearest_word
from services.rules.rulebook.field_validation import NO_EVENT, FieldScope, check_literal
from services.rules.rulebook.model import Field, LiteralValue, Location, Rule, WriteAction
from services.rules.rulebook.periods import PERIODS
from services.rules.rulebook.validation_context import ValidationContext
from shared.contracts.consonance import RightsStatus
from shared.contracts.writes import AcknowledgementKind, RightsDecision, WriteOperation


@dataclass(frozen=True, slots=True)
class OperationInput:
    """``events`` carry ``fields``; ``needs`` and ``takes`` are the required and optional keys of ``with``."""

    fields: tuple[str, ...] = ()
    needs: Mapping[str, FieldSpec] = field(default_factory=dict)
    takes: Mapping[str, FieldSpec] = field(default_factory=dict)
    events: tuple[str, ...] = ()

    @property
    def allowed(self) -> Mapping[str, FieldSpec]:
        return {**self.needs, **self.takes}


def _text(name: str, *values: str) -> dict[str, FieldSpec]:
    return {name: FieldSpec(name, FieldType.TEXT, values=tuple(map(str, values)))}


OPERATION_INPUTS: Mapping[WriteOperation, OperationInput] = {
    WriteOperation.RECORD_DECISION: OperationInput(
        ("request_id", "rights_record_id", "terms_hash"), _text("decision", *RightsDecision), _text("note")
    ),
    WriteOperation.ADVANCE_WORKFLOW: OperationInput(
        ("request_id", "rights_record_id"), _text("to_stage", *RightsStatus)
    ),
    WriteOperation.APPLY_METADATA: OperationInput(("items",)),
    WriteOperation.APPEND_ACQUISITION: OperationInput(needs=_text("reference"), events=(MESSAGE_RECEIVED,)),
    WriteOperation.RECORD_ACKNOWLEDGEMENT: OperationInput(("document",), _text("kind", *AcknowledgementKind)),
    WriteOperation.COMPLETE_MILESTONE: OperationInput(("milestone_id",)),
}


def check_write(
    context: ValidationContext, rule: Rule, record: WriteAction, scope: FieldScope, path: tuple[str | int, ...]
) -> None:
    """``path`` leads to the mapping with the key ``record``."""
    if not record.is_read:
        return
    location = context.location(rule, *path, "record")
    known = OPERATION_INPUTS.get(record.operation)
    if known is None:
        context.report.add(location, f"“{record.operation}” is what a form records; a step or an answer cannot")
        return
    _check_event(context, rule, record, known, location)
    missing = known.needs.keys() - record.values.keys()
    meant = {nearest_word(name, missing) for name in record.values.keys() - known.allowed.keys()}
    beside = {name for name in missing if context.loaded.has(rule.location.file, *path, name)}
    has_other = bool(record.values.keys() - known.allowed.keys() - meant)  # its fault says that it is not taken
    for name in missing - meant - beside if not has_other else ():
        context.report.add(location, f"“{record.operation}” needs “with: {{{name}: …}}”", needs=("with",))
    for name, value in record.values.items():
        if name in known.allowed:
            _check_value(known.allowed[name], value, context.location(rule, *path, "with", name), scope)
        else:
            where = context.loaded.key_location(rule.location.file, *path, "with", name)
            context.report.unknown(where, f"“{record.operation}” takes no “{name}”", name, known.allowed)


def _meant_field(written: str, scope: FieldScope) -> str | None:
    """The field that a text with its name was meant for, perhaps between braces."""
    path = written.strip("${} ")
    is_name = path != written or "." in path or "_" in path
    return path if is_name and resolve(scope.events, path, scope.started_by) is not None else None


def _check_event(
    context: ValidationContext, rule: Rule, record: WriteAction, known: OperationInput, location: Location
) -> None:
    for event in rule.events:
        lacks = [name for name in known.fields if resolve((event,), name) is None]
        if lacks and event in PERIODS:
            context.report.repeated(location, NO_EVENT)
        elif lacks or (known.events and event not in known.events):
            reason = f"it needs {', '.join(lacks)}" if lacks else f"it belongs to {', '.join(known.events)}"
            context.report.add(location, f"“{record.operation}” cannot follow {event}: {reason}")


def _check_value(spec: FieldSpec, value: LiteralValue | Field, location: Location, scope: FieldScope) -> None:
    if isinstance(value, Field):
        scope.require(value.name, value.location, "a write leans on it")
    elif isinstance(value, str) and not spec.values and (path := _meant_field(value, scope)) is not None:
        sentence = f"“{value}” would be written as these words; for the field write {{field: {path}}}"
        scope.report.refuse(location, sentence)
    elif value != "" or not scope.report.has_fault_on(location):  # else it could not be read
        check_literal(value, spec.type, spec, location, scope.report)
