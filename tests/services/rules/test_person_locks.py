"""An opt-out and messages to its person take turns, whichever comes first."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta

import pytest

from services.rules import store
from services.rules.conversation.chain import Chain
from services.rules.conversation.fact_values import CountedMessage, CountedMessages
from services.rules.conversation.facts import Facts
from services.rules.conversation.required_facts import RequiredFacts
from shared.contracts.consonance.works import WorkObserved
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import MessageId
from shared.contracts.messages import MessageResolved, MessageUncertain, Resolution
from shared.contracts.topics import CONSONANCE_EVENTS
from shared.runtime.batch import ReceivedEvent
from shared.runtime.failures import LocksBusy
from shared.runtime.outbox import transaction
from shared.runtime.postgres import Connection
from tests.services.rules.rules_service import (
    NOW,
    STAFF,
    RulesUnderTest,
    button_tap,
    golden_event,
    message_accepted,
    party_ref,
    person_observed,
    person_of,
    rules_under_test,
    text_message,
    work_observed,
)

pytestmark = pytest.mark.integration
AUTHOR = person_of(801)
HOLDER = person_of(900)


@pytest.fixture
async def service(postgres_database: str) -> AsyncIterator[RulesUnderTest]:
    async with rules_under_test(postgres_database, NOW) as service:
        await service.receive(*map(person_observed, (*STAFF, 801)), proof_approved())
        yield service


def proof_approved() -> Event:
    """The work, in the stage that ``stage_changed`` says."""
    observed = work_observed((801, "author"))
    assert isinstance(observed.data, WorkObserved)
    return observed.replace(data=observed.data.replace(stage_key="final_proof_approved"))


def stage_changed(stage: str = "final_proof_approved") -> Event:
    """The author hears of it, where the work is still in that stage."""
    named = {"work_id": 61417, "title": "The Salt Road"}
    return golden_event("consonance.work.stage_changed.v1", to_stage_key=stage, work=named)


def blocked() -> Event:
    """Of another key, to some of the same people."""
    named = {"work_id": 61417, "title": "The Salt Road"}
    return golden_event("consonance.work.blocked.v1", work=named).replace(partitionkey="penrose/works/61419")


def batch(service: RulesUnderTest, said: EventData | Event) -> list[ReceivedEvent]:
    event = said if isinstance(said, Event) else service.event(said)
    return [ReceivedEvent(event, CONSONANCE_EVENTS, 0, 0, None)]


async def repeated(service: RulesUnderTest, received: list[ReceivedEvent]) -> None:
    """As the consumer does it."""
    while True:
        try:
            return await service.receive_batch(received)
        except LocksBusy:
            await asyncio.sleep(0)


async def begun(service: RulesUnderTest, received: list[ReceivedEvent], other: Awaitable[None]) -> None:
    """``other`` comes while ``received`` is judged and not committed yet."""
    async with transaction(service.pool, service.clock, "rules", locks=service.rules.locks(received)) as tx:
        await service.rules.handle(tx, received)
        task = asyncio.ensure_future(other)
        done, _ = await asyncio.wait([task], timeout=0.5)
        assert not done, "it takes its turn"
    await task


async def written_to_author(service: RulesUnderTest) -> list[MessageId]:
    """A notice of a chain that has ended, and an answer that belongs to no chain."""
    await service.receive(stage_changed())
    await service.receive(text_message(801, "START", NOW))
    return [MessageId(m["message_id"]) for m in await service.messages() if m["person_id"] == AUTHOR]


async def unsent_to(service: RulesUnderTest) -> set[str]:
    """Asked for, and not taken back."""
    asked = {m["message_id"] for m in await service.messages() if m.get("say") not in {None, "stopped"}}
    return {m["message_id"] for m in await service.messages() if m["person_id"] == AUTHOR} & asked - {
        *await service.withdrawn()
    }


async def test_a_work_event_waits_for_the_stop_before_it(service: RulesUnderTest) -> None:
    stop = batch(service, text_message(801, "STOP", NOW))
    await begun(service, stop, repeated(service, batch(service, stage_changed())))
    assert await unsent_to(service) == set()


async def test_an_opt_out_waits_for_the_earlier_work_event_and_withdraws_its_messages(service: RulesUnderTest) -> None:
    """The chain has ended already: it only had to tell."""
    change = batch(service, stage_changed())
    await begun(service, change, repeated(service, batch(service, text_message(801, "STOP", NOW))))
    assert (AUTHOR, "stage_changed") in await service.requested()
    assert await unsent_to(service) == set()


async def test_a_decision_is_not_earlier_than_the_one_it_waited_for(service: RulesUnderTest) -> None:
    """An answer that waits for the withdrawal of its request is decided after it, which is why it changes nothing."""
    work = golden_event("consonance.work.observed.v1", work={"work_id": 61418, "title": "A Grammar of Tides"})
    await service.receive(*map(person_observed, (812, 900)), work)
    await service.receive(golden_event("consonance.rights.approval_requested.v1"))
    question = await service.last_to(HOLDER)
    await service.receive(message_accepted(question.message_id, HOLDER, NOW))
    withdrawal = batch(service, golden_event("consonance.rights.request_withdrawn.v1"))
    answer = batch(service, button_tap(question, "approve", NOW))
    async with transaction(service.pool, service.clock, "rules", locks=service.rules.locks(withdrawal)) as tx:
        await service.rules.handle(tx, withdrawal)
        task = asyncio.ensure_future(service.receive_batch(answer))
        done, _ = await asyncio.wait([task], timeout=0.5)
        assert not done, "it waits for the chain"
        service.clock.at += timedelta(seconds=1)
    await task
    decided = [event["data"]["decided_at"] for event in await service.published("decisions")]
    assert decided[-1] == "2027-03-03T10:00:01Z", "the answer, which came too late"


async def test_an_opt_out_withdraws_what_may_still_go_of_chains_that_have_ended(service: RulesUnderTest) -> None:
    """A send without an answer is repeated where nothing proves it, and one that WhatsApp reports as failed as well."""
    notice, reply = await written_to_author(service)
    await service.receive(
        MessageUncertain(message_id=notice, person_id=AUTHOR, at=NOW, reason="no_answer"),
        MessageUncertain(message_id=reply, person_id=AUTHOR, at=NOW, reason="no_answer"),
        text_message(801, "STOP", NOW),
    )
    assert {*await service.withdrawn()} == {notice, reply}


async def test_messages_sent_again_after_an_opt_out_are_withdrawn(service: RulesUnderTest) -> None:
    sent = await written_to_author(service)
    await service.receive(*(message_accepted(message, AUTHOR, NOW) for message in sent))
    await service.receive(text_message(801, "STOP", NOW))
    assert await service.withdrawn() == []
    await service.receive(
        *(
            MessageResolved(
                message_id=message, person_id=AUTHOR, at=NOW, resolution=Resolution.RESENT, evidence="status"
            )
            for message in sent
        )
    )
    assert {*await service.withdrawn()} == {*sent}


async def test_an_address_that_goes_is_waited_for_too(service: RulesUnderTest) -> None:
    gone = batch(service, person_observed(801, version=2, phone=None))
    await begun(service, gone, repeated(service, batch(service, stage_changed())))
    assert AUTHOR not in {person for person, _ in await service.requested()}


async def test_a_timer_waits_for_the_stop_before_it(service: RulesUnderTest) -> None:
    asked = golden_event("consonance.metadata.confirmation_requested.v1", confirmers=[plain(801)], quorum="first")
    await service.receive(asked)
    question = await service.last_to(AUTHOR)
    await service.receive(message_accepted(question.message_id, AUTHOR, NOW))
    service.clock.at += timedelta(days=1)
    await service.catch_up(service.clock.at)
    stop = batch(service, text_message(801, "STOP", service.clock.at))
    await begun(service, stop, turn(service))
    assert (AUTHOR, "metadata_reminder") not in await service.requested()


async def turn(service: RulesUnderTest) -> None:
    await service.loops._run_due_once()


def plain(contact: int) -> dict[str, object]:
    known = party_ref(contact, "author")
    return {
        "person_id": known.person_id, "contact_id": contact, "kind": "person", "display_name": known.display_name,
        "role": "author",
    }  # fmt: skip


async def test_two_work_events_about_the_same_people_do_not_wait_for_each_other(service: RulesUnderTest) -> None:
    """The first is about the author but writes nothing to them: the stage has passed."""
    first, second = batch(service, stage_changed("copyedit_assigned")), batch(service, blocked())
    async with transaction(service.pool, service.clock, "rules", locks=service.rules.locks(first)) as tx:
        await service.rules.handle(tx, first)
        async with asyncio.timeout(20):
            await service.receive_batch(second)
    assert len(await service.chains()) >= 2


async def test_an_opt_out_withdraws_notices_that_belong_to_no_chain(service: RulesUnderTest) -> None:
    await service.receive(text_message(801, "why?", NOW), text_message(801, "START", NOW))
    said = [m["message_id"] for m in await service.messages()]
    assert len(said) == 2
    await service.receive(message_accepted(said[0], AUTHOR, NOW))
    await service.receive(text_message(801, "STOP", NOW))
    assert await service.withdrawn() == said[1:]
    assert all(isinstance(chain, Chain) for chain in await service.chains())


async def test_of_two_transactions_that_count_a_message_to_one_person_one_decides_again(
    service: RulesUnderTest,
) -> None:
    """Without this, each of them would send the last message that a cap leaves room for."""

    async def load(connection: Connection) -> Facts:
        return await store.load(connection, service.rules.tenant, RequiredFacts(people={AUTHOR}))

    async def count(connection: Connection, facts: Facts, message: str) -> None:
        known = facts.counted.get(AUTHOR, CountedMessages())
        new = CountedMessage(message_id=MessageId(message), at=NOW)
        facts.set_counted(AUTHOR, known.replace(messages=(*known.messages, new)))
        await store.save(connection, facts, NOW)

    async with service.pool.acquire() as one, service.pool.acquire() as other:
        first, second = await load(one), await load(other)
        await count(one, first, "first")
        with pytest.raises(LocksBusy):
            await count(other, second, "second")
        await count(other, await load(other), "second")
        assert [each.message_id for each in (await load(one)).counted[AUTHOR].messages] == ["first", "second"]
