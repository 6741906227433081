"""The messages of one line to one person leave in the order of their requests, whatever makes one of them wait."""

from datetime import timedelta

import pytest

from shared.contracts.contacts import PersonObserved
from shared.contracts.ids import ChainId, Line
from shared.contracts.messages import Lane, SendMessage, TemplateCall
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    person_observed,
    send_request,
    template_update,
    withdrawal,
)

pytestmark = pytest.mark.integration
_MINUTE = timedelta(minutes=1)


async def _order(dispatcher: DispatcherUnderTest) -> list[str]:
    await dispatcher.wait_until_idle()
    return [message["biz_opaque_callback_data"].partition(".")[0] for message in await dispatcher.sent()]


@pytest.mark.parametrize("code", [135000, 131056, 130429])
async def test_a_retried_message_is_not_overtaken(dispatcher: DispatcherUnderTest, code: int) -> None:
    """A refusal that may pass, a throttled person, a throttled number."""
    await dispatcher.simulator.tell("faults", {"kind": "error_code", "code": code, "match": {"to": "+441632960001"}})
    await dispatcher.handle(person_observed(), *(send_request(f"m{number}") for number in range(5)))
    while await dispatcher.state("m4") != "accepted":
        await dispatcher.wait_until_idle()
        dispatcher.advance_clock(timedelta(seconds=1))
    assert await _order(dispatcher) == [f"m{number}" for number in range(5)]


async def test_a_later_message_waits_for_an_earlier_one_that_is_postponed(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(send_request("m1"))
    await dispatcher.wait_for_reason("unknown_person", "m1")
    await dispatcher.pool.execute(
        "update messages set reason = 'pair_rate', not_before = $1", dispatcher.clock.now() + _MINUTE
    )
    await dispatcher.handle(person_observed(), send_request("m2"))
    await dispatcher.wait_until_idle()
    assert await dispatcher.sent() == []
    assert (await dispatcher.parts.monitor.idle()).next_due == dispatcher.clock.now() + _MINUTE
    dispatcher.advance_clock(_MINUTE)
    assert await _order(dispatcher) == ["m1", "m2"]


async def test_a_critical_message_does_not_overtake_the_same_persons_bulk_message(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.stop()
    await dispatcher.handle(
        person_observed(), send_request("m1", lane=Lane.BULK), send_request("m2", lane=Lane.CRITICAL)
    )
    await dispatcher.start()
    assert await _order(dispatcher) == ["m1", "m2"]


async def test_a_critical_message_goes_before_other_peoples_bulk_messages(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), person_observed("p2", "+441632960002"))
    await dispatcher.handle(send_request("m1", lane=Lane.BULK), send_request("m2", "p2", lane=Lane.CRITICAL))
    await dispatcher.start()
    assert sorted(await _order(dispatcher)) == ["m1", "m2"]
    begun = await dispatcher.pool.fetch("select message_id from messages order by lane, sequence")
    assert [row["message_id"] for row in begun] == ["m2", "m1"]


async def _bulk_before(dispatcher: DispatcherUnderTest, *later: PersonObserved | SendMessage) -> None:
    """A hundred bulk messages to as many people were requested before; the number's rate is eighty."""
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), *(person_observed(f"p{n}", f"+4416329{n:05}") for n in range(100, 200)))
    await dispatcher.handle(*(send_request(f"b{n}", f"p{n}", lane=Lane.BULK) for n in range(100, 200)), *later)
    await dispatcher.start()


async def test_a_bulk_message_before_a_critical_one_of_its_chat_goes_with_it(dispatcher: DispatcherUnderTest) -> None:
    alert = send_request("m2", lane=Lane.CRITICAL)
    await _bulk_before(dispatcher, send_request("m1", lane=Lane.BULK), alert)
    order = await _order(dispatcher)
    assert [message_id for message_id in order if message_id in {"m1", "m2"}] == ["m1", "m2"]
    assert len(order) in {78, 79}  # two of eighty are kept from the bulk, and the alert may take one of them
    requested = await dispatcher.pool.fetchval("select requested_lane from messages where message_id = 'm1'")
    assert requested == 2


async def test_each_chat_of_a_batch_gets_the_lane_of_its_own_new_messages(dispatcher: DispatcherUnderTest) -> None:
    """Of what comes after in the same chat: by the person, by the number, and not what came before."""
    await dispatcher.stop()
    people = (person_observed(), person_observed("p2", "+441632960002"))
    await dispatcher.handle(*people, send_request("m1", lane=Lane.BULK), send_request("m2", "p2", lane=Lane.BULK))
    await dispatcher.handle(send_request("m3", line=Line("acquisitions"), lane=Lane.BULK))
    await dispatcher.handle(
        send_request("n1", lane=Lane.NORMAL),
        send_request("n2", "p2", lane=Lane.CRITICAL),
        send_request("n3", line=Line("acquisitions"), lane=Lane.CRITICAL),
        send_request("n4", lane=Lane.BULK),
        send_request("n5", "p2", lane=Lane.NORMAL),
    )
    rows = await dispatcher.pool.fetch("select message_id, lane from messages")
    lanes = {row["message_id"]: row["lane"] for row in rows}
    assert lanes == {"m1": 1, "m2": 0, "m3": 0, "n1": 1, "n2": 0, "n3": 0, "n4": 2, "n5": 1}


async def test_a_bulk_message_in_flight_gets_the_lane_of_a_critical_one_of_its_chat(
    dispatcher: DispatcherUnderTest,
) -> None:
    """Where it has to go again, the critical one waits for it."""
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request("m1", lane=Lane.BULK))
    await dispatcher.pool.execute("update messages set state = 'intent'")
    await dispatcher.handle(send_request("m2", lane=Lane.CRITICAL))
    assert await dispatcher.pool.fetchval("select lane from messages where message_id = 'm1'") == 0


async def test_the_share_kept_from_bulk_messages_lets_an_alert_leave_at_once(dispatcher: DispatcherUnderTest) -> None:
    await _bulk_before(dispatcher)
    await dispatcher.wait_until_idle()
    await dispatcher.handle(send_request("m1", lane=Lane.CRITICAL))
    await dispatcher.wait_for_state("accepted")
    assert len(await dispatcher.sent()) == 79


async def test_the_bulk_gets_a_tenth_while_normal_messages_wait(dispatcher: DispatcherUnderTest) -> None:
    people = [person_observed(f"n{n}", f"+4416328{n:05}") for n in range(100)]
    await _bulk_before(dispatcher, *people, *(send_request(f"n{n}", f"n{n}") for n in range(100)))
    order = await _order(dispatcher)
    assert len(order) == 80
    assert 7 <= sum(message_id.startswith("b") for message_id in order) <= 9


async def test_a_message_that_waits_for_its_template_holds_back_its_own_chain_only(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.simulator.tell("templates", {"name": "usable_v1", "language": "en", "body": "Good morning"})
    usable = TemplateCall(name="usable_v1", language="en")
    await dispatcher.handle(template_update(dispatcher.clock.now(), "PAUSED"), person_observed())
    await dispatcher.handle(send_request("m1", chain_id=ChainId("c1")))
    await dispatcher.wait_for_reason("template_paused")
    later = [send_request(f"m{number}", chain_id=ChainId(f"c{number - 1}"), template=usable) for number in (2, 3)]
    await dispatcher.handle(*later)
    assert await _order(dispatcher) == ["m3"]
    await dispatcher.handle(template_update(dispatcher.clock.now(), "APPROVED"))
    assert await _order(dispatcher) == ["m3", "m1", "m2"]


async def test_another_line_is_another_chat(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(send_request("m1"))
    await dispatcher.wait_for_reason("unknown_person", "m1")
    await dispatcher.pool.execute(
        "update messages set reason = 'pair_throttled', not_before = $1", dispatcher.clock.now() + _MINUTE
    )
    await dispatcher.handle(person_observed(), send_request("m2", line="acquisitions"))
    assert await _order(dispatcher) == ["m2"]


async def test_the_end_of_a_message_frees_the_later_ones(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(send_request("m1"))
    await dispatcher.wait_for_reason("unknown_person", "m1")
    await dispatcher.pool.execute(
        "update messages set reason = 'pair_throttled', not_before = $1", dispatcher.clock.now() + _MINUTE
    )
    await dispatcher.handle(person_observed(), send_request("m2"))
    await dispatcher.handle(withdrawal("m1"))
    assert await _order(dispatcher) == ["m2"]


async def test_pacing_does_not_hold_a_critical_message_behind_a_bulk_message_of_its_chain(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.stop()
    chain = ChainId("c1")
    await dispatcher.handle(person_observed(), send_request("m1", lane=Lane.BULK, chain_id=chain))
    await dispatcher.pool.execute(
        "update messages set reason = 'template_throttled', not_before = $1", dispatcher.clock.now() + 60 * _MINUTE
    )
    await dispatcher.handle(send_request("m2", lane=Lane.CRITICAL, chain_id=chain))
    await dispatcher.start()
    await dispatcher.wait_for_state("accepted", "m2")
    assert await _order(dispatcher) == ["m1", "m2"]


async def test_a_message_behind_two_that_end_in_the_same_instant_leaves(
    dispatcher: DispatcherUnderTest,
) -> None:
    """Each of the two transactions sees the other's message wait still."""
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), *(send_request(f"m{number}") for number in range(3)))
    await dispatcher.pool.execute(
        "update messages set reason = 'earlier_message', not_before = $1 where message_id = 'm2'",
        dispatcher.clock.now() + 60 * _MINUTE,
    )
    async with dispatcher.handling(withdrawal("m0")):
        await dispatcher.handle(withdrawal("m1"))
    await dispatcher.start()
    await dispatcher.wait_for_state("accepted", "m2")
