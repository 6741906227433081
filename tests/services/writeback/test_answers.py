"""An answer is read for what it says, whatever its HTTP status: three shapes of refusal, errors beside data."""

from typing import Any

import pytest

from services.writeback.answers import reply_of
from services.writeback.protocol import Answer


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
    reply = reply_of({"data": {"updateWork": {"work": {"id": 1}, "errors": [error]}}}, "errors")
    assert (reply.answer, reply.sentences) == (Answer.REFUSED, (sentence,))


@pytest.mark.parametrize("errors", ["no", 7, {"message": "no"}, [["no"]], {"field": [], "messages": {"a": 1}}])
def test_a_refusal_of_any_shape_is_one(errors: Any) -> None:
    assert reply_of({"data": {"updateWork": {"errors": errors}}}, "errors").answer is Answer.REFUSED


def test_a_refusal_nested_as_deep_as_json_allows_is_one() -> None:
    deep: Any = "no"
    for _ in range(1_000):
        deep = [deep]
    for errors in (deep, [{"message": deep}], [{"field": deep, "messages": deep}]):
        assert reply_of({"data": {"updateWork": {"errors": errors}}}, "errors").answer is Answer.REFUSED
        assert reply_of({"errors": [{"message": deep, "extensions": {"code": deep}}]}, "errors").answer is Answer.FAILED


def test_what_a_server_says_at_length_is_kept_in_short() -> None:
    reply = reply_of({"errors": [{"message": "x" * 10_000}] * 1_000}, "errors")
    assert sum(map(len, reply.sentences)) <= 10_000


@pytest.mark.parametrize("errors", [[], None])
def test_no_errors_and_a_payload_is_accepted(errors: Any) -> None:
    assert reply_of({"data": {"updateWork": {"errors": errors}}}, "errors").answer is Answer.ACCEPTED


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
    assert reply_of(body, "errors").answer is Answer.FAILED


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
    assert reply_of({"errors": [error]}, "errors").schema_changed is changed
