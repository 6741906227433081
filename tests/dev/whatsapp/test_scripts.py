"""People with scripts, under a development clock."""

from datetime import timedelta
from typing import Any

import pytest

from shared.runtime.clock import DevelopmentClock
from tests.dev.whatsapp.stand import Hook, Stand, filled, payload, templated

ANA = "+447700900123"
ASK = templated(ANA, "rights_request_v3", filled(person="Ana", title="Dune"), payload(0, "yes-1"))


async def plan(stand: Stand, **script: Any) -> None:
    await stand.tell("people", {"id": "ana", "phone": ANA})
    answer = await stand.tell("scripts", {"person": "ana", "on": {"template": "rights_request"}, **script})
    assert answer == {"scripts": 1}


async def test_a_planned_tap_waits_for_business_time(stand: Stand, hook: Hook, clock: DevelopmentClock) -> None:
    await plan(stand, do="tap", value="Approve", after=3600)
    await stand.send(ASK)
    idle = await stand.rest()
    assert idle["next_due"] == (clock.now() + timedelta(hours=1)).isoformat()
    assert hook.messages() == []
    clock.set(clock.now() + timedelta(hours=1))
    assert (await stand.rest())["next_due"] is None
    assert [message["button"]["payload"] for message in hook.messages()] == ["yes-1"]
    assert hook.messages()[0]["timestamp"] == str(int(clock.now().timestamp()))


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
    stand: Stand, hook: Hook, do: str, value: str | None, node: dict[str, Any]
) -> None:
    await plan(stand, do=do, value=value)
    await stand.send(ASK)
    await stand.rest()
    assert node.items() <= hook.messages()[0].items()


async def test_a_planned_reaction_and_document_arrive_as_such(stand: Stand, hook: Hook) -> None:
    await plan(stand, do="react")
    await plan(stand, do="document", value="terms.pdf")
    sent = [await stand.send(ASK), await stand.send(ASK)]
    await stand.rest()
    reaction, document = hook.messages()
    assert reaction["reaction"] == {"message_id": sent[0].wamid, "emoji": "👍"}
    assert document["document"]["filename"] == "terms.pdf"


async def test_reading_is_a_status_and_nothing_else(stand: Stand, hook: Hook) -> None:
    await plan(stand, do="read")
    sent = await stand.send(ASK)
    await stand.rest()
    assert hook.words(sent.wamid) == ["sent", "delivered", "read"]
    assert hook.messages() == []


async def test_scripts_are_used_up_in_their_order(stand: Stand, hook: Hook) -> None:
    await plan(stand, do="ignore")
    await plan(stand, do="tap", value="Approve")
    first, second, third = [await stand.send(ASK) for _ in range(3)]
    await stand.rest()
    assert [message["context"]["id"] for message in hook.messages()] == [second.wamid]
    assert {first.wamid, third.wamid}.isdisjoint(message["context"]["id"] for message in hook.messages())


async def test_a_script_for_always_is_never_used_up(stand: Stand, hook: Hook) -> None:
    await plan(stand, do="tap", value="Approve", times=None)
    for _ in range(3):
        await stand.send(ASK)
    await stand.rest()
    assert len(hook.messages()) == 3


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
async def test_a_script_fits_what_it_describes(stand: Stand, hook: Hook, on: dict[str, Any], *, fits: bool) -> None:
    await plan(stand, on=on, do="type", value="Yes")
    await stand.send(ASK)
    await stand.rest()
    assert bool(hook.messages()) is fits


async def test_a_tap_on_a_button_that_is_not_there_is_counted(stand: Stand) -> None:
    await plan(stand, do="tap", value="Perhaps")
    await stand.send(ASK)
    await stand.rest()
    assert (await stand.ask("counts"))["scripts_failed"] == 1


async def test_a_message_that_failed_moves_nobody(stand: Stand, hook: Hook) -> None:
    await plan(stand, on={"any": True}, do="type", value="Yes")
    await stand.send({"messaging_product": "whatsapp", "to": ANA, "text": {"body": "outside the window"}})
    await stand.rest()
    assert hook.messages() == []


async def test_a_script_needs_a_condition_and_a_known_person(stand: Stand) -> None:
    assert "any: true" in (await stand.tell("scripts", {"person": ANA, "on": {}, "do": "read"}))["error"]
    assert "nobody" in (await stand.tell("scripts", {"person": "zoe", "on": {"any": True}, "do": "read"}))["error"]
