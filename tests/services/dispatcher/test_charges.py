"""The price that statuses name is recorded once for each message, counted by day, and kept without a person."""

from datetime import UTC, date, datetime, timedelta

import pytest

from shared.clients.rate_card import ChargedMessages
from shared.contracts.ids import Wamid
from shared.contracts.whatsapp import DeliveryStatus, StatusReported
from tests.services.dispatcher.dispatcher_under_test import DispatcherUnderTest, person_observed, send_request

pytestmark = pytest.mark.integration
LATE = datetime(2026, 9, 30, 23, 30, tzinfo=UTC)  # in London it is October


def status(message_id: str, word: DeliveryStatus, **changes: object) -> StatusReported:
    reported = StatusReported(
        wamid=Wamid(f"wamid.{message_id}"), status=word, at=LATE, callback=f"{message_id}.1",
        pricing_category="UTILITY", pricing_type="regular", country="GB",
    )  # fmt: skip
    return reported.replace(**changes)


async def test_a_message_is_charged_once_when_it_is_delivered(dispatcher: DispatcherUnderTest) -> None:
    charges = dispatcher.parts.charges
    await dispatcher.handle(person_observed(), send_request(rule="stage"), send_request("m2", expires_at=LATE))
    await dispatcher.handle(
        status("m1", DeliveryStatus.SENT),
        status("m2", DeliveryStatus.FAILED),
        status("m3", DeliveryStatus.DELIVERED),  # of another system
    )
    assert await charges.store.charged(dispatcher.pool, date(2026, 9, 1), date(2026, 11, 1)) == []
    await dispatcher.handle(status("m1", DeliveryStatus.DELIVERED), status("m1", DeliveryStatus.READ))
    await dispatcher.handle(status("m1", DeliveryStatus.READ, pricing_category="marketing"))
    expected = ChargedMessages(date(2026, 10, 1), "main", "GB", "utility", "regular", "stage", 1)
    for _ in ("before they are counted", "after"):
        assert await charges.store.charged(dispatcher.pool, date(2026, 10, 1), date(2026, 10, 31)) == [expected]
        await charges.run_once()
        await dispatcher.handle(status("m1", DeliveryStatus.READ))
    dispatcher.advance_clock(timedelta(days=60))
    await charges.run_once()
    assert await dispatcher.pool.fetchval("select count(*) from charges") == 0
    assert await charges.store.charged(dispatcher.pool, date(2026, 10, 1), date(2026, 10, 31)) == [expected]


async def test_a_status_that_comes_before_its_receipt_keeps_its_price(dispatcher: DispatcherUnderTest) -> None:
    early = status("m1", DeliveryStatus.DELIVERED, callback=None)
    await dispatcher.handle(early)
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_for_state("accepted")
    wamid = await dispatcher.pool.fetchval("select wamid from messages where message_id = 'm1'")
    await dispatcher.pool.execute("update early_statuses set wamid = $1", wamid)
    await dispatcher.parts.reconciler.match_early_statuses(dispatcher.parts.sender.moment())
    found = await dispatcher.parts.charges.store.charged(dispatcher.pool, date(2026, 10, 1), date(2026, 10, 1))
    assert [(one.country, one.category, one.messages) for one in found] == [("GB", "utility", 1)]
