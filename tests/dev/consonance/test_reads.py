"""Reading: search, paging, what changedSince over-reports, and a list worth reading."""

import phonenumbers
import pytest

from tests.dev.consonance.simulator_under_test import SimulatorUnderTest

_TEAM = {11, 12, 21, 22, 31, 40, 41, 51, 52, 53, 61, 71}


async def test_a_work_is_read_with_its_people_products_and_texts(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.ask(
        """{ work(workSearch: {idEq: 61417}) { title projectStage imprint { id name }
             contributions { onixContributorRoleCode contributor { id name } }
             products { onixPublishingStatusCode isbn { isbn13 } publicationDate } } }"""
    )
    work = answer["work"]
    assert (work["title"], work["projectStage"]) == ("The Salt Road", "Author proof review")
    assert [one["contributor"]["id"] for one in work["contributions"]] == [801, 802, 11]
    assert {one["onixPublishingStatusCode"] for one in work["products"]} == {"_02"}


async def test_products_are_paged_by_the_highest_id_seen(simulator: SimulatorUnderTest) -> None:
    seen: list[int] = []
    while page := await _product_ids(simulator, f"after: {seen[-1] if seen else 0}"):
        assert len(page) <= 50
        seen += page
    assert seen == sorted(set(seen))
    assert len(seen) == len(await simulator.tell("GET", "state/products")) > 50


async def _product_ids(simulator: SimulatorUnderTest, search: str) -> list[int]:
    answer = await simulator.ask(f"{{ products(productSearch: {{{search}}}) {{ id }} }}")
    return [one["id"] for one in answer["products"]]


async def test_changed_since_reports_the_siblings_of_a_changed_product_too(simulator: SimulatorUnderTest) -> None:
    assert await _product_ids(simulator, 'changedSince: "2027-03-03"') == []
    await simulator.tell("PATCH", "products/94741", {"publication_date": "2027-09-16"})
    assert await _product_ids(simulator, 'changedSince: "2027-03-03"') == [94741, 94742]


async def test_a_changed_contributor_makes_the_work_look_changed(simulator: SimulatorUnderTest) -> None:
    await simulator.tell("PATCH", "contacts/807", {"town": "Malmö"})
    answer = await simulator.ask('{ works(workSearch: {changedSince: "2027-03-03"}) { id } }')
    assert [one["id"] for one in answer["works"]] == [61423, 61424]


@pytest.mark.parametrize(
    ("search", "ids"),
    [
        ('titleEq: "Ferrymen"', [61423]),
        ("contractIdEq: 88", [61417]),
        ('subtitleCont: "COMPANION"', [61421]),
        ('titleCont: "phare", imprintIdIn: [5]', [61420]),
        ("after: 61424", [61425, 61426]),
    ],
)
async def test_works_are_searched(simulator: SimulatorUnderTest, search: str, ids: list[int]) -> None:
    answer = await simulator.ask(f"{{ works(workSearch: {{{search}}}) {{ id }} }}")
    assert [one["id"] for one in answer["works"]] == ids


async def test_works_are_searched_by_their_products(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.ask(
        '{ works(productSearch: {publicationDateLt: "2020-01-01"}) { products { publicationDate } } }'
    )
    assert answer["works"]
    assert all(work["products"][0]["publicationDate"] < "2020" for work in answer["works"])


async def test_contacts_are_read_in_full_with_fictional_numbers(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.ask(
        "{ contacts { id phones { phoneNumber } contactTags addresses { country { code } } } }"
    )
    contacts = answer["contacts"]
    assert len(contacts) == 320
    numbers = [
        phonenumbers.parse(phone["phoneNumber"], one["addresses"][0]["country"]["code"])
        for one in contacts
        for phone in one["phones"]
        if phone["phoneNumber"][-1].isdigit()
    ]
    assert all(map(phonenumbers.is_valid_number, numbers))
    assert len({phonenumbers.format_number(one, phonenumbers.PhoneNumberFormat.E164) for one in numbers}) == len(
        numbers
    )
    assert {one["id"] for one in contacts if "staff" in one["contactTags"]} == _TEAM


async def test_the_same_seed_is_the_same_publisher_again(simulator: SimulatorUnderTest) -> None:
    before = await simulator.tell("GET", "state/contacts")
    await simulator.tell("PATCH", "works/61417", {"title": "Another"})
    await simulator.tell("POST", "reset")
    assert await simulator.tell("GET", "state/contacts") == before
    assert (await simulator.tell("GET", "works/61417"))["title"] == "The Salt Road"


async def test_a_marketing_text_is_markdown_html_or_plain(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.ask(
        """{ work(workSearch: {idEq: 61417}) { marketingTexts(variantIn: [SHORT_DESCRIPTION]) {
             externalTextMarkdown externalText plain: externalText(stripHtml: true) } } }"""
    )
    [text] = answer["work"]["marketingTexts"]
    assert text["externalTextMarkdown"].startswith("**The Salt Road**\n\n")
    assert text["externalText"].startswith("<p><strong>The Salt Road</strong></p><p>")
    assert text["plain"].startswith("The Salt Road\n\n")


async def test_an_agent_is_read_with_the_agency(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.ask(
        "{ person(id: 900) { personName professionalAffiliations { organisation { id __typename } } } }"
    )
    assert answer["person"]["professionalAffiliations"] == [{"organisation": {"id": 951, "__typename": "Organisation"}}]
