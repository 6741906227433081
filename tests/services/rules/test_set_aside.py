"""A chain that cannot do what is due stands still with its reason until an operator lets it go on; the others go on."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from ops import chains
from services.rules.conversation.chain import Chain
from shared.contracts.envelope import Event
from shared.contracts.errors import Unprocessable
from shared.contracts.ids import EventId, partition_key
from tests.services.rules.at_work import (
    TENANT,
    RulesAtWork,
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
COUNT = 5
LATER = timedelta(days=7)


@pytest.fixture
async def house(postgres_database: str) -> AsyncIterator[RulesAtWork]:
    """So many titles are blocked, and their escalation is due some time later."""
    async with rules_at_work(postgres_database, NOW) as house:
        await house.hear(*map(somebody, STAFF), work((801, "author")))
        await house.hear(*(blocked(number) for number in range(COUNT)))
        assert len(await house.chains()) == COUNT
        yield house


def blocked(number: int) -> Event:
    event = told(
        "consonance.work.blocked.v1", block_id=f"BL-{number}", work={"work_id": 61417, "title": "The Salt Road"}
    )
    return event.replace(id=EventId(f"blocked {number}"), partitionkey=partition_key(TENANT, "works", 61417))


async def escalated(house: RulesAtWork) -> int:
    """How many chains have told somebody beyond the owner."""
    return sum(any(m.step > 0 for m in chain.messages) for chain in await house.chains() if chain.messages)


def fails_for(house: RulesAtWork, monkeypatch: pytest.MonkeyPatch, subject: str) -> None:
    due = type(house.rules.decider).decide_due

    def failing(self: object, chain: Chain, *rest: object) -> object:
        if chain.subject == subject:
            raise RuntimeError("a fault of ours")
        return due(self, chain, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(type(house.rules.decider), "decide_due", failing)


async def test_one_that_fails_stands_still_and_the_others_go_on(
    house: RulesAtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        fails_for(house, patched, "block_id=BL-3")
        await house.later(LATER)
        assert await escalated(house) == COUNT - 1
        (row,) = await house.pool.fetch("select reason, sentence from chains_set_aside")
        assert row["reason"] == "unexpected"
        assert row["sentence"].startswith("RuntimeError at ")
    assert await house.pool.fetchval("select count(*) from chains where next_due <= $1", house.clock.at) == 0
    (freed,) = await chains.retry(house.pool, [])
    await house.turn()
    assert freed in {chain.chain_id for chain in await house.chains()}
    assert await escalated(house) == COUNT
    assert await chains.retry(house.pool, []) == []


async def unreadable(house: RulesAtWork, subject: str) -> str:
    query = "update chains set document = document - 'steps' where subject = $1 returning chain_id"
    return str(await house.pool.fetchval(query, subject))


async def test_one_that_cannot_be_read_back_stands_still_and_the_others_go_on(house: RulesAtWork) -> None:
    chain = await unreadable(house, "block_id=BL-3")
    await house.later(LATER)
    assert [row["chain_id"] for row in await house.pool.fetch("select chain_id from chains_set_aside")] == [chain]
    assert await house.pool.fetchval("select count(*) from chains where next_due <= $1", house.clock.at) == 0


async def test_whoever_it_wrote_to_is_heard_all_the_same(house: RulesAtWork) -> None:
    await unreadable(house, "block_id=BL-3")
    await house.hear(wrote(22, "STOP", NOW))
    assert (person_of(22), "stopped") in await house.said()


async def test_what_concerns_it_is_not_judged_without_it(house: RulesAtWork) -> None:
    await unreadable(house, "block_id=BL-3")
    unblocked = told("consonance.work.unblocked.v1", block_id="BL-3", work={"work_id": 61417, "title": "The Salt Road"})
    with pytest.raises(Unprocessable, match="cannot be read"):
        await house.hear(unblocked)
