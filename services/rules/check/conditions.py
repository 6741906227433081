"""Comparisons that can come true: of declared fields, with values of their type."""

from collections.abc import Iterator
from datetime import date, datetime

from services.rules.check.fields import View
from services.rules.fieldtypes import FieldSpec, FieldType
from services.rules.language.faults import Report
from services.rules.terms import Compare, Condition, Field, Literal, Operator, Place, comparisons

_ORDERED = frozenset({FieldType.NUMBER, FieldType.DATE, FieldType.INSTANT})
_ORDERINGS = frozenset({Operator.AT_LEAST, Operator.AT_MOST, Operator.MORE_THAN, Operator.LESS_THAN})
_WHOLE = frozenset({FieldType.PARTY, FieldType.RECORD})
_SPELLED = {
    FieldType.TEXT: "a text",
    FieldType.NUMBER: "a number",
    FieldType.FLAG: "true or false",
    FieldType.DATE: "a date, like 2027-03-19",
    FieldType.INSTANT: "an instant, like 2027-03-19T10:00:00Z",
}


def check_condition(condition: Condition | None, view: View) -> None:
    for compare in comparisons(condition) if condition else ():
        found = view.find(compare.field, compare.place)
        if found is not None and _suits(compare, found, view.report):
            _check_operands(compare, found, view)


def _suits(compare: Compare, found: FieldSpec, report: Report) -> bool:
    """Whether the operator means anything for a field of this type."""
    sentence = _misfit(compare, found)
    if sentence:
        report.add(compare.place, sentence)
    return sentence is None


def _misfit(compare: Compare, found: FieldSpec) -> str | None:
    operator = compare.operator
    if operator is Operator.EXISTS:
        return None
    if found.type in _WHOLE:
        return f"“{found.path}” is a {found.type} and can only be asked for with “exists”; name a field of it"
    if (found.type is FieldType.LIST) is not (operator is Operator.INCLUDES):
        return (
            f"“{found.path}” is a list; say {{includes: …}}" if operator is not Operator.INCLUDES else _no_list(found)
        )
    if operator in _ORDERINGS and found.type not in _ORDERED:
        return f"“{found.path}” is {_SPELLED[found.type]} and has no “{operator}”"
    return None


def _no_list(found: FieldSpec) -> str:
    return f"“{found.path}” is no list and includes nothing"


def _check_operands(compare: Compare, found: FieldSpec, view: View) -> None:
    kind = found.item or found.type
    if isinstance(compare.operand, Field):
        _check_other(compare, compare.operand, kind, view)
        return
    for literal, place in _literals(compare):
        check_literal(literal, kind, found, place, view.report)


def _check_other(compare: Compare, other: Field, kind: FieldType, view: View) -> None:
    right = view.find(other.name, other.place)
    if right is not None and right.type is not kind:
        view.report.add(other.place, f"“{compare.field}” and “{other.name}” are of different types and never compare")


def _literals(compare: Compare) -> Iterator[tuple[Literal, Place]]:
    if compare.operator is Operator.EXISTS or isinstance(compare.operand, Field):
        return
    found = compare.operand if isinstance(compare.operand, tuple) else (compare.operand,)
    places = compare.operand_places or (compare.place,) * len(found)
    yield from ((literal, place) for literal, place in zip(found, places, strict=True) if literal != "")


def check_literal(literal: Literal, kind: FieldType, found: FieldSpec, place: Place, report: Report) -> None:
    if not _is_of(literal, kind):
        written = str(literal).lower() if isinstance(literal, bool) else literal
        report.add(place, f"“{found.path}” is {_SPELLED.get(kind, kind)}, and “{written}” is none")
    elif found.values and isinstance(literal, str) and literal not in found.values:
        report.unknown(place, f"“{found.path}” is never “{literal}”", literal, found.values)


def _is_of(literal: Literal, kind: FieldType) -> bool:
    match literal:
        case bool():
            return kind is FieldType.FLAG
        case int() | float():
            return kind is FieldType.NUMBER
        case datetime():
            return kind is FieldType.INSTANT and literal.tzinfo is not None
        case date():
            return kind is FieldType.DATE
        case _:
            return kind is FieldType.TEXT
