"""What a Consonance can do is what its schema accepts; the errors of a payload are asked for as it shows them."""

from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema

import services.writeback
from services.writeback.capabilities import OperationSupport, choose_support, examine_schema
from services.writeback.comparison import ChangeComparison, ComparisonStatus
from services.writeback.operation_mapping import load_mapping
from shared.contracts.writes import Operation

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
    found = choose_support(examine_schema(schema, WAYS), Operation.APPLY_METADATA, {"field": "title", "level": "work"})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("errors", "selected"),
    [
        ("errors: [E!] } type E { field: String messages: [String!]", "errors { field messages }"),
        ("errors: [E!] } type E { attribute: String work: Work", "errors { attribute }"),
        ("errors: [String!]", "work { id } errors }"),
        ("", "{ work { id } } }"),
    ],
)
def test_errors_are_asked_for_as_the_schema_shows_them(errors: str, selected: str) -> None:
    written = title(errors).write
    assert written is not None
    assert selected in " ".join(written.split())


def test_what_the_schema_lacks_is_not_supported() -> None:
    schema: GraphQLSchema = build_schema(SCHEMA % "")
    by_name = {support.name: support for support in examine_schema(schema, WAYS)}
    assert by_name["work title"].write is not None
    assert by_name["work subtitle"].write is None
    assert "subtitle" in by_name["work subtitle"].schema_errors[0]


def test_a_text_that_must_be_removed_needs_its_mutation() -> None:
    support = title("")
    assert support.allows(ChangeComparison(ComparisonStatus.CLEAR))
    assert not support.allows(ChangeComparison(ComparisonStatus.CLEAR, stale=(7,)))
    assert not support._replace(write=None).allows(ChangeComparison(ComparisonStatus.CLEAR))


def test_a_field_nobody_mapped_has_no_way() -> None:
    capabilities = examine_schema(build_schema(SCHEMA % ""), WAYS)
    assert (
        choose_support(capabilities, Operation.APPLY_METADATA, {"field": "contributor_name", "level": "work"}) is None
    )
