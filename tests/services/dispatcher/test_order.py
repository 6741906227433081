"""One person's messages by one line leave in the order they were asked for, whatever makes one of them wait."""

from datetime import timedelta

import pytest

from shared.contracts.ids import ChainId, MessageId, PersonId
from shared.contracts.messages import Lane, WithdrawMessage
from tests.services.dispatcher.house import House, person, request, template_said, wrote

pytestmark = pytest.mark.integration
_MINUTE = timedelta(minutes=1)


async def _order(house: House) -> list[str]:
    await house.rest()
    return [message["biz_opaque_callback_data"].partition(".")[0] for message in await house.sent()]


async def _free_text(house: House) -> None:
    """The person has written, so that words without a template may go."""
    await house.stand.tell("say", {"from": "+441632960001", "line": "main", "kind": "text", "text": "Hello"})
    await house.hear(person(), wrote(house.clock.now()))


@pytest.mark.parametrize("code", [135000, 131056, 130429])
async def test_a_message_that_goes_again_is_not_overtaken(house: House, code: int) -> None:
    """A refusal that may pass, a throttled person, a throttled number."""
    await house.stand.tell("faults", {"kind": "error_code", "code": code, "match": {"to": "+441632960001"}})
    await house.hear(person(), *(request(f"m{number}") for number in range(5)))
    while await house.state("m4") != "accepted":
        await house.rest()
        house.later(timedelta(seconds=1))
    assert await _order(house) == [f"m{number}" for number in range(5)]


async def test_a_message_asked_for_later_waits_for_one_whose_time_has_not_come(house: House) -> None:
    await house.hear(request("m1"))
    await house.until_waits_for("unknown_person", "m1")
    await house.pool.execute("update messages set reason = 'pair_rate', not_before = $1", house.clock.now() + _MINUTE)
    await house.hear(person(), request("m2"))
    await house.rest()
    assert await house.sent() == []
    assert (await house.parts.watch.idle()).next_due == house.clock.now() + _MINUTE
    house.later(_MINUTE)
    assert await _order(house) == ["m1", "m2"]


async def test_a_critical_message_does_not_overtake_the_same_persons_bulk_message(house: House) -> None:
    await house.stop()
    await house.hear(person(), request("m1", lane=Lane.BULK), request("m2", lane=Lane.CRITICAL))
    await house.start()
    assert await _order(house) == ["m1", "m2"]


async def test_a_critical_message_goes_before_other_peoples_bulk_messages(house: House) -> None:
    await house.stop()
    await house.hear(person(), person("p2", "+441632960002"))
    await house.hear(request("m1", lane=Lane.BULK), request("m2", "p2", lane=Lane.CRITICAL))
    await house.start()
    assert sorted(await _order(house)) == ["m1", "m2"]
    begun = await house.pool.fetch("select message_id from messages order by lane, sequence")
    assert [row["message_id"] for row in begun] == ["m2", "m1"]


async def test_a_message_that_waits_for_its_template_holds_back_its_own_chain_only(house: House) -> None:
    await house.hear(template_said(house.clock.now(), "PAUSED"), person())
    await house.hear(request("m1", chain_id=ChainId("c1")))
    await house.until_waits_for("template_paused")
    await _free_text(house)
    await house.pool.execute("update messages set not_before = $1", house.clock.now() + timedelta(hours=1))
    await house.hear(request("m2", chain_id=ChainId("c1")), request("m3", chain_id=ChainId("c2")))
    assert await _order(house) == ["m3"]
    await house.hear(template_said(house.clock.now(), "APPROVED"))
    assert await _order(house) == ["m3", "m1", "m2"]


async def test_another_line_is_another_chat(house: House) -> None:
    await house.hear(request("m1"))
    await house.until_waits_for("unknown_person", "m1")
    await house.pool.execute("update messages set reason = 'pair_held', not_before = $1", house.clock.now() + _MINUTE)
    await house.hear(person(), request("m2", line="acquisitions"))
    assert await _order(house) == ["m2"]


async def test_what_ends_a_message_frees_the_ones_behind_it(house: House) -> None:
    await house.hear(request("m1"))
    await house.until_waits_for("unknown_person", "m1")
    await house.pool.execute("update messages set reason = 'pair_held', not_before = $1", house.clock.now() + _MINUTE)
    await house.hear(person(), request("m2"))
    await house.hear(WithdrawMessage(message_id=MessageId("m1"), person_id=PersonId("p1"), reason="done"))
    assert await _order(house) == ["m2"]
