"""Capabilities follow from the schema, and so does the selection of a payload's errors."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from graphql import GraphQLSchema, build_schema

import services.writeback
from services.writeback import capabilities
from services.writeback.capabilities import Capabilities, OperationSupport, choose_support, examine_schema
from services.writeback.comparison import ChangeComparison, ComparisonStatus
from services.writeback.operation_mapping import load_mapping
from shared.contracts.writes import WriteOperation

WAYS = load_mapping(Path(services.writeback.__file__).parent / "mapping" / "extended.yaml")
SCHEMA = """
    type Query { work(workSearch: Search): Work }
    input Search { idEq: Int }
    type Work { id: Int title: String }
    input UpdateWorkInput { clientMutationId: String id: Int! title: String }
    type Mutation { updateWork(input: UpdateWorkInput): UpdateWorkPayload }
    type UpdateWorkPayload { work: Work %s }
"""


def title(errors: str) -> OperationSupport:
    schema = build_schema(SCHEMA % errors)
    found = choose_support(
        examine_schema(schema, WAYS), WriteOperation.APPLY_METADATA, {"field": "title", "level": "work"}
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("errors", "selected"),
    [
        ("errors: [E!] } type E { field: String messages: [String!]", "errors { field messages }"),
        ("errors: [E!] } type E { attribute: String work: Work", "errors { attribute }"),
        ("errors: [E!] } interface E { code: String message: String", "errors { code message }"),
        ("errors: [U!] } union U = E type E { message: String", "errors { __typename }"),
        ("errors: [E!] } type E { work: Work", "errors { __typename }"),
        ("errors: [String!]", "work { id } errors }"),
        ("", "{ work { id } } }"),
    ],
)
def test_errors_are_requested_as_the_schema_has_them(errors: str, selected: str) -> None:
    written = title(errors).write
    assert written is not None
    assert selected in " ".join(written.split())


def test_an_operation_is_unsupported_where_the_schema_lacks_a_field() -> None:
    schema: GraphQLSchema = build_schema(SCHEMA % "")
    by_name = {support.name: support for support in examine_schema(schema, WAYS)}
    assert by_name["work title"].write is not None
    assert by_name["work subtitle"].write is None
    assert "subtitle" in by_name["work subtitle"].schema_errors[0]


def test_replacing_a_text_needs_the_mutation_that_removes_it() -> None:
    support = title("")
    assert support.allows(ChangeComparison(ComparisonStatus.CLEAR))
    assert not support.allows(ChangeComparison(ComparisonStatus.CLEAR, stale=(7,)))
    assert not support._replace(write=None).allows(ChangeComparison(ComparisonStatus.CLEAR))


class _Server:
    async def fetch_schema(self) -> GraphQLSchema:
        return build_schema(SCHEMA % "")


async def test_capabilities_are_examined_every_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """An addition to the schema makes no request fail, so nothing else shows it."""
    found, now = Capabilities(WAYS), [1000.0]
    monkeypatch.setattr(capabilities, "time", SimpleNamespace(monotonic=lambda: now[0]))
    assert found.is_outdated
    await found.refresh(cast("Any", _Server()))
    now[0] += 59 * 60
    assert not found.is_outdated
    now[0] += 2 * 60
    assert found.is_outdated


def test_a_field_that_is_not_mapped_has_no_support() -> None:
    supports = examine_schema(build_schema(SCHEMA % ""), WAYS)
    assert (
        choose_support(supports, WriteOperation.APPLY_METADATA, {"field": "contributor_name", "level": "work"}) is None
    )
