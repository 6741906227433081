"""Writes: each operation on events that say what it writes, with the values it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.rules.catalogue import MESSAGE_RECEIVED, resolve
from services.rules.check.conditions import check_literal
from services.rules.check.fields import View
from services.rules.check.scope import Scope
from services.rules.fieldtypes import FieldSpec, FieldType
from services.rules.rulebook import Record, Rule
from services.rules.terms import Field, Literal, Place
from shared.contracts.consonance import RightsStatus
from shared.contracts.writes import AcknowledgementKind, Decision, Operation


@dataclass(frozen=True, slots=True)
class _Input:
    """``events`` say ``fields``; ``needs`` and ``takes`` are the keys of ``with``, needed and optional."""

    fields: tuple[str, ...] = ()
    needs: Mapping[str, FieldSpec] = field(default_factory=dict)
    takes: Mapping[str, FieldSpec] = field(default_factory=dict)
    events: tuple[str, ...] = ()

    @property
    def allowed(self) -> Mapping[str, FieldSpec]:
        return {**self.needs, **self.takes}


def _text(name: str, *values: str) -> dict[str, FieldSpec]:
    return {name: FieldSpec(name, FieldType.TEXT, values=tuple(map(str, values)))}


_INPUTS: Mapping[Operation, _Input] = {
    Operation.RECORD_DECISION: _Input(
        ("request_id", "rights_record_id", "terms_hash"), _text("decision", *Decision), _text("note")
    ),
    Operation.ADVANCE_WORKFLOW: _Input(("request_id", "rights_record_id"), _text("to_stage", *RightsStatus)),
    Operation.APPLY_METADATA: _Input(("items",)),
    Operation.APPEND_ACQUISITION: _Input(needs=_text("reference"), events=(MESSAGE_RECEIVED,)),
    Operation.RECORD_ACKNOWLEDGEMENT: _Input(("document",), _text("kind", *AcknowledgementKind)),
    Operation.COMPLETE_MILESTONE: _Input(("milestone_id",)),
}


def check_record(scope: Scope, rule: Rule, record: Record, view: View, path: tuple[str | int, ...]) -> None:
    """``path`` leads to what says ``record``."""
    place = scope.place(rule, *path, "record")
    known = _INPUTS.get(record.operation)
    if known is None:
        scope.report.add(place, f"“{record.operation}” is what a form records; a step or an answer cannot")
        return
    _check_event(scope, rule, record, known, place)
    for name in known.needs.keys() - record.values.keys():
        scope.report.add(place, f"“{record.operation}” needs “with: {{{name}: …}}”")
    for name, value in record.values.items():
        if name in known.allowed:
            _check_value(known.allowed[name], value, scope.place(rule, *path, "with", name), view)
        else:
            where = scope.loaded.key(rule.place.file, *path, "with", name)
            scope.report.unknown(where, f"“{record.operation}” takes no “{name}”", name, known.allowed)


def _check_event(scope: Scope, rule: Rule, record: Record, known: _Input, place: Place) -> None:
    for event in rule.events:
        lacks = [name for name in known.fields if resolve((event,), name) is None]
        if lacks or (known.events and event not in known.events):
            said = f"it needs {', '.join(lacks)}" if lacks else f"it belongs to {', '.join(known.events)}"
            scope.report.add(place, f"“{record.operation}” cannot follow {event}: {said}")


def _check_value(spec: FieldSpec, value: Literal | Field, place: Place, view: View) -> None:
    if isinstance(value, Field):
        view.lean_on(value.name, value.place, "a write leans on it")
    else:
        check_literal(value, spec.type, spec, place, view.report)
