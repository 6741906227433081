"""A change of metadata that is exactly a confirmed answer starts no rule, however late it comes."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.rules.conversation.chain import Chain
from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, WorkId
from shared.contracts.writes import WriteOperation, WriteVerified
from tests.cases.case_folders import ROOT
from tests.services.rules.rules_service import (
    NOW,
    RulesUnderTest,
    button_tap,
    golden_event,
    party_ref,
    person_observed,
    person_of,
    rules_under_test,
    work_observed,
)

pytestmark = pytest.mark.integration
AUTHOR, MANAGER = person_of(801), person_of(31)
BEFORE, CONFIRMED, OTHER = (
    "Walking the lost coast of the salters", "A walk along the lost coast of the salters", "On foot along the coast",
)  # fmt: skip
RULE = """\
rule: metadata-news
owner: metadata
why: {en: You look after the metadata of this title.}
on: metadata.changed
about: work.work_id
steps:
  - tell: metadata_manager
    say: metadata_news
"""
TEMPLATE = """\
template: metadata_news
category: utility
version: 1
fields: {title: work.title}
languages:
  en:
    body: The metadata of “{title}” was changed by others. There is nothing you need to do.
"""


@pytest.fixture
async def service(postgres_database: str, tmp_path: Path) -> AsyncIterator[RulesUnderTest]:
    folder = shutil.copytree(ROOT / "rules", tmp_path / "rules")
    (folder / "metadata" / "metadata-news.rule.yaml").write_text(RULE)
    (folder / "metadata" / "metadata_news.template.yaml").write_text(TEMPLATE)
    async with rules_under_test(postgres_database, NOW, folder) as service:
        await service.receive(*map(person_observed, (31, 801)), work_observed((801, "author")))
        yield service


async def test_the_write_of_an_ended_chain_starts_no_rule_and_a_change_back_does(service: RulesUnderTest) -> None:
    chain = await confirmed(service)
    assert chain.ended is not None
    assert not chain.live
    await service.receive(changed(BEFORE, CONFIRMED))
    assert await count_messages(service) == 0
    await service.receive(changed(CONFIRMED, OTHER))
    assert await count_messages(service) == 1
    await service.receive(changed(OTHER, CONFIRMED))
    assert await count_messages(service) == 2


async def test_a_change_that_no_answer_confirmed_starts_a_rule(service: RulesUnderTest) -> None:
    await service.receive(changed(BEFORE, CONFIRMED))
    assert await count_messages(service) == 1


async def confirmed(service: RulesUnderTest) -> Chain:
    """A chain whose answer was written and read back."""
    author = {**PLAIN, "person_id": AUTHOR, "display_name": party_ref(801, "author").display_name}
    asked = golden_event("consonance.metadata.confirmation_requested.v1", confirmers=[author], quorum="first")
    await service.receive(asked)
    await service.receive(button_tap(await service.last_to(AUTHOR), "confirm", NOW))
    (write,) = [event["data"] for event in await service.published("writes.requested")]
    await service.receive(
        WriteVerified(
            write_id=write["write_id"], operation=WriteOperation.APPLY_METADATA, record=write["record"],
            work_id=WorkId(61417), at=NOW, reference="M-41",
        )
    )  # fmt: skip
    (chain,) = await service.chains()
    return chain


PLAIN = {"contact_id": 801, "kind": "person", "role": "author"}


def changed(old: str, new: str) -> Event:
    event = golden_event(
        "consonance.metadata.changed.v1",
        changes=[{"field": "subtitle", "level": "work", "target_id": 61417, "old": old, "new": new}],
    )
    return event.replace(id=EventId(f"changed-{old}-{new}"))


async def count_messages(service: RulesUnderTest) -> int:
    return sum(say == "metadata_news" for _, say in await service.requested())
