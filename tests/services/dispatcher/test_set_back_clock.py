"""Times that a clock noted before it was set back hold nothing for as long as the step; shorter waits are kept."""

from datetime import timedelta

import pytest

from services.dispatcher import reconciliation
from services.dispatcher.store import LaneCapacity, MessageStore
from shared.contracts.messages import AttachedDocument, Lane, TemplateCall, TemplateHeader
from shared.contracts.whatsapp import WebhookConfirmed
from shared.runtime.clock import machine_now
from tests.services.dispatcher.dispatcher_under_test import TENANT, DispatcherUnderTest, person_observed, send_request

pytestmark = pytest.mark.integration
AHEAD = [(timedelta(minutes=10), False), (timedelta(days=1), True)]
"""How far ahead of the clock of now an instant is, and whether the one that noted it must have been set back."""


async def test_a_message_is_held_until_the_provider_has_recovered(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    moment, lanes = dispatcher.parts.sender.moment(), [LaneCapacity("main", Lane.NORMAL, 5)]
    for ahead, is_due in AHEAD:
        await dispatcher.pool.execute("update messages set hold_until = $1", moment.machine + ahead)
        async with dispatcher.pool.acquire() as connection:
            instants = moment.business, moment.machine
            found = await MessageStore(TENANT).find_due(connection, lanes, [], instants, 5)
        assert len(found) == int(is_due)


async def test_a_message_that_came_by_such_a_clock_goes_now(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    moment = dispatcher.parts.sender.moment()
    for ahead, is_due in AHEAD:
        await dispatcher.pool.execute("update messages set requested_at = $1, not_before = $1", moment.business + ahead)
        dispatcher.parts.reconciler._latest = None  # as in a process that begins to lead
        await dispatcher.parts.reconciler.release_far_ahead(moment)
        row = await dispatcher.pool.fetchrow("select requested_at, not_before from messages")
        assert (tuple(row) == (moment.business, moment.business)) is is_due


async def test_all_that_waits_is_planned_anew_once_where_the_clock_was_seen_to_go_back(
    dispatcher: DispatcherUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait of a day may be right, or reckoned from the day after tomorrow. Each round looks at a few."""
    monkeypatch.setattr(reconciliation, "_BATCH", 2)
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), *(send_request(f"m{place}") for place in range(5)))
    moment, reconciler = dispatcher.parts.sender.moment(), dispatcher.parts.reconciler
    far = moment.business + timedelta(days=1)
    await dispatcher.pool.execute("update messages set not_before = $1, reason = 'quiet_hours'", far)
    await reconciler.release_far_ahead(moment)
    released = "select count(*) from messages where not_before = $1 and reason is null"
    for step, expected in ((timedelta(minutes=10), [0, 0]), (timedelta(days=2), [2, 4, 5, 5])):
        reconciler._latest = moment.business + step
        for count in expected:
            await reconciler.release_far_ahead(moment)
            assert await dispatcher.pool.fetchval(released, moment.business) == count
    await dispatcher.pool.execute("update messages set not_before = $1, reason = 'quiet_hours'", far)
    await reconciler.release_far_ahead(moment)
    assert await dispatcher.pool.fetchval(released, moment.business) == 0


async def test_a_send_whose_lease_was_noted_by_such_a_clock_is_uncertain(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    moment = dispatcher.parts.sender.moment()
    begun = "update messages set state = 'intent', attempts = 1, wording = 'template', lease_until = $1"
    for ahead, is_over in AHEAD:
        await dispatcher.pool.execute(begun, moment.machine + ahead)
        await dispatcher.parts.reconciler.expire_leases(moment)
        assert await dispatcher.state() == ("uncertain" if is_over else "intent")


async def test_the_coverage_of_before_is_replaced(dispatcher: DispatcherUnderTest) -> None:
    """Silence would settle nothing for as long as the clock of ingest was set back."""
    now = machine_now()
    for ahead, is_replaced in AHEAD:
        await dispatcher.handle(WebhookConfirmed(account="a", since=now - ahead, until=now + ahead))
        await dispatcher.handle(WebhookConfirmed(account="a", since=now, until=now))
        span = await dispatcher.parts.reconciler.account.covered_span(dispatcher.pool)
        assert span is not None
        assert (span.until == now) is is_replaced


async def test_a_document_is_fetched_again_in_time(dispatcher: DispatcherUnderTest) -> None:
    call = TemplateCall(name="proof_ready_v1", language="en", header=TemplateHeader.DOCUMENT)
    document = AttachedDocument(address="https://files.example/proof.pdf", name="The proof")
    await dispatcher.handle(person_observed(), send_request(template=call, document=document))
    store, now = dispatcher.parts.handler.documents, machine_now()
    for ahead, is_due in AHEAD:
        await dispatcher.pool.execute("update documents set due_at = $1", now + ahead)
        assert (await store.waiting(dispatcher.pool, now)).due == int(is_due)
        assert len(await store.claim(dispatcher.pool, 5, now, timedelta(minutes=1))) == int(is_due)
