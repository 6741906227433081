"""A withdrawal wins as long as the request has not begun, and is said to be too late as soon as it has."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from services.dispatcher.outcomes import Outcome
from services.dispatcher.whatsapp import WhatsApp
from shared.contracts.ids import MessageId, PersonId
from shared.contracts.messages import WithdrawMessage
from shared.runtime.clock import machine_now
from tests.services.dispatcher.house import House, person, request, until

pytestmark = pytest.mark.integration


class SlowConnection:
    """The request waits for a connection: it is claimed, and not begun."""

    def __init__(self, whatsapp: WhatsApp) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self._whatsapp = whatsapp

    async def send(self, line: str, body: bytes, may_write: Callable[[], bool]) -> Outcome:
        self.waiting += 1
        await self.open.wait()
        return await self._whatsapp.send(line, body, may_write)


class SlowAnswer(SlowConnection):
    """The request has been written, and its answer does not come."""

    async def send(self, line: str, body: bytes, may_write: Callable[[], bool]) -> Outcome:
        outcome = await self._whatsapp.send(line, body, may_write)
        self.waiting += 1
        await self.open.wait()
        return outcome


def _withdrawal(message_id: str = "m1") -> WithdrawMessage:
    return WithdrawMessage(message_id=MessageId(message_id), person_id=PersonId("p1"), reason="no_longer_needed")


async def _claimed(house: House, kind: type[SlowConnection] = SlowConnection) -> SlowConnection:
    sender = house.parts.sender
    slow = kind(sender._whatsapp)
    sender._whatsapp = slow  # type: ignore[assignment]
    await house.hear(person(), request())
    await until(lambda: _waits(slow))
    return slow


async def _waits(slow: SlowConnection) -> bool:
    return slow.waiting > 0


async def test_a_withdrawal_wins_while_the_request_is_claimed_and_not_begun(house: House) -> None:
    slow = await _claimed(house)
    await house.hear(_withdrawal())
    assert await house.told() == []
    await until(lambda: _called_back(house))
    slow.open.set()
    await house.until_state("withdrawn")
    assert await house.told() == ["withdrawn"]
    assert await house.sent() == []


async def _called_back(house: House) -> bool:
    return bool(house.parts.sender.flight._called_back)


async def test_a_withdrawal_of_a_request_under_way_is_too_late(house: House) -> None:
    slow = await _claimed(house, SlowAnswer)
    await house.hear(_withdrawal())
    await until(lambda: _called_back(house))
    slow.open.set()
    await house.until_state("accepted")
    assert await house.told() == ["accepted", "too_late"]
    assert len(await house.sent()) == 1


async def test_a_withdrawal_of_what_a_dead_owner_had_claimed_is_too_late_once_its_lease_ends(house: House) -> None:
    await house.stop()
    await house.hear(person(), request())
    await house.pool.execute(
        "update messages set state = 'intent', attempts = 1, wording = 'template', lease_until = $1",
        machine_now() - timedelta(minutes=1),
    )
    await house.hear(_withdrawal())
    await house.start()
    await house.until_state("uncertain")
    assert await house.told() == ["uncertain", "too_late"]


async def test_a_message_called_back_twice_says_so_once(house: House) -> None:
    slow = await _claimed(house)
    await house.hear(_withdrawal())
    await house.hear(_withdrawal())
    await until(lambda: _called_back(house))
    slow.open.set()
    await house.until_state("withdrawn")
    assert await house.told() == ["withdrawn"]
