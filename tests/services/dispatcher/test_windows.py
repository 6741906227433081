"""A person who writes opens a window, and what waited for something that only a template needs goes as free text."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest

from services.dispatcher.message_updates import SERVICE
from services.dispatcher.store import DueMessage, LaneCapacity
from shared.contracts.ids import MessageId, PersonId
from shared.contracts.messages import AmendMessage, Lane, TemplateCall
from shared.runtime.clock import machine_now
from shared.runtime.outbox import transaction
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    message_received,
    person_observed,
    send_request,
    template_update,
    wait_until,
)

pytestmark = pytest.mark.integration
_HELLO = {"from": "+441632960001", "line": "main", "kind": "text", "text": "Hello"}
_PAUSE = "insert into pauses values ('penrose', 'template', 'rights_request', now(), 'an operator', 'a reason')"


async def _writes(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("inbound", _HELLO)
    await dispatcher.handle(message_received(dispatcher.clock.now()))


async def _goes_as_text(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.wait_for_state("accepted")
    assert [message["type"] for message in await dispatcher.sent()] == ["text"]


async def test_a_message_that_waits_for_its_template_goes_as_text_when_its_person_writes(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.handle(template_update(dispatcher.clock.now(), "PAUSED"), person_observed(), send_request())
    await dispatcher.wait_for_reason("template_paused")
    await _writes(dispatcher)
    await _goes_as_text(dispatcher)


async def test_an_offer_is_no_free_text_for_a_person_who_writes_and_has_agreed_to_no_offers(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.simulator.tell("templates", {"name": "plain_request_v1", "language": "en", "body": "Good morning"})
    offer = TemplateCall(name="rights_request_v3", language="en", parameters={"person": "Ada"}, category="marketing")
    plain = TemplateCall(name="plain_request_v1", language="en", category="utility")
    await dispatcher.handle(person_observed(), send_request(template=offer))
    await _writes(dispatcher)
    await dispatcher.wait_for_reason("template_recategorised")
    await dispatcher.handle(send_request("m2", template=offer, fallback=plain, chain_id="chain-2"))
    await dispatcher.wait_for_state("accepted", "m2")
    assert [message["type"] for message in await dispatcher.sent()] == ["template"]
    await dispatcher.handle(AmendMessage(message_id=MessageId("m1"), person_id=PersonId("p1"), marketing_consent=True))
    await dispatcher.wait_for_state("accepted", "m1")
    assert [message["type"] for message in await dispatcher.sent()] == ["template", "text"]


async def test_a_message_whose_template_an_operator_paused_goes_as_text_when_its_person_writes(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.pool.execute(_PAUSE)
    await wait_until(lambda: _knows_the_pause(dispatcher))
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_for_reason("paused_by_operator")
    await _writes(dispatcher)
    await _goes_as_text(dispatcher)


async def _knows_the_pause(dispatcher: DispatcherUnderTest) -> bool:
    claimer = dispatcher.parts.sender.claimer
    return claimer is not None and bool(claimer.pauses.names.templates)


async def test_a_message_that_waits_until_its_window_has_closed_goes_as_a_template(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.simulator.tell("faults", {"kind": "error_code", "code": 131056, "count": 1})
    await dispatcher.handle(person_observed(), message_received(dispatcher.clock.now()), send_request())

    async def was_refused() -> bool:
        row = await dispatcher.pool.fetchrow("select state, attempts, wording from messages")
        return row is not None and tuple(row) == ("waiting", 1, "free_text")

    await wait_until(was_refused)
    dispatcher.advance_clock(timedelta(hours=23, minutes=58))
    await dispatcher.wait_for_state("accepted")
    assert [message["type"] for message in await dispatcher.sent()] == ["template"]


async def test_a_wait_that_crosses_the_message_of_its_person_is_planned_anew(dispatcher: DispatcherUnderTest) -> None:
    """The claim has read the queue before the window, and lets the message wait while the window is not committed."""
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    store, now = dispatcher.parts.reconciler.store, dispatcher.clock.now()
    async with dispatcher.pool.acquire() as connection:
        (due,) = await store.find_due(connection, [LaneCapacity("main", Lane.NORMAL, 1)], [], (now, machine_now()), 1)
        assert isinstance(due, DueMessage)
        async with transaction(dispatcher.pool, dispatcher.clock, SERVICE) as tx:
            await dispatcher.parts.handler.people.open_windows(tx.connection, [message_received(now)], now)
            wait = ("m1", now + timedelta(days=1), "portfolio_limit", due.row_version)
            postponing = asyncio.create_task(store.postpone(connection, [wait]))
            await wait_until(partial(tx.connection.fetchval, "select exists (select from pg_locks where not granted)"))
        await postponing
    assert await dispatcher.pool.fetchval("select reason from messages") is None
