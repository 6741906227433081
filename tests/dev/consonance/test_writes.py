"""The documented mutations: tidied, kept, read back, or refused in one of three shapes."""

from typing import Any

import pytest

from tests.dev.consonance.simulator_under_test import SimulatorUnderTest

_UPDATE_WORK = """mutation ($input: UpdateWorkInput) { updateWork(input: $input) {
    clientMutationId work { title subtitle projectStage } errors { field attribute message messages } } }"""
_UPDATE_PRODUCT = """mutation ($input: UpdateProductInput!) { updateProduct(input: $input) {
    product { title titlePrefix titleWithoutPrefix fullTitle publicationDate onixPublishingStatusCode isbn { isbn13 } }
    errors { field attribute message messages } } }"""


async def _work(simulator: SimulatorUnderTest, **given: Any) -> dict[str, Any]:
    payload: dict[str, Any] = (await simulator.ask(_UPDATE_WORK, input={"id": 61417, **given}))["updateWork"]
    return payload


async def _product(simulator: SimulatorUnderTest, **given: Any) -> dict[str, Any]:
    payload: dict[str, Any] = (await simulator.ask(_UPDATE_PRODUCT, input={"id": 94741, **given}))["updateProduct"]
    return payload


def _said(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in error.items() if value is not None} for error in errors]


async def test_a_work_stores_normalised_texts(simulator: SimulatorUnderTest) -> None:
    payload = await _work(simulator, title="  The  Salt\u00a0Way ", subtitle="Cafe\u0301s", clientMutationId="m-1")
    assert payload == {
        "clientMutationId": "m-1",
        "work": {"title": "The Salt Way", "subtitle": "Cafés", "projectStage": "Author proof review"},
        "errors": [],
    }
    assert (await simulator.tell("GET", "works/61417"))["title"] == "The Salt Way"


async def test_a_stage_is_set_by_number_and_read_by_name(simulator: SimulatorUnderTest) -> None:
    assert (await _work(simulator, projectStageId=12))["work"]["projectStage"] == "Final proof approved"


async def test_a_product_splits_its_title_and_inherits_the_works_again_when_it_is_cleared(
    simulator: SimulatorUnderTest,
) -> None:
    product = (await _product(simulator, title="L’Île aux sels"))["product"]
    assert (product["titlePrefix"], product["titleWithoutPrefix"]) == ("L’", "Île aux sels")
    assert product["title"] == "L’Île aux sels"
    assert (await _product(simulator, title=""))["product"]["title"] == "The Salt Road"


async def test_a_product_keeps_dates_status_and_isbn(simulator: SimulatorUnderTest) -> None:
    given = {"publicationDate": "2027-09-30", "onixPublishingStatusCode": "_03", "isbn": "978-0-306-40615-7"}
    product = (await _product(simulator, **given))["product"]
    assert product["publicationDate"] == "2027-09-30"
    assert (product["onixPublishingStatusCode"], product["isbn"]["isbn13"]) == ("_03", "9780306406157")


async def test_refusals_come_in_three_shapes_and_write_nothing(simulator: SimulatorUnderTest) -> None:
    assert _said((await _work(simulator, title=" "))["errors"]) == [{"field": "title", "message": "can't be blank"}]
    wrong = await _product(simulator, publicationDate="2027-10-01", isbn="12")
    assert _said(wrong["errors"]) == [{"attribute": "isbn", "message": "is not a valid ISBN"}]
    answer = await simulator.ask(
        """mutation { createMarketingText(input: {workId: 61417, externalTextMarkdown: " "}) {
           marketingText { id } errors { field attribute message messages } } }"""
    )
    refused = answer["createMarketingText"]
    assert _said(refused["errors"]) == [{"field": "externalTextMarkdown", "messages": ["can't be blank"]}]
    assert (await simulator.tell("GET", "products/94741"))["publication_date"] == "2027-09-09"


async def test_a_work_and_its_products_are_written_together_or_not_at_all(simulator: SimulatorUnderTest) -> None:
    products = [{"id": 94741, "subtitle": "new"}, {"id": 94742, "isbn": "12"}]
    payload = await _work(simulator, title="New", products=products)
    assert payload["work"] is None
    assert (await simulator.tell("GET", "works/61417"))["title"] == "The Salt Road"
    assert (await simulator.tell("GET", "products/94741"))["own_subtitle"] is None


async def test_a_record_that_does_not_exist_is_a_graphql_error_with_status_200(simulator: SimulatorUnderTest) -> None:
    status, answer = await simulator.post(_UPDATE_WORK, input={"id": 1, "title": "x"})
    assert status == 200
    assert answer["data"] == {"updateWork": None}
    assert "Couldn't find Work" in answer["errors"][0]["message"]


@pytest.mark.parametrize("value", ["04", "_99"])
async def test_an_enum_takes_its_own_spelling_only(simulator: SimulatorUnderTest, value: str) -> None:
    _, answer = await simulator.post(_UPDATE_PRODUCT, input={"id": 94741, "onixPublishingStatusCode": value})
    assert "ONIXPublishingStatusCode" in answer["errors"][0]["message"]


async def test_a_contract_is_signed(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.ask(
        'mutation { updateContract(input: {id: 88, signedDate: "2027-03-01"}) { contract { signedDate } } }'
    )
    assert answer["updateContract"]["contract"]["signedDate"] == "2027-03-01"


async def test_gratis_copies_are_made_and_changed(simulator: SimulatorUnderTest) -> None:
    given = "contractId: 88, productId: 94741, contactId: 801, numberOfCopies: 2"
    made = await simulator.ask(f"mutation {{ createGratisCopy(input: {{{given}}}) {{ gratisCopy {{ id }} }} }}")
    id_ = made["createGratisCopy"]["gratisCopy"]["id"]
    await simulator.ask(
        f"mutation {{ updateGratisCopy(input: {{id: {id_}, numberOfCopies: 3}}) {{ clientMutationId }} }}"
    )
    read = await simulator.ask("{ contract(contractSearch: {idEq: 88}) { gratisCopies { id numberOfCopies } } }")
    assert read["contract"]["gratisCopies"] == [{"id": id_, "numberOfCopies": 3}]


async def test_a_text_is_created_then_its_predecessor_deleted(simulator: SimulatorUnderTest) -> None:
    texts = (
        "{ work(workSearch: {idEq: 61423}) { marketingTexts(variantIn: [COVER_COPY]) { id externalTextMarkdown } } }"
    )
    [old] = (await simulator.ask(texts))["work"]["marketingTexts"]
    await simulator.ask(
        """mutation { createMarketingText(input: {workId: 61423, variant: COVER_COPY, externalTextMarkdown: "New."}) {
           marketingText { id } } }"""
    )
    await simulator.ask(f"mutation {{ deleteMarketingText(input: {{id: {old['id']}}}) {{ marketingText {{ id }} }} }}")
    left = (await simulator.ask(texts))["work"]["marketingTexts"]
    assert [text["externalTextMarkdown"] for text in left] == ["New."]


async def test_the_log_counts_how_often_the_same_was_applied(simulator: SimulatorUnderTest) -> None:
    for number in range(2):
        await _work(simulator, title="Salt", clientMutationId=str(number))
    await _work(simulator, title="")
    log = await simulator.tell("GET", "log?operation=updateWork")
    assert [(entry["outcome"], entry["count"]) for entry in log] == [("applied", 1), ("applied", 2), ("refused", 0)]
    assert log[0]["at"] == "2027-03-03T10:00:00+00:00"
