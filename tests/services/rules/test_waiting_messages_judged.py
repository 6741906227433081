"""A message that waits in the dispatcher is found by the facts of its ``unless``, also where its chain has ended."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.contracts.consonance import WorkObserved
from shared.contracts.envelope import Event
from shared.contracts.messages import MessageWithdrawn
from shared.contracts.vocabulary import Stage
from tests.services.rules.rules_service import (
    RulesUnderTest,
    golden_event,
    message_accepted,
    person_observed,
    person_of,
    rules_under_test,
    work_observed,
)

pytestmark = pytest.mark.integration
NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
AUTHOR = person_of(801)
TITLE = {"work_id": 61417, "title": "The Salt Road"}


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
