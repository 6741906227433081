"""A step runs only once all that was said before it was due has been read and judged, whatever event comes along."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.rules.conversation.chain import Chain, DeliveryState
from shared.contracts.envelope import EventData
from shared.contracts.ids import Wamid
from tests.services.rules.at_work import RulesAtWork, accepted, person_of, rules_at_work, somebody, tapped, told, wrote
from tests.services.rules.unsent import Play, sent

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
DUE = datetime(2027, 3, 5, 10, tzinfo=UTC)  # two working days later
STAFF = (11, 12, 21, 22, 31, 40, 41, 51, 52, 53, 61, 71)
HOLDER = person_of(900)  # who stands in for the rights holder
REMINDER = (HOLDER, "rights_reminder")


@pytest.fixture
async def house(postgres_database: str) -> AsyncIterator[RulesAtWork]:
    """A permission is asked for, and the question was sent."""
    async with rules_at_work(postgres_database, NOW) as house:
        await house.hear(*map(somebody, (*STAFF, 812, 900)), told("consonance.work.observed.v1", work=RIGHTS_WORK))
        await house.hear(told("consonance.rights.approval_requested.v1"))
        asked = await house.last_to(HOLDER)
        await house.hear(accepted(asked.message_id, HOLDER, NOW))
        yield house


RIGHTS_WORK = {"work_id": 61418, "title": "A Grammar of Tides"}


async def news_of_the_question(house: RulesAtWork) -> EventData:
    asked = await house.last_to(HOLDER)
    read = told("messages.message.read.v1", message_id=asked.message_id, person_id=HOLDER, wamid=asked.wamid)
    return read.data


@pytest.mark.integration
async def test_a_delivery_runs_no_step_that_an_unread_answer_may_forbid(house: RulesAtWork) -> None:
    await house.read_to(DUE - timedelta(seconds=1))
    house.clock.at = DUE + timedelta(minutes=1)
    await house.hear(await news_of_the_question(house))
    assert REMINDER not in await house.said()
    await house.hear(tapped(await house.last_to(HOLDER), "approve", DUE - timedelta(seconds=1)))
    await house.read_to(house.clock.at)
    await house.turn()
    assert REMINDER not in await house.said()


@pytest.mark.integration
async def test_it_runs_once_all_is_read(house: RulesAtWork) -> None:
    house.clock.at = DUE
    await house.read_to(DUE)
    await house.hear(await news_of_the_question(house))
    assert REMINDER in await house.said()


@pytest.mark.integration
async def test_a_partition_nothing_is_known_of_is_not_read_up_to(house: RulesAtWork) -> None:
    house.clock.at = DUE
    await house.read_to(DUE)
    await house.pool.execute("delete from progress where topic = 'whatsapp.messages'")
    await house.turn()
    assert REMINDER not in await house.said()


@pytest.mark.integration
async def test_an_answer_that_stands_in_a_queue_comes_before_the_reminder(house: RulesAtWork) -> None:
    asked = await house.last_to(HOLDER)
    house.clock.at = DUE - timedelta(seconds=10)
    await house.hear(wrote(900, "And this?", house.clock.at, quoted_id=Wamid("wamid.unknown")))
    await house.hear(tapped(asked, "approve", house.clock.at))
    assert await house.waiting() == 2
    house.clock.at = DUE
    await house.read_to(DUE)
    await house.loops._run_due_once()
    await house.hear(await news_of_the_question(house))
    assert REMINDER not in await house.said()
    await house.later(timedelta(minutes=2))
    assert await house.waiting() == 0
    assert REMINDER not in await house.said()


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
    play = Play(HOLD)
    for move in moves:
        play.move(move)
        play.stage.tell_all()
    known = play.stage.now
    play.stage.facts.read_to = lambda _: known
    until = datetime.fromisoformat(wait.removeprefix("wait until: "))
    before = len(play.stage.effects)
    play.stage.now = until
    for chain in list(play.stage.facts.chains.values()):
        play.stage._take(play.stage.decider.decide_due(chain, play.stage.facts, until))
    assert brought not in sent(play.stage.effects[before:])
    play.stage.facts.read_to = lambda _: until
    for chain in list(play.stage.facts.chains.values()):
        play.stage._take(play.stage.decider.decide_due(chain, play.stage.facts, until))
    assert brought in sent(play.stage.effects[before:])


# ------------------------------------------------------------------ to the fixed point


def test_what_was_held_for_somebody_who_has_no_address_any_more_leaves_nothing_due() -> None:
    """Nobody is left to be waited for, so the next step follows at once: nothing stays due."""
    play = Play(HOLD)
    play.move("wait until: 2027-03-03T20:00:00Z", ASKED)
    holder = play.stage.facts.people[play.person(812)]
    play.stage.facts.set_person(holder.replace(reachable=False))
    play.move("wait until: 2027-03-04T09:00:00Z")  # raises for a chain that stays due
    assert [m.delivery for m in play.chain.messages if m.person_id == holder.person_id] == [DeliveryState.DROPPED]
    assert "rights_unanswered" in sent(play.stage.effects)
    assert due_after(play.chain, play.stage.now)


def due_after(chain: Chain, now: datetime) -> bool:
    return chain.next_due is None or chain.next_due > now
