"""A STOP and what might be written to its person are judged one after the other, whichever comes first."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta

import pytest

from services.rules.conversation.chain import Chain
from shared.contracts.envelope import Event, EventData
from shared.contracts.topics import CONSONANCE_EVENTS
from shared.runtime.batch import ReceivedEvent
from shared.runtime.failures import LocksBusy
from shared.runtime.outbox import transaction
from tests.services.rules.at_work import (
    RulesAtWork,
    accepted,
    party,
    person_of,
    rules_at_work,
    somebody,
    told,
    work,
    wrote,
)

pytestmark = pytest.mark.integration
NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
STAFF = (11, 12, 21, 22, 31, 40, 41, 51, 52, 53, 61, 71)
AUTHOR = person_of(801)


@pytest.fixture
async def house(postgres_database: str) -> AsyncIterator[RulesAtWork]:
    async with rules_at_work(postgres_database, NOW) as house:
        await house.hear(*map(somebody, (*STAFF, 801)), work((801, "author")))
        yield house


def stage_changed() -> Event:
    """The author hears of it."""
    named = {"work_id": 61417, "title": "The Salt Road"}
    return told("consonance.work.stage_changed.v1", to_stage_key="final_proof_approved", work=named)


def blocked() -> Event:
    """Of another key, to some of the same people."""
    named = {"work_id": 61417, "title": "The Salt Road"}
    return told("consonance.work.blocked.v1", work=named).replace(partitionkey="penrose/works/61419")


def batch(house: RulesAtWork, said: EventData | Event) -> list[ReceivedEvent]:
    event = said if isinstance(said, Event) else house.event(said)
    return [ReceivedEvent(event, CONSONANCE_EVENTS, 0, 0, None)]


async def repeated(house: RulesAtWork, received: list[ReceivedEvent]) -> None:
    """As the consumer does it."""
    while True:
        try:
            return await house.take(received)
        except LocksBusy:
            await asyncio.sleep(0)


async def begun(house: RulesAtWork, received: list[ReceivedEvent], other: Awaitable[None]) -> None:
    """``other`` comes while ``received`` is judged and not committed yet."""
    async with transaction(house.pool, house.clock, "rules", locks=house.rules.locks(received)) as tx:
        await house.rules.handle(tx, received)
        task = asyncio.ensure_future(other)
        done, _ = await asyncio.wait([task], timeout=0.5)
        assert not done, "it takes its turn"
    await task


async def unsent_to(house: RulesAtWork) -> set[str]:
    """Asked for, and not taken back."""
    asked = {m["message_id"] for m in await house.messages() if m.get("say") not in {None, "stopped"}}
    return {m["message_id"] for m in await house.messages() if m["person_id"] == AUTHOR} & asked - {
        *await house.withdrawn()
    }


async def test_a_work_event_waits_for_the_stop_before_it(house: RulesAtWork) -> None:
    stop = batch(house, wrote(801, "STOP", NOW))
    await begun(house, stop, repeated(house, batch(house, stage_changed())))
    assert await unsent_to(house) == set()


async def test_a_stop_waits_for_the_work_event_before_it_and_takes_back_what_that_said(house: RulesAtWork) -> None:
    """The chain has ended already: it only had to tell."""
    change = batch(house, stage_changed())
    await begun(house, change, repeated(house, batch(house, wrote(801, "STOP", NOW))))
    assert AUTHOR in {person for person, _ in await house.said()}
    assert await unsent_to(house) == set()


async def test_an_address_that_goes_is_waited_for_too(house: RulesAtWork) -> None:
    gone = batch(house, somebody(801, version=2, phone=None))
    await begun(house, gone, repeated(house, batch(house, stage_changed())))
    assert AUTHOR not in {person for person, _ in await house.said()}


async def test_a_timer_waits_for_the_stop_before_it(house: RulesAtWork) -> None:
    asked = told("consonance.metadata.confirmation_requested.v1", confirmers=[plain(801)], quorum="first")
    await house.hear(asked)
    question = await house.last_to(AUTHOR)
    await house.hear(accepted(question.message_id, AUTHOR, NOW))
    house.clock.at += timedelta(days=1)
    await house.read_to(house.clock.at)
    stop = batch(house, wrote(801, "STOP", house.clock.at))
    await begun(house, stop, turn(house))
    assert (AUTHOR, "metadata_reminder") not in await house.said()


async def turn(house: RulesAtWork) -> None:
    await house.loops._run_due_once()


def plain(contact: int) -> dict[str, object]:
    known = party(contact, "author")
    return {
        "person_id": known.person_id, "contact_id": contact, "kind": "person", "display_name": known.display_name,
        "role": "author",
    }  # fmt: skip


async def test_two_work_events_do_not_wait_for_each_other(house: RulesAtWork) -> None:
    first, second = batch(house, stage_changed()), batch(house, blocked())
    async with transaction(house.pool, house.clock, "rules", locks=house.rules.locks(first)) as tx:
        await house.rules.handle(tx, first)
        async with asyncio.timeout(20):
            await house.take(second)
    assert len(await house.chains()) >= 2


async def test_a_stop_takes_back_what_the_house_said_without_a_chain(house: RulesAtWork) -> None:
    await house.hear(wrote(801, "why?", NOW), wrote(801, "START", NOW))
    said = [m["message_id"] for m in await house.messages()]
    assert len(said) == 2
    await house.hear(accepted(said[0], AUTHOR, NOW))
    await house.hear(wrote(801, "STOP", NOW))
    assert await house.withdrawn() == said[1:]
    assert all(isinstance(chain, Chain) for chain in await house.chains())
