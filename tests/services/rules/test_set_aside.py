"""A chain that fails at its due step is set aside until an operator retries it; the others go on."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from ops import chains
from ops.status import QUERIES as STATUS
from services.rules.conversation.chain import Chain
from services.rules.conversation.decider import Decider
from services.rules.store import QUERIES
from shared.contracts.envelope import Event
from shared.contracts.errors import Unprocessable
from shared.contracts.ids import EventId, partition_key
from tests.services.rules.rules_service import (
    NOW,
    STAFF,
    TENANT,
    RulesUnderTest,
    golden_event,
    person_observed,
    person_of,
    rules_under_test,
    text_message,
    work_observed,
)

pytestmark = pytest.mark.integration
COUNT = 5
LATER = timedelta(days=7)


@pytest.fixture
async def service(postgres_database: str) -> AsyncIterator[RulesUnderTest]:
    """So many titles are blocked, and their escalation is due some time later."""
    async with rules_under_test(postgres_database, NOW) as service:
        await service.receive(*map(person_observed, STAFF), work_observed((801, "author")))
        await service.receive(*(blocked(number) for number in range(COUNT)))
        assert len(await service.chains()) == COUNT
        yield service


def blocked(number: int) -> Event:
    event = golden_event(
        "consonance.work.blocked.v1", block_id=f"BL-{number}", work={"work_id": 61417, "title": "The Salt Road"}
    )
    return event.replace(id=EventId(f"blocked {number}"), partitionkey=partition_key(TENANT, "works", 61417))


async def escalated(service: RulesUnderTest) -> int:
    """How many chains have told people beyond the owner."""
    return sum(any(m.step > 0 for m in chain.messages) for chain in await service.chains() if chain.messages)


def fails_for(monkeypatch: pytest.MonkeyPatch, *subjects: str) -> None:
    due = Decider.decide_due

    def failing(self: object, chain: Chain, *rest: object) -> object:
        if chain.subject in subjects:
            raise RuntimeError("a fault of ours")
        return due(self, chain, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Decider, "decide_due", failing)


async def test_a_chain_that_fails_is_set_aside_and_the_others_go_on(
    service: RulesUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        fails_for(patched, "block_id=BL-3")
        await service.pass_time(LATER)
        assert await escalated(service) == COUNT - 1
        (row,) = await service.pool.fetch("select reason, sentence from chains_set_aside")
        assert row["reason"] == "unexpected"
        assert row["sentence"].startswith("RuntimeError at ")
    assert await service.pool.fetchval("select count(*) from chains where next_due <= $1", service.clock.at) == 0
    (freed,) = await chains.retry(service.pool, [])
    await service.poll_once()
    assert freed in {chain.chain_id for chain in await service.chains()}
    assert await escalated(service) == COUNT
    assert await chains.retry(service.pool, []) == []


async def test_chains_are_counted_and_listed_and_each_is_retried_by_itself(
    service: RulesUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        fails_for(patched, "block_id=BL-1", "block_id=BL-3")
        await service.pass_time(LATER)

    async def set_aside() -> list[str]:
        listed = [row["chain_id"] for row in await chains.list_set_aside(service.pool)]
        assert await service.pool.fetchval(QUERIES.count_set_aside) == len(listed)
        return listed

    first, second = await set_aside()
    assert await chains.retry(service.pool, [first]) == [first]
    await service.poll_once()
    assert await escalated(service) == COUNT - 1
    assert await set_aside() == [second]
    await service.pool.execute("update chains set next_due = $1 where chain_id = $2", NOW, second)  # as an event does
    assert await set_aside() == []


async def test_a_chain_that_was_set_aside_after_its_end_is_listed_and_one_that_ends_then_is_not(
    service: RulesUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        fails_for(patched, "block_id=BL-1", "block_id=BL-3")
        await service.pass_time(LATER)
    assert len(await chains.list_set_aside(service.pool)) == 2
    await service.receive(
        golden_event("consonance.work.unblocked.v1", block_id="BL-1", work={"work_id": 61417, "title": "The Salt Road"})
    )
    (left,) = await chains.list_set_aside(service.pool)
    assert left["subject"] == "block_id=BL-3"
    await service.pool.execute("update chains set active = false, live = false where subject = 'block_id=BL-3'")
    assert [row["chain_id"] for row in await chains.list_set_aside(service.pool)] == [left["chain_id"]]
    assert await service.pool.fetchval(QUERIES.count_set_aside) == 1
    assert await service.pool.fetchval(STATUS.set_aside_chains, TENANT) == 1
    assert await chains.retry(service.pool, []) == [left["chain_id"]]
    assert await service.pool.fetchval("select next_due from chains where subject = 'block_id=BL-1'") is None


async def unreadable(service: RulesUnderTest, subject: str) -> str:
    query = "update chains set document = document - 'steps' where subject = $1 returning chain_id"
    return str(await service.pool.fetchval(query, subject))


async def test_an_unreadable_chain_is_set_aside_and_the_others_go_on(service: RulesUnderTest) -> None:
    chain = await unreadable(service, "block_id=BL-3")
    await service.pass_time(LATER)
    assert [row["chain_id"] for row in await service.pool.fetch("select chain_id from chains_set_aside")] == [chain]
    assert await service.pool.fetchval("select count(*) from chains where next_due <= $1", service.clock.at) == 0


async def test_messages_of_people_of_an_unreadable_chain_are_decided(service: RulesUnderTest) -> None:
    await unreadable(service, "block_id=BL-3")
    await service.receive(text_message(22, "STOP", NOW))
    assert (person_of(22), "stopped") in await service.requested()


async def test_an_event_about_an_unreadable_chain_is_not_decided(service: RulesUnderTest) -> None:
    await unreadable(service, "block_id=BL-3")
    unblocked = golden_event(
        "consonance.work.unblocked.v1", block_id="BL-3", work={"work_id": 61417, "title": "The Salt Road"}
    )
    with pytest.raises(Unprocessable, match="cannot be read"):
        await service.receive(unblocked)
