"""docs/push-api.yaml describes the endpoint for pushed events, and every event that ingest accepts fits it."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ops.openapi import PATH, openapi_document, openapi_yaml
from shared.contracts import consonance
from tests.services.ingest.test_cloudevents import asked, blocked, moved

DOCUMENT = openapi_document()
GOLDEN = sorted((Path(__file__).parents[2] / "shared/contracts/golden").glob("consonance.*.json"))


def validator() -> Draft202012Validator:
    (media,) = (
        media
        for name, media in DOCUMENT["paths"]["/consonance/events"]["post"]["requestBody"]["content"].items()
        if "batch" not in name
    )
    return Draft202012Validator({**media["schema"], "components": DOCUMENT["components"]})


def test_the_checked_in_description_is_the_generated_one() -> None:
    assert PATH.read_text() == openapi_yaml(), "run: stet openapi --write"


def test_every_kind_of_event_is_described_and_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    described = {schema["title"] for schema in schemas.values() if schema.get("title", "").startswith("consonance.")}
    assert described == set(consonance.KINDS)
    named = {part.partition('"')[0] for part in json.dumps(DOCUMENT).split("#/components/schemas/")[1:]}
    assert named <= set(schemas)


@pytest.mark.parametrize("event", [blocked(), moved(), asked()], ids=["blocked", "moved", "asked"])
def test_an_event_that_ingest_accepts_fits(event: dict[str, Any]) -> None:
    assert [error.message for error in validator().iter_errors(event)] == []


@pytest.mark.parametrize("file", GOLDEN, ids=[file.stem for file in GOLDEN])
def test_an_example_of_every_kind_fits(file: Path) -> None:
    assert [error.message for error in validator().iter_errors(without_person_ids(json.loads(file.read_text())))] == []


def without_person_ids(value: Any) -> Any:
    """As a sender gives it: ingest adds the person ids."""
    if isinstance(value, list):
        return [without_person_ids(one) for one in value]
    if isinstance(value, dict):
        return {key: without_person_ids(one) for key, one in value.items() if key != "person_id"}
    return value


def test_an_event_without_a_required_field_does_not_fit() -> None:
    event = blocked()
    del event["data"]["block_id"]
    assert list(validator().iter_errors(event))
