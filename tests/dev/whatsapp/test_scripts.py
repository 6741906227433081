"""People with scripts, under a development clock."""

from datetime import timedelta
from typing import Any

import pytest

from shared.runtime.clock import DevelopmentClock
from tests.dev.whatsapp.simulator_under_test import RecordingWebhook, SimulatorUnderTest, filled, payload, templated

ANA = "+447700900123"
ASK = templated(ANA, "rights_request_v3", filled(person="Ana", title="Dune"), payload(0, "yes-1"))


async def plan(simulator: SimulatorUnderTest, **script: Any) -> None:
    await simulator.tell("people", {"id": "ana", "phone": ANA})
    answer = await simulator.tell("scripts", {"person": "ana", "on": {"template": "rights_request"}, **script})
    assert answer == {"scripts": 1}


async def test_a_planned_tap_waits_for_business_time(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook, clock: DevelopmentClock
) -> None:
    await plan(simulator, do="tap", value="Approve", after=3600)
    await simulator.send(ASK)
    idle = await simulator.rest()
    assert idle["next_due"] == (clock.now() + timedelta(hours=1)).isoformat()
    assert webhook.messages() == []
    clock.set(clock.now() + timedelta(hours=1))
    assert (await simulator.rest())["next_due"] is None
    assert [message["button"]["payload"] for message in webhook.messages()] == ["yes-1"]
    assert webhook.messages()[0]["timestamp"] == str(int(clock.now().timestamp()))


@pytest.mark.parametrize(
    ("do", "value", "node"),
    [
        ("type", "Later please", {"text": {"body": "Later please"}}),
        ("stop", None, {"text": {"body": "STOP"}}),
        ("stop", "ARRÊT", {"text": {"body": "ARRÊT"}}),
        ("tap", "yes-1", {"button": {"payload": "yes-1", "text": "Approve"}}),
    ],
)
async def test_a_person_acts_as_planned(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook, do: str, value: str | None, node: dict[str, Any]
) -> None:
    await plan(simulator, do=do, value=value)
    await simulator.send(ASK)
    await simulator.rest()
    assert node.items() <= webhook.messages()[0].items()


async def test_a_planned_reaction_and_document_arrive_as_such(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await plan(simulator, do="react")
    await plan(simulator, do="document", value="terms.pdf")
    sent = [await simulator.send(ASK), await simulator.send(ASK)]
    await simulator.rest()
    reaction, document = webhook.messages()
    assert reaction["reaction"] == {"message_id": sent[0].wamid, "emoji": "👍"}
    assert document["document"]["filename"] == "terms.pdf"


async def test_reading_is_a_status_and_nothing_else(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    await plan(simulator, do="read")
    sent = await simulator.send(ASK)
    await simulator.rest()
    assert webhook.words(sent.wamid) == ["sent", "delivered", "read"]
    assert webhook.messages() == []


async def test_scripts_are_used_up_in_their_order(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    await plan(simulator, do="ignore")
    await plan(simulator, do="tap", value="Approve")
    first, second, third = [await simulator.send(ASK) for _ in range(3)]
    await simulator.rest()
    assert [message["context"]["id"] for message in webhook.messages()] == [second.wamid]
    assert {first.wamid, third.wamid}.isdisjoint(message["context"]["id"] for message in webhook.messages())


async def test_a_script_for_always_is_never_used_up(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    await plan(simulator, do="tap", value="Approve", times=None)
    for _ in range(3):
        await simulator.send(ASK)
    await simulator.rest()
    assert len(webhook.messages()) == 3


@pytest.mark.parametrize(
    ("on", "fits"),
    [
        ({"any": True}, True),
        ({"contains": "Dune"}, True),
        ({"contains": "Emma"}, False),
        ({"button": "Approve"}, True),
        ({"button": "Take"}, False),
        ({"template": "rights_request_v3"}, True),
        ({"template": "rights"}, False),
        ({"template": "rights_request", "line": "acquisitions"}, False),
    ],
)
async def test_a_script_fits_what_it_describes(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook, on: dict[str, Any], *, fits: bool
) -> None:
    await plan(simulator, on=on, do="type", value="Yes")
    await simulator.send(ASK)
    await simulator.rest()
    assert bool(webhook.messages()) is fits


async def test_a_tap_on_a_button_that_is_not_there_is_counted(simulator: SimulatorUnderTest) -> None:
    await plan(simulator, do="tap", value="Perhaps")
    await simulator.send(ASK)
    await simulator.rest()
    assert (await simulator.ask("counts"))["scripts_failed"] == 1


async def test_a_failed_message_triggers_no_script(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    await plan(simulator, on={"any": True}, do="type", value="Yes")
    await simulator.send({"messaging_product": "whatsapp", "to": ANA, "text": {"body": "outside the window"}})
    await simulator.rest()
    assert webhook.messages() == []


async def test_a_script_needs_a_condition_and_a_known_person(simulator: SimulatorUnderTest) -> None:
    assert "any: true" in (await simulator.tell("scripts", {"person": ANA, "on": {}, "do": "read"}))["error"]
    assert "nobody" in (await simulator.tell("scripts", {"person": "zoe", "on": {"any": True}, "do": "read"}))["error"]
