"""Faults on request, and for how long they apply."""

import time
from typing import Any

import aiohttp
import pytest

from tests.dev.consonance.stand import KEY, Stand

_READ = "query Again { work(workSearch: {idEq: 61421}) { subtitle } }"
_WRITE = """mutation { updateWork(input: {id: 61421, subtitle: "By sleeper"}) {
    work { subtitle } errors { field message } } }"""


async def _fault(stand: Stand, kind: str, **more: Any) -> None:
    await stand.tell("POST", "faults", {"kind": kind, **more})


async def _subtitle(stand: Stand) -> str:
    read: str = (await stand.ask(_READ))["work"]["subtitle"]
    return read


async def test_a_wrong_key_is_401(stand: Stand) -> None:
    assert await stand.post(_READ, key="x" * 32) == (401, {"error": "HTTP Token: Access denied."})


@pytest.mark.parametrize(("kind", "status"), [("revoked_key", 401), ("http_503", 503)])
async def test_a_fault_lasts_for_its_count(stand: Stand, kind: str, status: int) -> None:
    await _fault(stand, kind, count=2)
    assert [(await stand.post(_READ))[0] for _ in range(3)] == [status, status, 200]


async def test_a_fault_without_a_count_lasts_until_it_is_deleted(stand: Stand) -> None:
    await _fault(stand, "revoked_key", count=None)
    assert [(await stand.post(_READ))[0] for _ in range(3)] == [401, 401, 401]
    await stand.tell("DELETE", "faults")
    assert (await stand.post(_READ))[0] == 200


async def test_a_fault_waits_for_its_operation(stand: Stand) -> None:
    await _fault(stand, "http_503", operation="updateWork")
    assert (await stand.post(_READ))[0] == 200
    assert (await stand.post(_WRITE))[0] == 503


async def test_an_error_comes_beside_the_data_with_status_200(stand: Stand) -> None:
    await _fault(stand, "ok_with_errors", message="Something went wrong")
    assert await stand.post(_WRITE) == (200, {"data": None, "errors": [{"message": "Something went wrong"}]})
    assert await _subtitle(stand) == "A traveller’s companion"


async def test_an_error_comes_in_the_payload_with_status_200(stand: Stand) -> None:
    await _fault(stand, "ok_with_errors", place="payload", message="is locked", operation="updateWork")
    status, answer = await stand.post(_WRITE)
    refused = {"work": None, "errors": [{"field": "base", "message": "is locked"}]}
    assert (status, answer["data"]["updateWork"]) == (200, refused)
    assert await _subtitle(stand) == "A traveller’s companion"


async def test_latency_delays_the_answer(stand: Stand) -> None:
    await _fault(stand, "latency", seconds=0.3)
    started = time.monotonic()
    await stand.ask(_READ)
    assert time.monotonic() - started >= 0.3


async def test_a_write_may_land_though_its_answer_never_comes(stand: Stand) -> None:
    await _fault(stand, "write_then_timeout", seconds=0.1)
    assert await _subtitle(stand) == "A traveller’s companion"  # a read does not use it up
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await stand.post(_WRITE)
    assert await _subtitle(stand) == "By sleeper"
    assert len(await stand.tell("GET", "log")) == 1


async def test_an_edit_aimed_at_a_read_is_seen_by_it(stand: Stand) -> None:
    await _fault(stand, "edit_before_write", work=61421, field="subtitle", value="Theirs", operation="Again")
    assert await _subtitle(stand) == "Theirs"


async def test_an_edit_without_an_operation_lands_unseen_between_read_and_write(stand: Stand) -> None:
    await _fault(stand, "edit_before_write", work=61421, field="title", value="Theirs")
    assert await _subtitle(stand) == "A traveller’s companion"
    assert (await stand.tell("GET", "works/61421"))["title"] == "Night Trains of Europe"
    await stand.ask(_WRITE)
    work = await stand.tell("GET", "works/61421")
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
async def test_a_fault_that_makes_no_sense_is_refused(stand: Stand, said: dict[str, str], named: str) -> None:
    status, answer = await stand.control("POST", "faults", said)
    assert status == 400
    assert named in answer["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
async def test_a_body_that_is_not_a_json_object_is_400(stand: Stand, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with stand.session.post(f"{stand.url}/graphql", data=body, headers=headers) as answer:
        assert answer.status == 400


@pytest.mark.parametrize("body", [{}, {"query": 5}, {"query": "{"}, {"query": "{ works { id } }", "variables": [1]}])
async def test_a_document_that_cannot_be_run_is_an_error_with_status_200(stand: Stand, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with stand.session.post(f"{stand.url}/graphql", json=body, headers=headers) as answer:
        assert answer.status == 200
        assert (await answer.json())["errors"][0]["message"]
