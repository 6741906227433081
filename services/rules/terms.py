"""The smallest words of the rule files: where something stands, comparisons, spans of time, people meant.

Everything here is frozen and knows nothing of files; ``Place`` remembers where it was written, for error messages.
"""

import dataclasses
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import assert_never

from shared.clients.working_calendar import Duration


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Line and column count from 1."""

    file: str
    line: int
    column: int


NOWHERE = Place("", 0, 0)


class Operator(StrEnum):
    IS = "is"
    IS_NOT = "is_not"
    ONE_OF = "one_of"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    MORE_THAN = "more_than"
    LESS_THAN = "less_than"
    INCLUDES = "includes"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Field:
    """Another field's value: ``{field: chain.terms_hash}``."""

    name: str
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


Literal = str | int | float | bool | date
Operand = Literal | tuple[Literal, ...] | Field


@dataclass(frozen=True, slots=True)
class Compare:
    field: str
    operator: Operator
    operand: Operand
    operand_places: tuple[Place, ...] = dataclasses.field(default=(), compare=False, repr=False)
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AllOf:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """``not:``; it turns false to true, an absent field's false included."""

    condition: "Condition"


Condition = Compare | AllOf | AnyOf | NoneOf

ALWAYS = AllOf(())


def comparisons(condition: Condition) -> tuple[Compare, ...]:
    """Every comparison within a condition, in the order of the file."""
    match condition:
        case Compare():
            return (condition,)
        case AllOf(conditions) | AnyOf(conditions):
            return tuple(found for each in conditions for found in comparisons(each))
        case NoneOf(inner):
            return comparisons(inner)
        case _:
            assert_never(condition)


def mentioned_fields(condition: Condition) -> frozenset[str]:
    """Every field that a condition looks at, on either side of a comparison."""
    compared = comparisons(condition)
    others = (each.operand.name for each in compared if isinstance(each.operand, Field))
    return frozenset((*(each.field for each in compared), *others))


@dataclass(frozen=True, slots=True)
class After:
    """Counted from the sending of the last done step."""

    span: Duration


@dataclass(frozen=True, slots=True)
class At:
    """A date or instant field, or so long before (``sign`` -1) or after (+1) it."""

    field: str
    span: Duration | None = None
    sign: int = 0


Timing = After | At


@dataclass(frozen=True, slots=True)
class Team:
    name: str


Who = tuple[str | Team, ...]
"""Roles, party fields, ``sender``, ``unanswered``, ``told``, or teams; everybody named is meant, each person once."""


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
