"""A message from its request to the phone and back, with the simulator over real sockets and a real database."""

import time
from datetime import timedelta

import pytest

from services.dispatcher.claimer import SendIntent
from services.dispatcher.metrics import _MESSAGE_DELAY
from services.dispatcher.store import RequestOrigin
from services.dispatcher.throttles import SendTarget
from shared.contracts.ids import PersonId, Wamid
from shared.contracts.messages import MessageForm
from shared.contracts.whatsapp import DeliveryStatus, MessageKind, StatusReported
from shared.runtime.clock import machine_now
from tests.services.dispatcher.dispatcher_under_test import (
    BUTTONS,
    DispatcherUnderTest,
    message_received,
    person_observed,
    send_request,
    template_update,
    withdrawal,
)

pytestmark = pytest.mark.integration


async def test_outside_the_window_the_template_goes_and_its_statuses_come_back(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(person_observed(), send_request(buttons=BUTTONS))
    await dispatcher.wait_for_state("accepted")
    await dispatcher.handle_statuses()
    assert [message["type"] for message in await dispatcher.sent()] == ["template"]
    assert await dispatcher.published() == ["accepted", "delivered"]


async def test_inside_the_window_free_text_goes(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell(
        "inbound", {"from": "+441632960001", "line": "main", "kind": "text", "text": "Hello"}
    )
    await dispatcher.handle(person_observed(), message_received(dispatcher.clock.now()), send_request(buttons=BUTTONS))
    await dispatcher.wait_for_state("accepted")
    assert [message["type"] for message in await dispatcher.sent()] == ["interactive"]


async def test_a_person_known_by_bsuid_only_is_reached(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("people", {"id": "wren", "bsuid": "GB.12345", "name": "Wren"})
    await dispatcher.handle(person_observed(phone=None, bsuid="GB.12345"), send_request())
    await dispatcher.wait_for_state("accepted")
    assert [message["person"] for message in await dispatcher.sent()] == ["wren"]


async def test_a_window_that_proved_closed_is_answered_with_the_template(dispatcher: DispatcherUnderTest) -> None:
    """The person's message is known here and not to the simulator, as when a webhook's time was read wrongly."""
    await dispatcher.handle(person_observed(), message_received(dispatcher.clock.now()), send_request())
    await dispatcher.wait_for_state("accepted")
    await dispatcher.handle_statuses()
    dispatcher.advance_clock(timedelta(minutes=1))  # rules had its time to withdraw what goes again
    await dispatcher.wait_for_state("accepted")
    await dispatcher.wait_until_idle()
    await dispatcher.handle_statuses()
    assert await dispatcher.published() == ["accepted", "resolved", "accepted", "delivered"]
    await dispatcher.handle(send_request("m2"))
    await dispatcher.wait_for_state("accepted", "m2")
    assert [message["type"] for message in await dispatcher.sent()][-2:] == ["template", "template"]


def _delays(up_to: float) -> float:
    """How many messages of the normal lane were accepted up to so many seconds after their decision."""
    (metric,) = (one for one in _MESSAGE_DELAY.collect() if one.name == "stet_message_delay_seconds")
    labels = {"lane": "normal", "le": str(up_to)}
    return sum(one.value for one in metric.samples if one.name.endswith("_bucket") and one.labels == labels)


async def test_the_time_that_a_request_lay_in_kafka_counts_as_delay(dispatcher: DispatcherUnderTest) -> None:
    """Else a dispatcher that stood still would seem to keep its promise; the waits that are its own begin anew."""
    before = _delays(120.0), _delays(300.0)
    await dispatcher.handle(person_observed())
    dispatcher.read_after = timedelta(minutes=3)
    await dispatcher.handle(send_request())
    await dispatcher.wait_for_state("accepted")
    await dispatcher.wait_until_idle()
    assert (_delays(120.0) - before[0], _delays(300.0) - before[1]) == (0, 1)
    requested = await dispatcher.pool.fetchval("select requested_at from messages where message_id = 'm1'")
    assert requested == dispatcher.clock.now()


async def test_a_request_waits_for_its_person(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(send_request())
    await dispatcher.wait_until_idle()
    assert await dispatcher.state() == "waiting"
    await dispatcher.handle(person_observed())
    await dispatcher.wait_for_state("accepted")


async def test_a_person_and_a_request_that_cross_find_each_other(dispatcher: DispatcherUnderTest) -> None:
    """The person is not committed yet when the request is looked at, nor the note that it waits when the person is."""
    async with dispatcher.handling(person_observed()):
        await dispatcher.handle(send_request())
        await dispatcher.wait_for_reason("unknown_person")
    await dispatcher.wait_for_state("accepted")


async def test_a_template_and_a_request_that_cross_find_each_other(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(template_update(dispatcher.clock.now(), "PAUSED"), person_observed())
    async with dispatcher.handling(template_update(dispatcher.clock.now(), "APPROVED")):
        await dispatcher.handle(send_request())
        await dispatcher.wait_for_reason("template_paused")
    await dispatcher.wait_for_state("accepted")


async def test_a_known_person_without_an_address_is_dropped(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(person_observed(phone=None), send_request())
    await dispatcher.wait_for_state("dropped")
    assert (await dispatcher.events())[0]["data"]["reason"] == "no_address"


async def test_a_message_whose_time_is_over_is_dropped(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(send_request(expires_at=dispatcher.clock.now() + timedelta(minutes=1)))
    dispatcher.advance_clock(timedelta(minutes=1))
    await dispatcher.wait_for_state("dropped")
    assert await dispatcher.sent() == []


async def test_a_withdrawal_in_time_wins_and_a_late_one_is_reported_as_too_late(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.handle(send_request(), withdrawal())
    assert await dispatcher.state() == "withdrawn"
    await dispatcher.handle(person_observed(), send_request("m2"))
    await dispatcher.wait_for_state("accepted", "m2")
    await dispatcher.handle(withdrawal("m2"))
    assert await dispatcher.published("m1") == ["withdrawn"]
    assert await dispatcher.published("m2") == ["accepted", "too_late"]


async def test_a_withdrawal_before_its_message_keeps_it_from_going(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(withdrawal())
    await dispatcher.handle(person_observed(), send_request(), send_request("m2"))
    await dispatcher.wait_for_state("accepted", "m2")
    assert len(await dispatcher.sent()) == 1
    assert await dispatcher.published("m1") == ["withdrawn"]


async def test_a_request_received_twice_is_sent_once(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(person_observed(), send_request(), send_request())
    await dispatcher.handle(send_request())
    await dispatcher.wait_for_state("accepted")
    await dispatcher.wait_until_idle()
    assert len(await dispatcher.sent()) == 1


async def test_a_burst_to_one_person_is_sent_in_order_and_then_waits(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(person_observed(), *(send_request(f"m{number:02}") for number in range(50)))
    await dispatcher.wait_until_idle()
    first = [message["biz_opaque_callback_data"] for message in await dispatcher.sent()]
    assert first == [f"m{number:02}.1@p1:1" for number in range(45)]
    idle = await dispatcher.parts.monitor.idle()
    assert idle.next_due == dispatcher.clock.now() + timedelta(seconds=270)
    dispatcher.advance_clock(timedelta(seconds=270))
    await dispatcher.wait_until_idle()
    assert len(await dispatcher.sent()) == 50
    assert (await dispatcher.simulator.ask("counts"))["errors"]["answer"] == {}


async def test_a_number_never_sends_more_than_its_rate(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(*(person_observed(f"p{n}", f"+4416329{n:05}") for n in range(200)))
    await dispatcher.handle(*(send_request(f"m{n}", f"p{n}") for n in range(200)))
    for seconds in range(3):
        await dispatcher.wait_until_idle()
        assert len(await dispatcher.sent()) == min(80 * (seconds + 1), 200)
        dispatcher.advance_clock(timedelta(seconds=1))
    assert (await dispatcher.simulator.ask("counts"))["errors"]["answer"] == {}


async def test_a_tap_may_come_before_everything_else(dispatcher: DispatcherUnderTest) -> None:
    """Neither the response nor a status came, but only a message on a screen can be tapped."""
    await dispatcher.simulator.tell("faults", {"kind": "timeout_after_accept", "seconds": 30})
    await dispatcher.handle(person_observed(), send_request(buttons=BUTTONS))
    await dispatcher.wait_for_state("uncertain")
    tap = message_received(
        dispatcher.clock.now(), message_kind=MessageKind.BUTTON, button_id="yes.m1", quoted_id=Wamid("wamid.q")
    )
    await dispatcher.handle(tap)
    assert await dispatcher.published() == ["uncertain", "resolved"]
    assert (await dispatcher.events())[-1]["data"]["evidence"] == "tap"


async def test_of_messages_that_are_begun_together_each_has_its_own_wording(dispatcher: DispatcherUnderTest) -> None:
    people = [person_observed(f"p{place}", f"+44163296000{place}") for place in range(4)]
    for place in (0, 2):  # their windows are open
        said = {"from": f"+44163296000{place}", "line": "main", "kind": "text", "text": "Hello"}
        await dispatcher.simulator.tell("inbound", said)
        await dispatcher.handle(message_received(dispatcher.clock.now(), f"p{place}"))
    await dispatcher.handle(*people, *(send_request(f"m{place}", f"p{place}") for place in range(4)))
    await dispatcher.wait_until_idle()
    rows = await dispatcher.pool.fetch(
        "select m.wording, a.wording as attempted, used_template, used_language, m.wamid = a.wamid as is_same,"
        " a.wamid"
        " from messages m join attempts a using (message_id) order by message_id"
    )
    text, template = ("free_text", "free_text", None, None), ("template", "template", "rights_request_v3", "en")
    assert [tuple(row)[:4] for row in rows] == [text, template, text, template]
    named = {"name": "rights_request_v3", "language": "en"}
    reports = {event["data"]["message_id"]: event["data"].get("template") for event in await dispatcher.events()}
    assert reports == {"m0": None, "m1": named, "m2": None, "m3": named}
    assert all(row["is_same"] for row in rows)
    assert len({row["wamid"] for row in rows}) == 4


async def test_of_statuses_that_come_together_each_concerns_its_own_message(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(*(person_observed(f"p{place}", f"+44163296000{place}") for place in range(4)))
    await dispatcher.handle(*(send_request(f"m{place}", f"p{place}") for place in range(4)))
    await dispatcher.wait_until_idle()
    reports = [(DeliveryStatus.READ, None), (DeliveryStatus.FAILED, 131026), (DeliveryStatus.DELIVERED, None)]
    rows = await dispatcher.pool.fetch("select wamid from messages order by message_id")
    statuses = [
        StatusReported(
            wamid=Wamid(row["wamid"]), status=status, at=dispatcher.clock.now(), code=code, callback=f"m{place}.1"
        )
        for place, (row, (status, code)) in enumerate(
            zip(rows, [*reports, (DeliveryStatus.FAILED, 131049)], strict=True)
        )
    ]
    await dispatcher.handle(*statuses)
    assert [await dispatcher.state(f"m{place}") for place in range(4)] == ["read", "failed", "delivered", "failed"]
    endings = await dispatcher.pool.fetch("select ending, code from attempts order by message_id")
    accepted = ("accepted", None)
    assert [tuple(row) for row in endings] == [accepted, ("failed", 131026), accepted, ("failed", 131049)]


@pytest.mark.parametrize("is_one_batch", [True, False])
async def test_an_older_state_of_a_person_changes_nothing(
    dispatcher: DispatcherUnderTest, *, is_one_batch: bool
) -> None:
    newer, older = person_observed(phone="+441632960002").replace(version=2), person_observed()
    for batch in [[newer, older]] if is_one_batch else [[newer], [older]]:
        await dispatcher.handle(*batch)
    await dispatcher.handle(send_request())
    await dispatcher.wait_for_state("accepted")
    assert [message["to"] for message in await dispatcher.sent()] == ["+441632960002"]


async def test_messages_waiting_for_a_merged_person_go_to_the_current_id(dispatcher: DispatcherUnderTest) -> None:
    """With the window that the former id opened; a request that still names it is for the person, too."""
    await dispatcher.simulator.tell(
        "inbound", {"from": "+441632960001", "line": "main", "kind": "text", "text": "Hello"}
    )
    await dispatcher.handle(message_received(dispatcher.clock.now(), "visitor"), send_request("m1", "visitor"))
    await dispatcher.wait_until_idle()
    merged = person_observed("visitor", phone=None).replace(merged_into=PersonId("between"))
    await dispatcher.handle(merged)
    last = person_observed("between", phone=None).replace(merged_into=PersonId("p1"))
    await dispatcher.handle(person_observed(), last, send_request("m2", "visitor"))
    await dispatcher.wait_for_state("accepted")
    await dispatcher.wait_for_state("accepted", "m2")
    assert [message["type"] for message in await dispatcher.sent()] == ["text", "text"]
    assert {event["data"]["person_id"] for event in await dispatcher.events()} == {"p1"}


async def test_an_undone_merge_separates_the_ids_again(dispatcher: DispatcherUnderTest) -> None:
    merged = person_observed("visitor", phone=None).replace(merged_into=PersonId("p1"))
    await dispatcher.handle(person_observed(), merged)
    await dispatcher.handle(
        person_observed("visitor", "+441632960002").replace(version=2), send_request("m1", "visitor")
    )
    await dispatcher.wait_for_state("accepted")
    assert [event["data"]["person_id"] for event in await dispatcher.events()] == ["visitor"]


@pytest.mark.parametrize("seconds_left", [5.0, 0.5])
async def test_no_clock_that_is_set_back_makes_a_lease_longer(
    dispatcher: DispatcherUnderTest, seconds_left: float
) -> None:
    """Another leader may have taken the message over while this process stood still."""
    sender = dispatcher.parts.sender
    await dispatcher.handle(person_observed(), send_request("m0"))
    await dispatcher.wait_for_state("accepted", "m0")  # so this process leads
    origin = RequestOrigin("request", None, None)
    until = machine_now() + timedelta(hours=1)
    ends, target = time.monotonic() + seconds_left, SendTarget("main", "p1")
    intent = SendIntent("m1", 1, target, MessageForm.FREE_TEXT, b"{}", until, ends, origin)
    assert sender._may_write(intent) is (seconds_left > 1)
