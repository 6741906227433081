"""Changes by a user of Consonance, and how the API shows them."""

from typing import Any

import pytest

from tests.dev.consonance.simulator_under_test import SimulatorUnderTest

_LAUNCH = """{ work(workSearch: {idEq: 61422}) { metadataStatus
    supportingResources { variant status } marketingTexts(variantIn: [COVER_COPY]) { approvalStatusName } } }"""


async def test_a_stage_moves_by_its_name(simulator: SimulatorUnderTest) -> None:
    shown = await simulator.tell("PATCH", "works/61417", {"stage": "Final proof approved"})
    assert shown["stage"] == "Final proof approved"
    read = await simulator.ask("{ work(workSearch: {idEq: 61417}) { projectStage } }")
    assert read["work"]["projectStage"] == "Final proof approved"


async def test_components_are_visible_in_their_records(simulator: SimulatorUnderTest) -> None:
    said = {"front_cover": "final", "jacket_copy": "in_review", "metadata": "final"}
    shown = await simulator.tell("PATCH", "works/61422/components", said)
    assert shown["components"] == said
    work = (await simulator.ask(_LAUNCH))["work"]
    assert work["metadataStatus"] == "approved"
    assert work["supportingResources"] == [{"variant": "front_cover", "status": "approved"}]
    assert work["marketingTexts"] == [{"approvalStatusName": "In review"}]


async def test_a_component_can_go_missing_and_come_back(simulator: SimulatorUnderTest) -> None:
    await simulator.tell("PATCH", "works/61422/components", {"front_cover": "missing", "jacket_copy": "missing"})
    work = (await simulator.ask(_LAUNCH))["work"]
    assert (work["supportingResources"], work["marketingTexts"]) == ([], [])
    shown = await simulator.tell("PATCH", "works/61422/components", {"full_cover": "rejected", "jacket_copy": "draft"})
    assert shown["components"] == {"full_cover": "rejected", "jacket_copy": "draft", "metadata": "draft"}


async def test_an_embargo_is_set(simulator: SimulatorUnderTest) -> None:
    await simulator.tell("PATCH", "works/61422", {"embargo_until": "2027-08-01"})
    read = await simulator.ask("{ work(workSearch: {idEq: 61422}) { embargoUntil } }")
    assert read["work"]["embargoUntil"] == "2027-08-01"


async def test_a_contact_changes_number(simulator: SimulatorUnderTest) -> None:
    await simulator.tell("PATCH", "contacts/801", {"phones": [{"phone_number": "020 7946 0999"}]})
    read = await simulator.ask("{ person(id: 801) { phones { phoneNumber phoneType } } }")
    assert read["person"]["phones"] == [{"phoneNumber": "020 7946 0999", "phoneType": "mobile"}]


@pytest.mark.parametrize(
    ("method", "path", "said", "status", "named"),
    [
        ("PATCH", "works/61417", {"titel": "x"}, 400, "titel"),
        ("PATCH", "works/61417", {"stage": "Nowhere"}, 400, "stage"),
        ("PATCH", "works/61417", {"embargo_until": "soon"}, 400, "embargo_until"),
        ("PATCH", "works/61417", ["title"], 400, "object"),
        ("PATCH", "works/61417", {"title": 5}, 400, "title"),
        ("PATCH", "works/1", {}, 404, "Work"),
        ("PATCH", "works/61417/components", {"metadata": "done"}, 400, "metadata"),
        ("PATCH", "milestones/M-0", {}, 404, "M-0"),
        ("POST", "rights_requests", {"work_id": 61418}, 400, "rights_holder"),
        ("POST", "push", {"type": "work.blocked", "data": {"work": 1}}, 404, "Work"),
        ("GET", "state/royalties", None, 404, "acquisitions"),
    ],
)
async def test_an_invalid_command_is_answered_with_the_reason(
    simulator: SimulatorUnderTest, method: str, path: str, said: Any, status: int, named: str
) -> None:
    got, answer = await simulator.control(method, path, said)
    assert got == status
    assert named in answer["error"]


async def test_a_refused_edit_changes_nothing(simulator: SimulatorUnderTest) -> None:
    before = await simulator.tell("GET", "works/61417")
    await simulator.control("PATCH", "works/61417", {"title": "New", "stage": "Nowhere"})
    assert await simulator.tell("GET", "works/61417") == before


async def test_every_request_and_edit_raises_the_counter(simulator: SimulatorUnderTest) -> None:
    first = (await simulator.tell("GET", "idle"))["counter"]
    await simulator.ask("{ projectStages { id } }")
    second = (await simulator.tell("GET", "idle"))["counter"]
    await simulator.tell("PATCH", "products/94741", {"status": "04"})
    assert first < second < (await simulator.tell("GET", "idle"))["counter"]
