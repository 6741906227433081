"""Faults on request, and for how long they apply."""

import time
from typing import Any

import aiohttp
import pytest

from tests.dev.consonance.simulator_under_test import KEY, SimulatorUnderTest

_READ = "query Again { work(workSearch: {idEq: 61421}) { subtitle } }"
_WRITE = """mutation { updateWork(input: {id: 61421, subtitle: "By sleeper"}) {
    work { subtitle } errors { field message } } }"""


async def _fault(simulator: SimulatorUnderTest, kind: str, **more: Any) -> None:
    await simulator.tell("POST", "faults", {"kind": kind, **more})


async def _subtitle(simulator: SimulatorUnderTest) -> str:
    read: str = (await simulator.ask(_READ))["work"]["subtitle"]
    return read


async def test_a_wrong_key_is_401(simulator: SimulatorUnderTest) -> None:
    assert await simulator.post(_READ, key="x" * 32) == (401, {"error": "HTTP Token: Access denied."})


@pytest.mark.parametrize(("kind", "status"), [("revoked_key", 401), ("http_503", 503)])
async def test_a_fault_lasts_for_its_count(simulator: SimulatorUnderTest, kind: str, status: int) -> None:
    await _fault(simulator, kind, count=2)
    assert [(await simulator.post(_READ))[0] for _ in range(3)] == [status, status, 200]


async def test_a_fault_without_a_count_lasts_until_it_is_deleted(simulator: SimulatorUnderTest) -> None:
    await _fault(simulator, "revoked_key", count=None)
    assert [(await simulator.post(_READ))[0] for _ in range(3)] == [401, 401, 401]
    await simulator.tell("DELETE", "faults")
    assert (await simulator.post(_READ))[0] == 200


async def test_a_fault_waits_for_its_operation(simulator: SimulatorUnderTest) -> None:
    await _fault(simulator, "http_503", operation="updateWork")
    assert (await simulator.post(_READ))[0] == 200
    assert (await simulator.post(_WRITE))[0] == 503


async def test_an_error_comes_beside_the_data_with_status_200(simulator: SimulatorUnderTest) -> None:
    await _fault(simulator, "ok_with_errors", message="Something went wrong")
    assert await simulator.post(_WRITE) == (200, {"data": None, "errors": [{"message": "Something went wrong"}]})
    assert await _subtitle(simulator) == "A traveller’s companion"


async def test_an_error_comes_in_the_payload_with_status_200(simulator: SimulatorUnderTest) -> None:
    await _fault(simulator, "ok_with_errors", place="payload", message="is locked", operation="updateWork")
    status, answer = await simulator.post(_WRITE)
    refused = {"work": None, "errors": [{"field": "base", "message": "is locked"}]}
    assert (status, answer["data"]["updateWork"]) == (200, refused)
    assert await _subtitle(simulator) == "A traveller’s companion"


async def test_latency_delays_the_answer(simulator: SimulatorUnderTest) -> None:
    await _fault(simulator, "latency", seconds=0.3)
    started = time.monotonic()
    await simulator.ask(_READ)
    assert time.monotonic() - started >= 0.3


async def test_a_write_can_be_applied_although_its_answer_never_comes(simulator: SimulatorUnderTest) -> None:
    await _fault(simulator, "write_then_timeout", seconds=0.1)
    assert await _subtitle(simulator) == "A traveller’s companion"  # a read does not use it up
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await simulator.post(_WRITE)
    assert await _subtitle(simulator) == "By sleeper"
    assert len(await simulator.tell("GET", "log")) == 1


async def test_an_edit_with_a_read_as_operation_is_visible_to_it(simulator: SimulatorUnderTest) -> None:
    await _fault(simulator, "edit_before_write", work=61421, field="subtitle", value="Theirs", operation="Again")
    assert await _subtitle(simulator) == "Theirs"


async def test_an_edit_without_an_operation_happens_between_read_and_write(simulator: SimulatorUnderTest) -> None:
    await _fault(simulator, "edit_before_write", work=61421, field="title", value="Theirs")
    assert await _subtitle(simulator) == "A traveller’s companion"
    assert (await simulator.tell("GET", "works/61421"))["title"] == "Night Trains of Europe"
    await simulator.ask(_WRITE)
    work = await simulator.tell("GET", "works/61421")
    assert (work["title"], work["subtitle"]) == ("Theirs", "By sleeper")


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"kind": "flood"}, "kind"),
        ({"kind": "edit_before_write"}, "work and field"),
        ({}, "kind"),
        ({"kind": "edit_before_write", "work": 61421, "field": "titel"}, "titel"),
    ],
)
async def test_an_invalid_fault_is_refused(simulator: SimulatorUnderTest, said: dict[str, str], named: str) -> None:
    status, answer = await simulator.control("POST", "faults", said)
    assert status == 400
    assert named in answer["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
async def test_a_body_that_is_not_a_json_object_is_400(simulator: SimulatorUnderTest, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with simulator.session.post(f"{simulator.url}/graphql", data=body, headers=headers) as answer:
        assert answer.status == 400


@pytest.mark.parametrize("body", [{}, {"query": 5}, {"query": "{"}, {"query": "{ works { id } }", "variables": [1]}])
async def test_a_document_that_cannot_be_run_is_an_error_with_status_200(
    simulator: SimulatorUnderTest, body: dict[str, Any]
) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with simulator.session.post(f"{simulator.url}/graphql", json=body, headers=headers) as answer:
        assert answer.status == 200
        assert (await answer.json())["errors"][0]["message"]
