"""A result is computed once for a value, and only for that value."""

import sys
from dataclasses import replace
from pathlib import Path

from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.people import working_hours
from services.rules.identity_cache import cached_by_identity
from shared.contracts.ids import ContactId, TenantId, person_id_of_contact
from tests.services.rules.rulebooks import good_book

GOLDEN = Path(__file__).parents[3] / "shared" / "contracts" / "golden"

_calls: list[tuple[list[int], str]] = []


@cached_by_identity(most=2)
def _spelled(values: list[int], unit: str) -> str:
    _calls.append((values, unit))
    return f"{values}{unit}"


def test_the_same_value_is_worked_out_once() -> None:
    _calls.clear()
    values = [1]
    assert [_spelled(values, "m"), _spelled(values, "m"), _spelled(values, "s")] == ["[1]m", "[1]m", "[1]s"]
    assert len(_calls) == 2


def test_an_equal_value_is_another() -> None:
    _calls.clear()
    first, second = [1], [1]
    assert _spelled(first, "m") == _spelled(second, "m")
    assert len(_calls) == 2


def test_the_oldest_is_forgotten() -> None:
    _calls.clear()
    lots = [[1], [2], [3]]
    for values in (*lots, lots[0]):
        _spelled(values, "m")
    assert len(_calls) == 4


def test_the_working_hours_of_a_rulebook_are_forgotten_with_it() -> None:
    """Each story has a rulebook with its own people, and the hours of all of them were kept."""
    person = PersonFacts(
        person_id=person_id_of_contact(TenantId("story"), ContactId(7)),
        display_name="Ann",
        country="GB",
        reachable=True,
    )
    book = replace(good_book())
    held = sys.getrefcount(book)
    hours = working_hours(book, person)
    assert working_hours(book, person) is hours
    for _ in range(20):
        working_hours(replace(book), person)
    assert sys.getrefcount(book) == held
