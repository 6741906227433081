"""A message that waits in the dispatcher is found by the facts of its ``unless``, also where its chain has ended."""

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.consonance import WorkObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import ProductId, WorkId
from shared.contracts.messages import MessageWithdrawn
from shared.contracts.vocabulary import ProductRef, Stage, WorkRef
from tests.cases.case_folders import ROOT
from tests.services.rules.rules_service import (
    NOW,
    RulesUnderTest,
    golden_event,
    message_accepted,
    person_observed,
    person_of,
    rules_under_test,
    work_observed,
)

pytestmark = pytest.mark.integration
AUTHOR = person_of(801)
TITLE = {"work_id": 61417, "title": "The Salt Road"}


NIGHT = datetime(2027, 3, 3, 23, tzinfo=UTC)


@pytest.fixture
async def service(postgres_database: str) -> AsyncIterator[RulesUnderTest]:
    async with rules_under_test(postgres_database, NOW) as service:
        changed = golden_event("consonance.work.stage_changed.v1", to_stage_key="final_proof_approved", work=TITLE)
        await service.receive(person_observed(801), observed(Stage.FINAL_PROOF_APPROVED), changed)
        yield service


def observed(stage: Stage, **changes: Any) -> Event:
    event = work_observed((801, "author"))
    assert isinstance(event.data, WorkObserved)
    return event.replace(data=event.data.replace(stage_key=stage, **changes))


def title(number: int) -> WorkRef:
    return WorkRef(work_id=WorkId(number), title=f"Tides {number}")


async def test_a_notice_is_withdrawn_when_its_title_moves_on(service: RulesUnderTest) -> None:
    notice = await service.last_to(AUTHOR)
    (chain,) = await service.chains()
    assert not chain.live
    await service.receive(observed(Stage.PUBLISHED))
    assert await service.withdrawn() == [notice.message_id]
    await service.receive(
        MessageWithdrawn(message_id=notice.message_id, person_id=AUTHOR, at=NOW, reason="unless"),
        observed(Stage.PUBLISHED, cancelled=True),
    )
    assert await service.withdrawn() == [notice.message_id]


async def test_only_what_has_not_gone_is_read_again(service: RulesUnderTest) -> None:
    columns = "select depends_on from chains"
    assert await service.pool.fetchval(columns) == ["work.work_id=61417"]
    notice = await service.last_to(AUTHOR)
    await service.receive(message_accepted(notice.message_id, AUTHOR, NOW))
    assert await service.pool.fetchval(columns) == []
    await service.receive(observed(Stage.PUBLISHED))
    assert await service.withdrawn() == []


async def test_the_digest_that_is_sent_finds_the_messages_that_remain(postgres_database: str, tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "rules", tmp_path / "rules")
    limits = folder / "limits.yaml"
    limits.write_text(limits.read_text() + "digest: info\n")
    async with rules_under_test(postgres_database, NIGHT, folder) as service:
        await service.receive(person_observed(801))
        for number in (1, 2, 3):
            at_proofs = observed(Stage.FINAL_PROOF_APPROVED, work=title(number))
            changed = golden_event("consonance.work.stage_changed.v1", to_stage_key="final_proof_approved")
            await service.receive(at_proofs, changed.replace(data=changed.data.replace(work=title(number))))
        await service.pass_time(timedelta(hours=10))
        for left in (3, 2):
            digest = (await service.messages())[-1]
            assert (digest["say"], digest["body"].count("Tides")) == ("digest", left)
            await service.receive(observed(Stage.PUBLISHED, work=title(left)))
            assert (await service.withdrawn())[-1] == digest["message_id"]
            await service.receive(
                MessageWithdrawn(
                    message_id=digest["message_id"], person_id=AUTHOR, at=service.clock.at, reason="unless"
                )
            )
        last = (await service.messages())[-1]
        assert (last["say"], last["body"].count("Tides 1")) == ("stage_changed", 1)


async def test_a_notice_is_withdrawn_at_the_midnight_that_makes_its_unless_true(
    postgres_database: str, tmp_path: Path
) -> None:
    """Its chain has ended, and no event comes: publication is six working days away, and then four."""
    folder = shutil.copytree(ROOT / "rules", tmp_path / "rules")
    rule = next(folder.glob("*/stage-change.rule.yaml"))
    moved_on = "unless: {work.stage_key: {is_not: {field: to_stage_key}}}"
    assert moved_on in rule.read_text()
    rule.write_text(rule.read_text().replace(moved_on, "unless: {days_to.pub_date: {less_than: 5}}"))
    async with rules_under_test(postgres_database, NOW, folder) as service:
        product = ProductRef(product_id=ProductId(1), work_id=WorkId(61417), pub_date=date(2027, 3, 11))
        changed = golden_event("consonance.work.stage_changed.v1", to_stage_key="final_proof_approved", work=TITLE)
        at_proofs = observed(Stage.FINAL_PROOF_APPROVED, products=(product,))
        await service.receive(person_observed(801), at_proofs, changed)
        notice = await service.last_to(AUTHOR)
        due = await service.pool.fetchrow("select live, next_due from chains")
        assert tuple(due) == (False, datetime(2027, 3, 5, tzinfo=UTC))
        await service.pass_time(timedelta(hours=24))
        assert await service.withdrawn() == []
        await service.pass_time(timedelta(hours=15))
        assert await service.withdrawn() == [notice.message_id]
        assert await service.pool.fetchval("select count(*) from chains where next_due is not null") == 0


# ------------------------------------------------------------------ held messages, by the hours of now


async def test_a_message_held_for_a_person_who_moves_leaves_in_the_morning_there(postgres_database: str) -> None:
    """It is eight o'clock in the morning there, and eleven in the evening where they lived before."""
    async with rules_under_test(postgres_database, NIGHT) as service:
        changed = golden_event("consonance.work.stage_changed.v1", to_stage_key="final_proof_approved", work=TITLE)
        await service.receive(person_observed(801), observed(Stage.FINAL_PROOF_APPROVED), changed)
        await service.receive(person_observed(801, version=2, zone="Asia/Tokyo"))
        await service.pass_time(timedelta(minutes=59))
        assert await service.requested() == []
        await service.pass_time(timedelta(minutes=1))
        assert await service.requested() == [(AUTHOR, "stage_changed")]


async def test_held_messages_follow_the_calendar_of_a_later_revision(postgres_database: str, tmp_path: Path) -> None:
    """A fair was called off: authors work on that day again. Their chain keeps its steps, and is reviewed for this."""
    folder = shutil.copytree(ROOT / "rules", tmp_path / "rules")
    calendar = folder / "calendar.yaml"
    as_it_is = calendar.read_text()
    calendar.write_text(as_it_is + "  - {from: 2027-03-03, to: 2027-03-05, name: another, roles: [author]}\n")
    async with rules_under_test(postgres_database, NOW, folder) as service:
        changed = golden_event("consonance.work.stage_changed.v1", to_stage_key="final_proof_approved", work=TITLE)
        await service.receive(person_observed(801, roles=["author"]), observed(Stage.FINAL_PROOF_APPROVED), changed)
        assert await service.requested() == []
        calendar.write_text(as_it_is)
        await service.watcher.follow_source()
        await service.watcher.follow_source()
        while await service.loops._review_once():
            pass
        await service.pass_time(timedelta(0))
        assert await service.requested() == [(AUTHOR, "stage_changed")]
