"""Whether a condition holds of a flat document: the reference that the rule engine is checked against, on every event.

A document maps dotted paths to values; a missing key and None are the same absence, and so is an empty list.
"""

import operator
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, assert_never

from services.rules.terms import AllOf, AnyOf, Compare, Condition, Field, NoneOf, Operand, Operator

Value = str | int | float | Decimal | bool | date | datetime | tuple[object, ...]
Document = Mapping[str, Value | None]
Test = Callable[[Document], bool]


class Scale(StrEnum):
    """Values that have an order, each kind among its own."""

    NUMBER = "number"
    DATE = "date"
    INSTANT = "instant"
    WALL_TIME = "wall_time"


_SCALES: Mapping[type, Scale] = {int: Scale.NUMBER, float: Scale.NUMBER, Decimal: Scale.NUMBER, date: Scale.DATE}


def present(value: object) -> bool:
    return value is not None and value != ()


def scale_of(value: object) -> Scale | None:
    """None for what has no order here: texts, flags, lists."""
    if isinstance(value, datetime):
        return Scale.INSTANT if value.tzinfo else Scale.WALL_TIME
    return _SCALES.get(type(value))


def same(left: object, right: object) -> bool:
    """Equal and of one kind: ``1`` is neither ``true`` nor ``"1"``."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _ordered(test: Callable[[Any, Any], Any]) -> Callable[[object, object], bool]:
    """Across scales, and for what has none, every comparison is false."""

    def compare(left: object, right: object) -> bool:
        scale = scale_of(left)
        return scale is not None and scale is scale_of(right) and bool(test(left, right))

    return compare


def _among(left: object, right: object) -> bool:
    return isinstance(right, tuple) and any(same(left, choice) for choice in right)


def _includes(left: object, right: object) -> bool:
    return isinstance(left, tuple) and any(same(item, right) for item in left)


_TESTS: Mapping[Operator, Callable[[object, object], bool]] = {
    Operator.IS: same,
    Operator.IS_NOT: lambda left, right: not same(left, right),
    Operator.ONE_OF: _among,
    Operator.AT_LEAST: _ordered(operator.ge),
    Operator.AT_MOST: _ordered(operator.le),
    Operator.MORE_THAN: _ordered(operator.gt),
    Operator.LESS_THAN: _ordered(operator.lt),
    Operator.INCLUDES: _includes,
}


def compare(condition: Compare, document: Document) -> bool:
    """One comparison; false where the field, or the field it is compared with, is absent."""
    left = document.get(condition.field)
    if condition.operator is Operator.EXISTS:
        return present(left) is condition.operand
    right: Operand | Value | None = condition.operand
    if isinstance(right, Field):
        right = document.get(right.name)
    return present(left) and present(right) and _TESTS[condition.operator](left, right)


def holds(condition: Condition, document: Document) -> bool:
    match condition:
        case Compare():
            return compare(condition, document)
        case AllOf(conditions):
            return all(holds(each, document) for each in conditions)
        case AnyOf(conditions):
            return any(holds(each, document) for each in conditions)
        case NoneOf(inner):
            return not holds(inner, document)
        case _:
            assert_never(condition)


def compile_condition(condition: Condition) -> Test:
    """The same answer as ``holds``, several times sooner."""
    match condition:
        case Compare():
            return _compile_compare(condition)
        case AllOf(conditions):
            return _compile_all(tuple(map(compile_condition, conditions)))
        case AnyOf(conditions):
            return _compile_any(tuple(map(compile_condition, conditions)))
        case NoneOf(inner):
            test = compile_condition(inner)
            return lambda document: not test(document)
        case _:
            assert_never(condition)


def _compile_compare(condition: Compare) -> Test:
    field, operand = condition.field, condition.operand
    if condition.operator is Operator.IS and isinstance(operand, str):
        return lambda document: document.get(field) == operand
    if condition.operator is Operator.ONE_OF and _all_text(operand):
        choices = frozenset(operand) if isinstance(operand, tuple) else frozenset()
        return lambda document: isinstance(value := document.get(field), str) and value in choices
    return lambda document: compare(condition, document)


def _all_text(operand: Operand) -> bool:
    return isinstance(operand, tuple) and all(isinstance(choice, str) for choice in operand)


def _compile_all(tests: tuple[Test, ...]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def every(document: Document) -> bool:
        for test in tests:  # noqa: SIM110 -- a generator would cost more than most tests do
            if not test(document):
                return False
        return True

    return every


def _compile_any(tests: tuple[Test, ...]) -> Test:
    return lambda document: any(test(document) for test in tests)


def mentioned(condition: Condition) -> frozenset[str]:
    """Every field a condition looks at, on either side."""
    return frozenset(name for each in comparisons(condition) for name in _names(each))


def comparisons(condition: Condition) -> tuple[Compare, ...]:
    match condition:
        case Compare():
            return (condition,)
        case AllOf(conditions) | AnyOf(conditions):
            return tuple(found for each in conditions for found in comparisons(each))
        case NoneOf(inner):
            return comparisons(inner)
        case _:
            assert_never(condition)


def _names(condition: Compare) -> tuple[str, ...]:
    if isinstance(condition.operand, Field):
        return (condition.field, condition.operand.name)
    return (condition.field,)
