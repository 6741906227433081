"""Marketing templates that Meta would not deliver are held: to a person who gets enough, and to the United States."""

from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.messages import SendMessage, TemplateCall
from shared.contracts.whatsapp import DeliveryStatus, StatusReported
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    message_received,
    person_observed,
    send_request,
)

pytestmark = pytest.mark.integration
_GETS_ENOUGH = 131049
_DAY = timedelta(hours=24)
_AMERICAN, _CANADIAN, _BRITISH = "+12025550143", "+14165550143", "+441632960001"
_PLAIN = {"name": "plain_request_v1", "language": "en", "body": "A question for {{person}} waits"}
_PLAIN_CALL = TemplateCall(name="plain_request_v1", language="en", parameters={"person": "Ada"})
_OFFER = TemplateCall(
    name="rights_request_v3",
    language="en",
    category="marketing",
    parameters={"person": "Ada", "title": "The Long Way"},
)


def _offer(message_id: str, person_id: str = "p1", **changes: Any) -> SendMessage:
    return send_request(message_id, person_id, template=_OFFER, marketing_consent=True, **changes)


async def _fails_as_enough(dispatcher: DispatcherUnderTest, *, by_status: bool) -> None:
    if not by_status:
        await dispatcher.simulator.tell("faults", {"kind": "error_code", "code": _GETS_ENOUGH, "count": 1})
    await dispatcher.handle(person_observed(), _offer("m1"))
    if by_status:
        await dispatcher.wait_for_state("accepted")
        wamid, at = await dispatcher.pool.fetchval("select wamid from messages"), dispatcher.clock.now()
        await dispatcher.handle(
            StatusReported(wamid=wamid, status=DeliveryStatus.FAILED, at=at, code=_GETS_ENOUGH, callback="m1.1")
        )
    await dispatcher.wait_for_state("failed")


@pytest.mark.parametrize("by_status", [False, True])
async def test_a_person_who_gets_enough_is_sent_no_offer_for_a_day(
    dispatcher: DispatcherUnderTest, *, by_status: bool
) -> None:
    await _fails_as_enough(dispatcher, by_status=by_status)
    other = person_observed("p2", "+441632960002")
    await dispatcher.handle(other, _offer("m2"), _offer("m3", "p2"))
    await dispatcher.wait_for_state("accepted", "m3")
    await dispatcher.wait_for_reason("marketing_limit", "m2")
    dispatcher.advance_clock(_DAY - timedelta(minutes=1))
    await dispatcher.wait_until_idle()
    assert await dispatcher.state("m2") == "waiting"
    dispatcher.advance_clock(timedelta(minutes=2))
    await dispatcher.wait_for_state("accepted", "m2")


async def test_the_marketing_limit_of_a_person_holds_offers_and_no_other_messages(
    dispatcher: DispatcherUnderTest,
) -> None:
    await _fails_as_enough(dispatcher, by_status=True)
    await dispatcher.handle(send_request("m2"))
    await dispatcher.wait_for_state("accepted", "m2")
    await dispatcher.handle_statuses()
    await dispatcher.handle(_offer("m3"))
    await dispatcher.wait_for_reason("marketing_limit", "m3")


async def test_a_held_offer_goes_as_free_text_when_its_person_writes(dispatcher: DispatcherUnderTest) -> None:
    await _fails_as_enough(dispatcher, by_status=False)
    await dispatcher.handle(_offer("m2"))
    await dispatcher.wait_for_reason("marketing_limit", "m2")
    await dispatcher.handle(message_received(dispatcher.clock.now()))
    await dispatcher.wait_for_state("accepted", "m2")
    assert [message["template"] for message in await dispatcher.sent()] == [None]


@pytest.mark.parametrize(
    ("phone", "bsuid", "goes"),
    [
        (_AMERICAN, None, False),
        (None, "US.13491208655302741918", False),
        (_CANADIAN, None, True),
        (_BRITISH, None, True),
    ],
)
async def test_an_offer_to_the_united_states_is_held(
    dispatcher: DispatcherUnderTest, phone: str | None, bsuid: str | None, *, goes: bool
) -> None:
    await dispatcher.handle(person_observed("p1", phone, bsuid), _offer("m1"))
    if goes:
        await dispatcher.wait_for_state("accepted")
    else:
        await dispatcher.wait_for_reason("marketing_paused")
        assert await dispatcher.sent() == []
        waiting = await dispatcher.parts.monitor.store.waiting_by_lane(dispatcher.pool, dispatcher.clock.now())
        assert [(messages, oldest) for messages, oldest in waiting.values()] == [(1, None)]  # it would page


async def test_an_american_gets_what_is_no_offer_and_the_fallback_of_one(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("templates", _PLAIN)
    offer = _offer("m2", fallback=_PLAIN_CALL)
    await dispatcher.handle(person_observed("p1", _AMERICAN), send_request(), offer)
    await dispatcher.wait_for_state("accepted", "m1")
    await dispatcher.wait_for_state("accepted", "m2")
    assert [message["template"] for message in await dispatcher.sent()] == ["rights_request_v3", "plain_request_v1"]
