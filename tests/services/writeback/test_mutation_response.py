"""Answers to a mutation: three shapes of refusal, errors beside data, and answers of no known shape."""

from typing import Any

import pytest

from services.writeback.executor import read_mutation_response
from services.writeback.protocol import MutationAnswer


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ({"field": "title", "message": "is too long"}, "title: is too long"),
        ({"attribute": "title", "message": "is too long"}, "title: is too long"),
        ({"field": "title", "messages": ["is too long", "is odd"]}, "title: is too long; is odd"),
        ({"field": "title", "attribute": None, "message": None, "messages": ["is odd"]}, "title: is odd"),
        ({"message": "no"}, "no"),
        ("just text", "just text"),
    ],
)
def test_every_known_shape_of_refusal_gives_its_message(error: Any, sentence: str) -> None:
    reply = read_mutation_response({"data": {"updateWork": {"work": {"id": 1}, "errors": [error]}}}, "errors")
    assert (reply.answer, reply.messages) == (MutationAnswer.REFUSED, (sentence,))


@pytest.mark.parametrize("errors", ["no", 7, {"message": "no"}, [["no"]], {"field": [], "messages": {"a": 1}}])
def test_errors_of_any_shape_are_a_refusal(errors: Any) -> None:
    assert (
        read_mutation_response({"data": {"updateWork": {"errors": errors}}}, "errors").answer is MutationAnswer.REFUSED
    )


def test_deeply_nested_errors_are_a_refusal() -> None:
    deep: Any = "no"
    for _ in range(1_000):
        deep = [deep]
    for errors in (deep, [{"message": deep}], [{"field": deep, "messages": deep}]):
        assert (
            read_mutation_response({"data": {"updateWork": {"errors": errors}}}, "errors").answer
            is MutationAnswer.REFUSED
        )
        assert (
            read_mutation_response({"errors": [{"message": deep, "extensions": {"code": deep}}]}, "errors").answer
            is MutationAnswer.FAILED
        )


def test_long_error_messages_are_shortened() -> None:
    reply = read_mutation_response({"errors": [{"message": "x" * 10_000}] * 1_000}, "errors")
    assert sum(map(len, reply.messages)) <= 10_000


@pytest.mark.parametrize("errors", [[], None])
def test_a_payload_without_errors_is_accepted(errors: Any) -> None:
    assert (
        read_mutation_response({"data": {"updateWork": {"errors": errors}}}, "errors").answer is MutationAnswer.ACCEPTED
    )


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [{"message": "boom"}], "data": {"updateWork": {"errors": []}}},
        {"errors": [{"message": "boom"}], "data": None},
        {"data": {"updateWork": None}},
        {"data": {"updateWork": {}}},
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
def test_any_other_answer_is_a_failure(body: Any) -> None:
    assert read_mutation_response(body, "errors").answer is MutationAnswer.FAILED


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        ({"message": "Cannot query field 'x' on type 'Mutation'."}, True),
        ({"message": "Field 'x' doesn't exist on type 'Mutation'"}, True),
        ({"message": "no", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}, True),
        ({"message": "boom"}, False),
    ],
)
def test_an_unknown_field_shows_a_changed_schema(error: Any, *, changed: bool) -> None:
    assert read_mutation_response({"errors": [error]}, "errors").schema_changed is changed
