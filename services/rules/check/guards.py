"""Which fields are surely there: what a condition that holds, or an ``unless`` that does not, says of them."""

from collections.abc import Iterable
from functools import reduce

from services.rules.terms import AllOf, AnyOf, Compare, Condition, NoneOf, Operator, mentioned_fields

_NONE: frozenset[str] = frozenset()


def present_if(condition: Condition | None) -> frozenset[str]:
    """Fields that are there whenever the condition holds: every comparison is false where its field is not."""
    match condition:
        case Compare():
            return _compared(condition)
        case AllOf(conditions):
            return _union(map(present_if, conditions))
        case AnyOf(conditions):
            return _common(map(present_if, conditions))
        case NoneOf(inner):
            return present_unless(inner)
        case _:
            return _NONE


def present_unless(condition: Condition | None) -> frozenset[str]:
    """Fields that are there whenever the condition does not hold."""
    match condition:
        case Compare(field, Operator.EXISTS, operand):
            return _NONE if operand else frozenset({field})
        case AllOf(conditions):
            return _common(map(present_unless, conditions))
        case AnyOf(conditions):
            return _union(map(present_unless, conditions))
        case NoneOf(inner):
            return present_if(inner)
        case _:
            return _NONE


def _compared(compare: Compare) -> frozenset[str]:
    if compare.operator is Operator.EXISTS and not compare.operand:
        return _NONE
    return mentioned_fields(compare)


def _union(found: Iterable[frozenset[str]]) -> frozenset[str]:
    return reduce(frozenset.union, found, _NONE)


def _common(found: Iterable[frozenset[str]]) -> frozenset[str]:
    each = list(found)
    return reduce(frozenset.intersection, each) if each else _NONE
