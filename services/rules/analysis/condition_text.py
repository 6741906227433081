"""Says a condition in words, as the picture of a rule and the explanation of a decision show it."""

from collections.abc import Iterator, Mapping
from typing import Any, assert_never

from services.rules.rulebook.model import AllOf, AnyOf, Compare, Condition, Field, NoneOf, Operator

OPERATORS: Mapping[Operator, str] = {
    Operator.IS: "is",
    Operator.IS_NOT: "is not",
    Operator.ONE_OF: "is one of",
    Operator.AT_LEAST: "is at least",
    Operator.AT_MOST: "is at most",
    Operator.MORE_THAN: "is more than",
    Operator.LESS_THAN: "is less than",
    Operator.INCLUDES: "includes",
    Operator.CONTAINS: "contains",
}


def value_text(value: Any) -> str:
    """A value as rule files write it."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def comparison_text(compare: Compare, operand: str) -> str:
    """``operand`` is the right-hand side in words; of ``exists`` it does not matter."""
    if compare.operator is Operator.EXISTS:
        return f"{compare.field} {'exists' if compare.operand else 'does not exist'}"
    return f"{compare.field} {OPERATORS[compare.operator]} {operand}"


def condition_text(condition: Condition) -> str:
    """The whole of it in one line; empty for one that always holds."""
    match condition:
        case Compare():
            operand = condition.operand
            return comparison_text(condition, operand.name if isinstance(operand, Field) else value_text(operand))
        case AllOf(parts):
            return " and ".join(_grouped(parts, AnyOf))
        case AnyOf(parts):
            return " or ".join(_grouped(parts, AllOf))
        case NoneOf(inner):
            return f"not ({condition_text(inner)})"
        case _:
            assert_never(condition)


def _grouped(parts: tuple[Condition, ...], other: type[AllOf] | type[AnyOf]) -> Iterator[str]:
    """Each part; one that joins several by the other word in brackets."""
    for part in parts:
        text = condition_text(part)
        yield f"({text})" if len(parts) > 1 and isinstance(part, other) and len(part.conditions) > 1 else text
