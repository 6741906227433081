"""A step runs only once every event from before it was due has been applied."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.rules.conversation.chain import Chain, DeliveryState
from shared.contracts.envelope import EventData
from shared.contracts.ids import Wamid
from tests.services.rules.delayed_dispatcher import DelayedStory, sent_templates
from tests.services.rules.rules_service import (
    NOW,
    STAFF,
    RulesUnderTest,
    button_tap,
    golden_event,
    message_accepted,
    person_observed,
    person_of,
    rules_under_test,
    text_message,
)

DUE = datetime(2027, 3, 5, 10, tzinfo=UTC)  # two working days later
HOLDER = person_of(900)  # who stands in for the rights holder
REMINDER = (HOLDER, "rights_reminder")


@pytest.fixture
async def service(postgres_database: str) -> AsyncIterator[RulesUnderTest]:
    """A permission is asked for, and the question was sent."""
    async with rules_under_test(postgres_database, NOW) as service:
        await service.receive(
            *map(person_observed, (*STAFF, 812, 900)), golden_event("consonance.work.observed.v1", work=RIGHTS_WORK)
        )
        await service.receive(golden_event("consonance.rights.approval_requested.v1"))
        asked = await service.last_to(HOLDER)
        await service.receive(message_accepted(asked.message_id, HOLDER, NOW))
        yield service


RIGHTS_WORK = {"work_id": 61418, "title": "A Grammar of Tides"}


async def news_of_the_question(service: RulesUnderTest) -> EventData:
    asked = await service.last_to(HOLDER)
    read = golden_event("messages.message.read.v1", message_id=asked.message_id, person_id=HOLDER, wamid=asked.wamid)
    return read.data


@pytest.mark.integration
async def test_a_delivery_runs_no_step_that_an_unread_answer_may_forbid(service: RulesUnderTest) -> None:
    await service.catch_up(DUE - timedelta(seconds=1))
    service.clock.at = DUE + timedelta(minutes=1)
    await service.receive(await news_of_the_question(service))
    assert REMINDER not in await service.requested()
    await service.receive(button_tap(await service.last_to(HOLDER), "approve", DUE - timedelta(seconds=1)))
    await service.catch_up(service.clock.at)
    await service.poll_once()
    assert REMINDER not in await service.requested()


@pytest.mark.integration
async def test_it_runs_once_all_is_read(service: RulesUnderTest) -> None:
    service.clock.at = DUE
    await service.catch_up(DUE)
    await service.receive(await news_of_the_question(service))
    assert REMINDER in await service.requested()


@pytest.mark.integration
async def test_a_partition_nothing_is_known_of_is_not_read_up_to(service: RulesUnderTest) -> None:
    service.clock.at = DUE
    await service.catch_up(DUE)
    await service.pool.execute("delete from progress where topic = 'whatsapp.messages'")
    await service.poll_once()
    assert REMINDER not in await service.requested()


@pytest.mark.integration
async def test_an_answer_in_the_queue_comes_before_the_reminder(service: RulesUnderTest) -> None:
    asked = await service.last_to(HOLDER)
    service.clock.at = DUE - timedelta(seconds=10)
    await service.receive(text_message(900, "And this?", service.clock.at, quoted_id=Wamid("wamid.unknown")))
    await service.receive(button_tap(asked, "approve", service.clock.at))
    assert await service.waiting() == 2
    service.clock.at = DUE
    await service.catch_up(DUE)
    await service.loops._run_due_once()
    await service.receive(await news_of_the_question(service))
    assert REMINDER not in await service.requested()
    await service.pass_time(timedelta(minutes=2))
    assert await service.waiting() == 0
    assert REMINDER not in await service.requested()


# ------------------------------------------------------------------ everything that time alone brings about

HOLD = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
UNSURE = "reply: {from: 812, text: 'I am not sure'}"
ASKED = "{event: rights.approval_requested, with: {respond_by: 2027-03-19}}"


@pytest.mark.parametrize(
    ("moves", "wait", "brought"),
    [
        (["wait until: 2027-03-03T20:00:00Z", ASKED], "wait until: 2027-03-04T09:00:00Z", "rights_request"),  # held
        ([ASKED], "wait until: 2027-03-05T10:00:00Z", "rights_reminder"),  # after
        ([ASKED, UNSURE, "reply: {from: 40, button: take}"], "wait until: 2027-03-16T10:00:00Z", "taken"),  # idle
    ],
)
def test_only_one_place_lets_time_act(moves: list[str], wait: str, brought: str) -> None:
    story = DelayedStory(HOLD)
    for move in moves:
        story.play(move)
        story.simulation.report_all()
    known = story.simulation.now
    story.simulation.facts.read_to = lambda _: known
    until = datetime.fromisoformat(wait.removeprefix("wait until: "))
    before = len(story.simulation.effects)
    story.simulation.now = until
    for chain in list(story.simulation.facts.chains.values()):
        story.simulation._apply(story.simulation.decider.decide_due(chain, story.simulation.facts, until))
    assert brought not in sent_templates(story.simulation.effects[before:])
    story.simulation.facts.read_to = lambda _: until
    for chain in list(story.simulation.facts.chains.values()):
        story.simulation._apply(story.simulation.decider.decide_due(chain, story.simulation.facts, until))
    assert brought in sent_templates(story.simulation.effects[before:])


# ------------------------------------------------------------------ to the fixed point


def test_a_held_message_to_a_person_without_an_address_leaves_nothing_due() -> None:
    """There is no person left to wait for, so the next step follows at once: nothing stays due."""
    story = DelayedStory(HOLD)
    story.play("wait until: 2027-03-03T20:00:00Z", ASKED)
    holder = story.simulation.facts.people[story.person(812)]
    story.simulation.facts.set_person(holder.replace(reachable=False))
    story.play("wait until: 2027-03-04T09:00:00Z")  # raises for a chain that stays due
    assert [m.delivery for m in story.chain.messages if m.person_id == holder.person_id] == [DeliveryState.DROPPED]
    assert "rights_unanswered" in sent_templates(story.simulation.effects)
    assert due_after(story.chain, story.simulation.now)


def due_after(chain: Chain, now: datetime) -> bool:
    return chain.next_due is None or chain.next_due > now
