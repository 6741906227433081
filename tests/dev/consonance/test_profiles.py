"""The two profiles, as introspection shows them."""

from typing import Any

import pytest
from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema, build_client_schema, get_introspection_query

from dev.consonance.schema import Profile
from tests.dev.consonance.simulator_under_test import running_simulator

_DOCUMENTED_MUTATIONS = {
    "updateWork",
    "updateProduct",
    "updateContract",
    "createGratisCopy",
    "updateGratisCopy",
    "createMarketingText",
}


async def _introspected(profile: Profile) -> GraphQLSchema:
    async with running_simulator(profile=profile) as simulator:
        shown: Any = await simulator.ask(get_introspection_query(input_value_deprecation=True))
        return build_client_schema(shown)


def _fields(schema: GraphQLSchema, name: str) -> dict[str, GraphQLField]:
    found = schema.type_map[name]
    assert isinstance(found, GraphQLObjectType)
    return dict(found.fields)


async def test_the_documented_profile_offers_the_documented_mutations_and_no_more() -> None:
    schema = await _introspected(Profile.DOCUMENTED)
    assert set(_fields(schema, "Mutation")) == _DOCUMENTED_MUTATIONS
    assert "RightsRequest" not in schema.type_map
    assert "status" not in _fields(schema, "SupportingResource")


async def test_the_extended_profile_marks_every_addition_as_not_public() -> None:
    documented, extended = await _introspected(Profile.DOCUMENTED), await _introspected(Profile.EXTENDED)
    for name in ("Query", "Mutation", "Work", "SupportingResource", "MarketingText"):
        added = _fields(extended, name).keys() - _fields(documented, name).keys()
        assert added
        assert all("NOT PUBLIC" in (_fields(extended, name)[field].description or "") for field in added)
    new_types = extended.type_map.keys() - documented.type_map.keys()
    assert all("NOT PUBLIC" in (extended.type_map[name].description or "") for name in new_types)


@pytest.mark.parametrize("kind", ["PhysicalBookProduct", "ElectronicAudioProduct", "GenericProduct"])
async def test_every_product_type_has_the_fields_of_its_interface(kind: str) -> None:
    schema = await _introspected(Profile.DOCUMENTED)
    assert {"isbn", "publicationDate", "onixPublishingStatusCode", "work"} <= _fields(schema, kind).keys()
    assert str(_fields(schema, kind)["isbn"].type) == "ISBN"


async def test_the_documented_profile_refuses_what_is_not_public() -> None:
    async with running_simulator(profile=Profile.DOCUMENTED) as simulator:
        status, answer = await simulator.post("{ projectStages { id } }")
    assert status == 400 or "errors" in answer
    assert "projectStages" in answer["errors"][0]["message"]
