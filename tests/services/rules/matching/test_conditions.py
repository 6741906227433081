from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from services.rules.matching.conditions import FieldValue, compile_condition, holds
from services.rules.rulebook.model import (
    ALWAYS,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Field,
    NoneOf,
    Operand,
    Operator,
    mentioned_fields,
)

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
WALL_NOON = NOON.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("value", "operator", "operand", "expected"),
    [
        ("a", Operator.IS, "a", True),
        ("a", Operator.IS, "b", False),
        (None, Operator.IS, "a", False),
        (1, Operator.IS, 1, True),
        (1, Operator.IS, True, False),
        (1, Operator.IS, "1", False),
        (1.0, Operator.IS, 1, True),
        (True, Operator.IS, True, True),
        (date(2027, 3, 1), Operator.IS, NOON, False),
        ("a", Operator.IS_NOT, "b", True),
        (1, Operator.IS_NOT, True, True),
        (None, Operator.IS_NOT, "b", False),
        ("b", Operator.ONE_OF, ("a", "b"), True),
        ("c", Operator.ONE_OF, ("a", "b"), False),
        (1, Operator.ONE_OF, (True, 2), False),
        (2, Operator.ONE_OF, (True, 2), True),
        (3, Operator.AT_LEAST, 3, True),
        (3, Operator.AT_MOST, 2.5, False),
        (3, Operator.MORE_THAN, 3, False),
        (-1, Operator.LESS_THAN, 0, True),
        (True, Operator.AT_LEAST, 0, False),
        ("abc", Operator.MORE_THAN, "abb", False),
        ("abc", Operator.MORE_THAN, 3, False),
        (date(2027, 3, 1), Operator.LESS_THAN, date(2027, 3, 2), True),
        (NOON, Operator.LESS_THAN, date(2027, 3, 2), False),
        (NOON, Operator.LESS_THAN, NOON + timedelta(seconds=1), True),
        (NOON, Operator.AT_LEAST, NOON + timedelta(seconds=1), False),
        (NOON, Operator.AT_LEAST, WALL_NOON, False),  # whose noon it is, is not known
        (WALL_NOON, Operator.AT_LEAST, WALL_NOON, True),
        (Decimal("2.50"), Operator.AT_MOST, 2.5, True),
        (("a", "b"), Operator.INCLUDES, "b", True),
        (("a", "b"), Operator.INCLUDES, "c", False),
        ("ab", Operator.INCLUDES, "a", False),
        ("The Cover is late", Operator.CONTAINS, "cover", True),
        ("cover", Operator.CONTAINS, "COVER", True),
        ("my royalties", Operator.CONTAINS, "royalty", False),
        ("die Straße\u00a0dort", Operator.CONTAINS, "STRASSE DORT", True),  # a no-break space
        ("le chapitre \ufb01nal", Operator.CONTAINS, "final", True),  # a ligature
        ("re\u0301sume\u0301", Operator.CONTAINS, "r\u00e9sum\u00e9", True),  # accents composed or not
        ("résumé", Operator.CONTAINS, "resume", False),
        (("cover", "map"), Operator.CONTAINS, "cover", False),
        ("chapter 3", Operator.CONTAINS, 3, False),
        (None, Operator.CONTAINS, "cover", False),
        ("a", Operator.EXISTS, True, True),
        (None, Operator.EXISTS, True, False),
        (None, Operator.EXISTS, False, True),
        ((), Operator.EXISTS, False, True),
        (False, Operator.EXISTS, True, True),
        ("a", Operator.IS, Field("other"), True),
        ("b", Operator.IS, Field("other"), False),
        ("b", Operator.IS, Field("missing"), False),
        ("b", Operator.IS_NOT, Field("missing"), False),
    ],
)
def test_a_comparison(value: FieldValue | None, operator: Operator, operand: Operand, *, expected: bool) -> None:
    condition = Compare("field", operator, operand)
    document = {"field": value, "other": "a"}
    assert holds(condition, document) is expected
    assert compile_condition(condition)(document) is expected


def test_a_missing_key_and_none_are_the_same_absence() -> None:
    condition = Compare("gone", Operator.EXISTS, operand=False)
    assert holds(condition, {})
    assert holds(condition, {"gone": None})


YES = Compare("yes", Operator.EXISTS, operand=True)
NO = Compare("no", Operator.EXISTS, operand=True)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (ALWAYS, True),
        (AnyOf(()), False),
        (AllOf((YES, YES)), True),
        (AllOf((YES, NO)), False),
        (AllOf((NO,)), False),
        (AnyOf((NO, YES)), True),
        (NoneOf(NO), True),
        (NoneOf(AllOf((YES, NoneOf(NO)))), False),
    ],
)
def test_conditions_nest(condition: Condition, *, expected: bool) -> None:
    assert holds(condition, {"yes": 1}) is expected
    assert compile_condition(condition)({"yes": 1}) is expected


def test_not_turns_the_false_of_an_absent_field_to_true() -> None:
    assert holds(NoneOf(Compare("days_to.pub_date", Operator.LESS_THAN, 0)), {})


def test_mentioned_names_both_sides() -> None:
    condition = AllOf((YES, NoneOf(Compare("a", Operator.IS, Field("chain.b")))))
    assert mentioned_fields(condition) == {"yes", "a", "chain.b"}
