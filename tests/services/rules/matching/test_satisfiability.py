"""Values for which a condition holds, and that there are none."""

import pytest

from services.rules.matching import satisfiability
from services.rules.matching.conditions import holds
from services.rules.matching.satisfiability import TooManyValuesError, solutions
from services.rules.rulebook.model import AllOf, AnyOf, Compare, Condition, Field, NoneOf, Operator

EVENT = "schedule.date_changed"


def compare(field: str, operator: Operator, operand: object) -> Compare:
    return Compare(field, operator, operand)  # type: ignore[arg-type]  # a literal


TEXT = "work.title"
POSSIBLE: dict[str, Condition] = {
    "a word": compare(TEXT, Operator.IS, "Dunes"),
    "another word": NoneOf(compare(TEXT, Operator.IS, "Dunes")),
    "between two numbers": AllOf(
        (compare("work.work_id", Operator.MORE_THAN, 4), compare("work.work_id", Operator.LESS_THAN, 6))
    ),
    "two fields that differ": compare("old_due", Operator.LESS_THAN, Field("new_due")),
    "an absent field": compare("new_due", Operator.EXISTS, operand=False),
    "somebody abroad": AllOf(
        (
            compare("recipient.country", Operator.IS_NOT, "GB"),
            NoneOf(compare("recipient.country", Operator.ONE_OF, ("FR", "US"))),
            compare("recipient.staff", Operator.IS, operand=False),
        )
    ),
    "several words in one text": AllOf(
        (
            compare(TEXT, Operator.CONTAINS, "tide"),
            compare(TEXT, Operator.CONTAINS, "mill"),
            NoneOf(compare(TEXT, Operator.CONTAINS, "dune")),
        )
    ),
    "some of many items, and not the others": AllOf(
        (
            *(compare("launch.missing", Operator.INCLUDES, item) for item in ("metadata", "price", "rights")),
            *(
                NoneOf(compare("launch.missing", Operator.INCLUDES, item))
                for item in ("front_cover", "full_cover", "jacket_copy")
            ),
        )
    ),
    "one of two": AnyOf((compare(TEXT, Operator.IS, "a"), compare(TEXT, Operator.IS, "b"))),
}
IMPOSSIBLE: dict[str, Condition] = {
    "two words at once": AllOf((compare(TEXT, Operator.IS, "a"), compare(TEXT, Operator.IS, "b"))),
    "more and less": AllOf(
        (compare("work.work_id", Operator.MORE_THAN, 5), compare("work.work_id", Operator.LESS_THAN, 5))
    ),
    "absent and known": AllOf(
        (compare("new_due", Operator.EXISTS, operand=False), compare("new_due", Operator.IS, Field("old_due")))
    ),
    "a fact of other events": compare("rights.status", Operator.IS, "licensed"),
    "somebody without a language": compare("recipient.language", Operator.EXISTS, operand=False),
    "before itself": AllOf(
        (
            compare("old_due", Operator.LESS_THAN, Field("new_due")),
            compare("new_due", Operator.LESS_THAN, Field("old_due")),
        )
    ),
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_the_values_found_make_the_condition_true(name: str) -> None:
    values = next(solutions(POSSIBLE[name], EVENT))
    assert holds(POSSIBLE[name], values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_contradiction_has_no_values(name: str) -> None:
    assert list(solutions(IMPOSSIBLE[name], EVENT)) == []


def test_too_many_combinations_are_said_and_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(satisfiability, "_MOST_TRIED", 3)
    with pytest.raises(TooManyValuesError):
        list(solutions(IMPOSSIBLE["before itself"], EVENT))
