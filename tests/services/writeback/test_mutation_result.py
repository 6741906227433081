"""An answer is read for what it says, whatever its HTTP status: three shapes of refusal, errors beside data."""

from typing import Any

import pytest

from services.writeback.mutation_result import read_mutation_result
from services.writeback.protocol import MutationAnswer


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ({"field": "title", "message": "is too long"}, "title: is too long"),
        ({"attribute": "title", "message": "is too long"}, "title: is too long"),
        ({"field": "title", "messages": ["is too long", "is odd"]}, "title: is too long; is odd"),
        ({"field": "title", "attribute": None, "message": None, "messages": ["is odd"]}, "title: is odd"),
        ({"message": "no"}, "no"),
        ("just words", "just words"),
    ],
)
def test_every_shape_of_refusal_is_understood(error: Any, sentence: str) -> None:
    reply = read_mutation_result({"data": {"updateWork": {"work": {"id": 1}, "errors": [error]}}}, "errors")
    assert (reply.answer, reply.messages) == (MutationAnswer.REFUSED, (sentence,))


@pytest.mark.parametrize("errors", ["no", 7, {"message": "no"}, [["no"]], {"field": [], "messages": {"a": 1}}])
def test_a_refusal_of_any_shape_is_one(errors: Any) -> None:
    assert read_mutation_result({"data": {"updateWork": {"errors": errors}}}, "errors").answer is MutationAnswer.REFUSED


def test_a_refusal_nested_as_deep_as_json_allows_is_one() -> None:
    deep: Any = "no"
    for _ in range(1_000):
        deep = [deep]
    for errors in (deep, [{"message": deep}], [{"field": deep, "messages": deep}]):
        assert (
            read_mutation_result({"data": {"updateWork": {"errors": errors}}}, "errors").answer
            is MutationAnswer.REFUSED
        )
        assert (
            read_mutation_result({"errors": [{"message": deep, "extensions": {"code": deep}}]}, "errors").answer
            is MutationAnswer.FAILED
        )


def test_what_a_server_says_at_length_is_kept_in_short() -> None:
    reply = read_mutation_result({"errors": [{"message": "x" * 10_000}] * 1_000}, "errors")
    assert sum(map(len, reply.messages)) <= 10_000


@pytest.mark.parametrize("errors", [[], None])
def test_no_errors_and_a_payload_is_accepted(errors: Any) -> None:
    assert (
        read_mutation_result({"data": {"updateWork": {"errors": errors}}}, "errors").answer is MutationAnswer.ACCEPTED
    )


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [{"message": "boom"}], "data": {"updateWork": {"errors": []}}},
        {"errors": [{"message": "boom"}], "data": None},
        {"data": {"updateWork": None}},
        {"data": {}},
        {},
        ["a list"],
        {"data": "yes"},
        {"data": ["yes"]},
        {"data": {"updateWork": "yes"}},
        {"data": {"updateWork": [1]}},
        {"data": {"updateWork": {"errors": []}, "deleteWork": 7}},
        {"errors": 7},
        {"errors": {"message": ["boom"]}},
        {"errors": [None, 7, {"extensions": {"code": []}, "messages": 7}]},
    ],
)
def test_anything_less_is_no_success(body: Any) -> None:
    assert read_mutation_result(body, "errors").answer is MutationAnswer.FAILED


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        ({"message": "Cannot query field 'x' on type 'Mutation'."}, True),
        ({"message": "Field 'x' doesn't exist on type 'Mutation'"}, True),
        ({"message": "no", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}, True),
        ({"message": "boom"}, False),
    ],
)
def test_a_server_that_no_longer_knows_a_field_is_noticed(error: Any, *, changed: bool) -> None:
    assert read_mutation_result({"errors": [error]}, "errors").schema_changed is changed
