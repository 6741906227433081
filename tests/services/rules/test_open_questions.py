"""How many questions wait for an answer, since when, and how long an answer took: in the table, and in the metrics."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from services.rules.conversation.chain import Chain
from services.rules.metrics import _ANSWER_DURATION, OpenQuestions
from shared.contracts.ids import EventId
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
)

pytestmark = pytest.mark.integration
HOLDER = person_of(900)  # who stands in for the rights holder
WORK = {"work_id": 61418, "title": "A Grammar of Tides"}
MIGRATION = Path("services/rules/migrations/0006_open_questions.sql").read_text("utf-8")


@pytest.fixture
async def service(postgres_database: str) -> AsyncIterator[RulesUnderTest]:
    """A permission was asked for an hour ago."""
    async with rules_under_test(postgres_database, NOW) as service:
        await service.receive(
            *map(person_observed, (*STAFF, 812, 900)), golden_event("consonance.work.observed.v1", work=WORK)
        )
        await service.receive(golden_event("consonance.rights.approval_requested.v1"))
        asked = await service.last_to(HOLDER)
        await service.receive(message_accepted(asked.message_id, HOLDER, NOW))
        service.clock.at = NOW + timedelta(hours=1)
        yield service


async def open_questions(service: RulesUnderTest) -> list[OpenQuestions]:
    return list((await service.loops._backlog(service.clock.at)).questions)


async def columns(service: RulesUnderTest) -> list[tuple[int, datetime | None]]:
    rows = await service.pool.fetch("select open_questions, asked_since from chains order by chain_id")
    return [(row["open_questions"], row["asked_since"]) for row in rows]


async def rule_of_the_question(service: RulesUnderTest) -> Chain:
    return next(chain for chain in await service.chains() if HOLDER in chain.asked_since())


async def test_an_open_question_counts_from_when_it_was_first_asked(service: RulesUnderTest) -> None:
    chain = await rule_of_the_question(service)
    assert await open_questions(service) == [OpenQuestions(chain.rule, 1, NOW)]
    await service.pass_time(timedelta(days=3))
    assert len([m for m in (await rule_of_the_question(service)).messages if m.person_id == HOLDER]) > 1, "a reminder"
    assert (await open_questions(service))[0] == OpenQuestions(chain.rule, 1, NOW)


async def test_of_several_open_questions_the_oldest_says_since_when(service: RulesUnderTest) -> None:
    chain = await rule_of_the_question(service)
    another = golden_event("consonance.rights.approval_requested.v1", request_id="R-another")
    await service.receive(another.replace(id=EventId("another")))
    assert await open_questions(service) == [OpenQuestions(chain.rule, 2, NOW)]


async def test_a_final_answer_ends_the_wait_and_its_duration_is_counted_by_rule(service: RulesUnderTest) -> None:
    chain = await rule_of_the_question(service)
    duration = _ANSWER_DURATION.labels(chain.rule)
    before = duration._sum.get()
    await service.receive(button_tap(await service.last_to(HOLDER), "approve", service.clock.at))
    assert await open_questions(service) == []
    assert duration._sum.get() - before == timedelta(hours=1).total_seconds()


async def test_the_migration_reads_off_the_documents_what_a_change_of_the_chain_writes(service: RulesUnderTest) -> None:
    backfill = MIGRATION.partition("asked_since timestamptz;")[2].partition("create index")[0]
    for answer in ("", "approve"):
        if answer:
            await service.receive(button_tap(await service.last_to(HOLDER), answer, service.clock.at))
        written = await columns(service)
        await service.pool.execute("update chains set open_questions = 0, asked_since = null")
        await service.pool.execute(backfill)
        assert await columns(service) == written
        assert any(count for count, _ in written) == (not answer)
