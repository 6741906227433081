"""From a request to a phone and back, against the simulator over real sockets and a real database."""

from datetime import timedelta

import pytest

from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.messages import WithdrawMessage
from shared.contracts.whatsapp import MessageKind
from tests.services.dispatcher.house import BUTTONS, House, person, request, template_said, wrote

pytestmark = pytest.mark.integration


def _withdraw(message_id: str = "m1") -> WithdrawMessage:
    return WithdrawMessage(message_id=MessageId(message_id), person_id=PersonId("p1"), reason="no_longer_needed")


async def test_outside_the_window_the_template_goes_and_its_statuses_come_back(house: House) -> None:
    await house.hear(person(), request(buttons=BUTTONS))
    await house.until_state("accepted")
    await house.hear_statuses()
    assert [message["type"] for message in await house.sent()] == ["template"]
    assert await house.told() == ["accepted", "delivered"]


async def test_inside_the_window_free_text_goes(house: House) -> None:
    await house.stand.tell("say", {"from": "+441632960001", "line": "main", "kind": "text", "text": "Hello"})
    await house.hear(person(), wrote(house.clock.now()), request(buttons=BUTTONS))
    await house.until_state("accepted")
    assert [message["type"] for message in await house.sent()] == ["interactive"]


async def test_a_person_known_by_bsuid_only_is_reached(house: House) -> None:
    await house.stand.tell("people", {"id": "wren", "bsuid": "GB.12345", "name": "Wren"})
    await house.hear(person(phone=None, bsuid="GB.12345"), request())
    await house.until_state("accepted")
    assert [message["person"] for message in await house.sent()] == ["wren"]


async def test_a_window_that_proved_closed_is_answered_with_the_template(house: House) -> None:
    """The person's message is known here and not to the simulator, as when a webhook's time was read wrongly."""
    await house.hear(person(), wrote(house.clock.now()), request())
    await house.until_state("accepted")
    await house.hear_statuses()
    await house.rest()
    await house.hear_statuses()
    assert await house.told() == ["accepted", "accepted", "delivered"]
    await house.hear(request("m2"))
    await house.until_state("accepted", "m2")
    assert [message["type"] for message in await house.sent()][-2:] == ["template", "template"]


async def test_a_request_waits_for_its_person(house: House) -> None:
    await house.hear(request())
    await house.rest()
    assert await house.state() == "waiting"
    await house.hear(person())
    await house.until_state("accepted")


async def test_a_person_and_a_request_that_cross_find_each_other(house: House) -> None:
    """The person is not committed yet when the request is looked at, nor the note that it waits when the person is."""
    async with house.hearing(person()):
        await house.hear(request())
        await house.until_waits_for("unknown_person")
    await house.until_state("accepted")


async def test_a_template_and_a_request_that_cross_find_each_other(house: House) -> None:
    await house.hear(template_said(house.clock.now(), "PAUSED"), person())
    async with house.hearing(template_said(house.clock.now(), "APPROVED")):
        await house.hear(request())
        await house.until_waits_for("template_paused")
    await house.until_state("accepted")


async def test_a_known_person_without_an_address_is_dropped(house: House) -> None:
    await house.hear(person(phone=None), request())
    await house.until_state("dropped")
    assert (await house.events())[0]["data"]["reason"] == "no_address"


async def test_a_message_whose_time_is_over_is_dropped(house: House) -> None:
    await house.hear(request(expires_at=house.clock.now() + timedelta(minutes=1)))
    house.later(timedelta(minutes=1))
    await house.until_state("dropped")
    assert await house.sent() == []


async def test_a_withdrawal_in_time_is_kept_and_one_too_late_is_said(house: House) -> None:
    await house.hear(request(), _withdraw())
    assert await house.state() == "withdrawn"
    await house.hear(person(), request("m2"))
    await house.until_state("accepted", "m2")
    await house.hear(_withdraw("m2"))
    assert await house.told("m1") == ["withdrawn"]
    assert await house.told("m2") == ["accepted", "too_late"]


async def test_a_withdrawal_before_its_message_keeps_it_from_going(house: House) -> None:
    await house.hear(_withdraw())
    await house.hear(person(), request(), request("m2"))
    await house.until_state("accepted", "m2")
    assert len(await house.sent()) == 1
    assert await house.told("m1") == ["withdrawn"]


async def test_a_request_told_twice_is_sent_once(house: House) -> None:
    await house.hear(person(), request(), request())
    await house.hear(request())
    await house.until_state("accepted")
    await house.rest()
    assert len(await house.sent()) == 1


async def test_a_burst_to_one_person_is_sent_in_order_and_then_waits(house: House) -> None:
    await house.hear(person(), *(request(f"m{number:02}") for number in range(50)))
    await house.rest()
    first = [message["biz_opaque_callback_data"] for message in await house.sent()]
    assert first == [f"m{number:02}.1" for number in range(45)]
    idle = await house.parts.watch.idle()
    assert idle.next_due == house.clock.now() + timedelta(seconds=270)
    house.later(timedelta(seconds=270))
    await house.rest()
    assert len(await house.sent()) == 50
    assert (await house.stand.ask("counts"))["errors"]["answer"] == {}


async def test_a_number_never_sends_more_than_its_rate(house: House) -> None:
    await house.hear(*(person(f"p{n}", f"+4416329{n:05}") for n in range(200)))
    await house.hear(*(request(f"m{n}", f"p{n}") for n in range(200)))
    for seconds in range(3):
        await house.rest()
        assert len(await house.sent()) == min(80 * (seconds + 1), 200)
        house.later(timedelta(seconds=1))
    assert (await house.stand.ask("counts"))["errors"]["answer"] == {}


async def test_a_tap_may_come_before_everything_else(house: House) -> None:
    """The answer never came and no status either, but a finger on a button needs a message on a screen."""
    await house.stand.tell("faults", {"kind": "timeout_after_accept", "seconds": 30})
    await house.hear(person(), request(buttons=BUTTONS))
    await house.until_state("uncertain")
    tap = wrote(house.clock.now(), message_kind=MessageKind.BUTTON, button_id="yes.m1", quoted_id=Wamid("wamid.q"))
    await house.hear(tap)
    assert await house.told() == ["uncertain", "resolved"]
    assert (await house.events())[-1]["data"]["evidence"] == "tap"
