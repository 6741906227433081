"""A message while its request is under way: a withdrawal wins until the request has begun, and a status counts once."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from services.dispatcher.store import MessageStore
from shared.contracts.ids import PersonId
from shared.runtime.clock import machine_now
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    SlowConnection,
    SlowResponse,
    person_observed,
    send_request,
    wait_until,
    withdrawal,
)

pytestmark = pytest.mark.integration


async def _claimed(dispatcher: DispatcherUnderTest, kind: type[SlowConnection] = SlowConnection) -> SlowConnection:
    sender = dispatcher.parts.sender
    slow = kind(sender._whatsapp)
    sender._whatsapp = slow  # type: ignore[assignment]
    await dispatcher.handle(person_observed(), send_request())
    await wait_until(lambda: _waits(slow))
    return slow


async def _waits(slow: SlowConnection) -> bool:
    return slow.waiting > 0


async def test_a_withdrawal_wins_while_the_request_is_claimed_and_not_begun(dispatcher: DispatcherUnderTest) -> None:
    slow = await _claimed(dispatcher)
    await dispatcher.handle(withdrawal())
    assert await dispatcher.published() == []
    await wait_until(lambda: _is_cancelled(dispatcher))
    slow.open.set()
    await dispatcher.wait_for_state("withdrawn")
    assert await dispatcher.published() == ["withdrawn"]
    assert await dispatcher.sent() == []


async def _is_cancelled(dispatcher: DispatcherUnderTest) -> bool:
    return bool(dispatcher.parts.sender.in_flight._cancelled)


async def test_a_withdrawal_of_a_request_under_way_is_too_late(dispatcher: DispatcherUnderTest) -> None:
    slow = await _claimed(dispatcher, SlowResponse)
    await dispatcher.handle(withdrawal())
    await wait_until(lambda: _is_cancelled(dispatcher))
    slow.open.set()
    await dispatcher.wait_for_state("accepted")
    assert await dispatcher.published() == ["accepted", "too_late"]
    assert len(await dispatcher.sent()) == 1


async def test_a_withdrawal_of_a_dead_senders_intent_is_too_late_once_its_lease_ends(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.pool.execute(
        "update messages set state = 'intent', attempts = 1, wording = 'template', lease_until = $1",
        machine_now() - timedelta(minutes=1),
    )
    await dispatcher.handle(withdrawal())
    await dispatcher.start()
    await dispatcher.wait_for_state("uncertain")
    assert await dispatcher.published() == ["uncertain", "too_late"]


async def test_a_message_withdrawn_twice_is_reported_once(dispatcher: DispatcherUnderTest) -> None:
    slow = await _claimed(dispatcher)
    await dispatcher.handle(withdrawal())
    await dispatcher.handle(withdrawal())
    await wait_until(lambda: _is_cancelled(dispatcher))
    slow.open.set()
    await dispatcher.wait_for_state("withdrawn")
    assert await dispatcher.published() == ["withdrawn"]


async def test_a_status_that_comes_before_the_response_is_recorded_counts_once(dispatcher: DispatcherUnderTest) -> None:
    slow = await _claimed(dispatcher, SlowResponse)
    await dispatcher.handle_statuses()
    assert await dispatcher.state() == "delivered"
    slow.open.set()
    await dispatcher.wait_until_idle()
    assert await dispatcher.state() == "delivered"
    assert await dispatcher.published() == ["accepted", "delivered"]


async def test_the_response_of_an_attempt_that_was_given_up_changes_nothing_of_the_next(
    dispatcher: DispatcherUnderTest,
) -> None:
    slow = await _claimed(dispatcher, SlowResponse)
    await dispatcher.pool.execute("update messages set attempts = 2")
    slow.open.set()
    await dispatcher.wait_until_idle()
    assert await dispatcher.state() == "intent"
    assert await dispatcher.published() == []


async def test_an_accepted_message_is_told_of_the_person_whom_its_own_was_merged_into(
    dispatcher: DispatcherUnderTest,
) -> None:
    slow = await _claimed(dispatcher, SlowResponse)
    merged = person_observed().replace(version=2, merged_into=PersonId("p2"))
    await dispatcher.handle(person_observed("p2", "+441632960002"), merged)
    slow.open.set()
    await dispatcher.wait_for_state("accepted")
    assert [event["data"]["person_id"] for event in await dispatcher.events()] == ["p2"]


_END_SESSIONS = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"


async def test_a_withdrawal_wins_where_the_leader_lost_its_session_before_the_request_began(
    dispatcher: DispatcherUnderTest,
) -> None:
    """No listener heard of it."""
    slow = await _claimed(dispatcher)
    await dispatcher.pool.fetch(_END_SESSIONS)
    await wait_until(lambda: _claims_no_more(dispatcher))
    await dispatcher.handle(withdrawal())
    slow.open.set()
    await dispatcher.wait_for_state("withdrawn")
    assert await dispatcher.sent() == []


async def _claims_no_more(dispatcher: DispatcherUnderTest) -> bool:
    return dispatcher.parts.sender.claimer is None


async def test_a_dispatcher_that_ends_finishes_what_has_begun(dispatcher: DispatcherUnderTest) -> None:
    slow = await _claimed(dispatcher, SlowResponse)
    stopping = asyncio.create_task(dispatcher.stop())
    await wait_until(lambda: _claims_no_more(dispatcher))
    slow.open.set()
    await stopping
    assert await dispatcher.state() == "accepted"


async def test_a_dispatcher_that_ends_puts_what_has_not_begun_back_at_its_place(
    dispatcher: DispatcherUnderTest,
) -> None:
    requested_at = dispatcher.clock.now()
    slow = await _claimed(dispatcher)
    dispatcher.advance_clock(timedelta(minutes=1))
    stopping = asyncio.create_task(dispatcher.stop())
    await wait_until(lambda: _claims_no_more(dispatcher))
    slow.open.set()
    await stopping
    assert (await dispatcher.state(), await dispatcher.sent()) == ("waiting", [])
    assert await dispatcher.pool.fetchval("select not_before from messages") == requested_at


async def test_a_dispatcher_that_ends_while_it_claims_puts_the_claimed_back(
    dispatcher: DispatcherUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, has_begun = MessageStore.begin_attempts, asyncio.Event()

    async def begin_slowly(*arguments: Any) -> dict[str, int]:
        begun = await begin(*arguments)
        has_begun.set()
        await asyncio.sleep(0.3)
        return begun

    monkeypatch.setattr(MessageStore, "begin_attempts", begin_slowly)
    await dispatcher.handle(person_observed(), send_request())
    await has_begun.wait()
    await dispatcher.stop()
    assert (await dispatcher.state(), await dispatcher.sent()) == ("waiting", [])


async def test_a_claim_whose_commit_was_not_answered_goes_again(
    dispatcher: DispatcherUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it left, so a question needs no operator."""
    begin, lost = MessageStore.begin_attempts, list[str]()

    async def begin_and_lose_the_first_answer(*arguments: Any) -> dict[str, int]:
        begun = await begin(*arguments)
        if not lost:
            lost.extend(begun)
            raise asyncpg.ConnectionDoesNotExistError
        return begun

    monkeypatch.setattr(MessageStore, "begin_attempts", begin_and_lose_the_first_answer)
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_for_state("accepted")
    assert (lost, await dispatcher.published()) == (["m1"], ["accepted"])
    assert len(await dispatcher.sent()) == 1
