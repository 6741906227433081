"""Faults on request, as a sender sees them."""

import aiohttp
import pytest

from tests.dev.whatsapp.simulator_under_test import RecordingWebhook, SimulatorUnderTest, filled, payload, templated

ANA, BEN = "+447700900123", "+447700900124"
ASK = templated(ANA, "rights_request_v3", filled(person="Ana", title="Dune"), payload(0, "yes-1"))


async def test_a_send_accepted_whose_answer_never_comes_still_reaches_the_person(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("faults", {"kind": "timeout_after_accept"})
    with pytest.raises(TimeoutError):
        await simulator.send({**ASK, "biz_opaque_callback_data": "m1/1"}, within=0.3)
    await simulator.rest()
    assert [status["status"] for status in webhook.statuses()] == ["sent", "delivered"]
    assert {status["biz_opaque_callback_data"] for status in webhook.statuses()} == {"m1/1"}


async def test_a_send_lost_on_the_way_reaches_no_person(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("faults", {"kind": "timeout_before"})
    with pytest.raises(TimeoutError):
        await simulator.send(ASK, within=0.3)
    await simulator.rest()
    assert webhook.bodies == []


async def test_a_hanging_send_is_handled_though_the_caller_has_gone(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("faults", {"kind": "hang", "seconds": 0.5})
    with pytest.raises(TimeoutError):
        await simulator.send(ASK, within=0.1)
    assert (await simulator.ask("idle"))["busy"] == ["held: 1"]
    await simulator.rest()
    assert [status["status"] for status in webhook.statuses()] == ["sent", "delivered"]


async def test_a_refused_connection_gives_no_answer_at_all(simulator: SimulatorUnderTest) -> None:
    await simulator.tell("faults", {"kind": "refuse_connection"})
    with pytest.raises(aiohttp.ClientConnectionError):
        await simulator.send(ASK)
    assert (await simulator.send(ASK)).status == 200
    assert (await simulator.ask("counts"))["sends"] == 1


async def test_a_fault_is_spent_after_its_count(simulator: SimulatorUnderTest) -> None:
    await simulator.tell("faults", {"kind": "http_500", "count": 2})
    assert [(await simulator.send(ASK)).status for _ in range(3)] == [500, 500, 200]
    assert (await simulator.ask("counts"))["faults"] == {"http_500": 2}


async def test_a_503_is_not_even_json(simulator: SimulatorUnderTest) -> None:
    await simulator.tell("faults", {"kind": "http_503"})
    with pytest.raises(aiohttp.ContentTypeError):
        await simulator.send(ASK)


async def test_any_code_of_meta_can_be_asked_for(simulator: SimulatorUnderTest) -> None:
    await simulator.tell("faults", {"kind": "error_code", "code": 131048})
    answer = await simulator.send(ASK)
    assert (answer.status, answer.code) == (400, 131048)


async def test_a_fault_may_be_for_one_person_or_one_line(simulator: SimulatorUnderTest) -> None:
    await simulator.tell("people", {"id": "ben", "phone": BEN})
    await simulator.tell("faults", [{"kind": "http_500", "match": {"to": "ben"}}])
    await simulator.tell("faults", [{"kind": "http_500", "match": {"line": "acquisitions"}}])
    assert (await simulator.send(ASK)).status == 200
    assert (await simulator.send({**ASK, "to": BEN})).status == 500
    assert (await simulator.send({**ASK, "to": BEN})).status == 200


async def test_a_code_goes_with_error_code_only(simulator: SimulatorUnderTest) -> None:
    assert "error_code" in (await simulator.tell("faults", {"kind": "error_code"}))["error"]
    assert "error_code" in (await simulator.tell("faults", {"kind": "hang", "code": 1}))["error"]
