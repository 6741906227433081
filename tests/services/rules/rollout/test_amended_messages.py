"""A revision that names a fallback reaches the messages that wait, whatever their chain is doing."""

from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copytree

import orjson
import pytest

from shared.contracts.envelope import parse_event
from shared.contracts.messages import REQUEST_KINDS, AmendMessage
from tests.services.rules.rulebooks import BOOK
from tests.services.rules.rules_service import (
    NOW,
    RulesUnderTest,
    golden_event,
    message_accepted,
    person_observed,
    person_of,
    rules_under_test,
)

pytestmark = pytest.mark.integration
AGENT = 900  # who stands in for the rights holder
RIGHTS_WORK = {"work_id": 61418, "title": "A Grammar of Tides"}
REQUESTED = "consonance.rights.approval_requested.v1"
CHANGED = "consonance.rights.request_changed.v1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copytree(BOOK, tmp_path / "rules")


@pytest.fixture
async def service(postgres_database: str, folder: Path) -> AsyncIterator[RulesUnderTest]:
    async with rules_under_test(postgres_database, NOW, folder) as service:
        await service.receive(*map(person_observed, (812, AGENT, 40, 41)))
        await service.receive(golden_event("consonance.work.observed.v1", work=RIGHTS_WORK))
        await service.receive(golden_event(REQUESTED, respond_by="2027-04-30"))
        yield service


async def name_a_fallback(service: RulesUnderTest, folder: Path, template: str) -> None:
    """A later revision with a fallback of the same words, put into force and applied to what runs."""
    file = folder / "rights" / f"{template}.template.yaml"
    words = file.read_text()
    (file.parent / f"{template}_plain.template.yaml").write_text(words.replace(template, f"{template}_plain", 1))
    file.write_text(words.replace("category:", f"fallback: {template}_plain\ncategory:", 1))
    await service.watcher.follow_source()
    await service.watcher.follow_source()
    while await service.loops._review_once():
        pass


async def amended(service: RulesUnderTest) -> list[tuple[str, str, str]]:
    """(person, partition key, fallback) of each amendment, as the dispatcher would read it."""
    events = [parse_event(orjson.dumps(one), REQUEST_KINDS) for one in await service.published("messages.requested")]
    return [
        (event.data.person_id, event.partitionkey, event.data.fallback.name if event.data.fallback else "")
        for event in events
        if isinstance(event.data, AmendMessage)
    ]


async def test_a_question_that_waits_is_amended_once(service: RulesUnderTest, folder: Path) -> None:
    assert await service.requested() == [(person_of(AGENT), "permission_request")]
    await name_a_fallback(service, folder, "permission_request")
    key = f"penrose/persons/{person_of(AGENT)}"
    assert await amended(service) == [(person_of(AGENT), key, "permission_request_plain_v1")]
    await name_a_fallback(service, folder, "permission_given")
    assert len(await amended(service)) == 1


async def test_a_question_that_was_sent_is_not_amended(service: RulesUnderTest, folder: Path) -> None:
    (question,) = (await service.chains())[0].messages
    await service.receive(message_accepted(question.message_id, question.person_id, NOW))
    await name_a_fallback(service, folder, "permission_request")
    assert await amended(service) == []


async def test_a_notice_of_a_chain_that_is_over_is_amended_and_its_question_is_not(
    service: RulesUnderTest, folder: Path
) -> None:
    (question,) = (await service.chains())[0].messages
    await service.receive(message_accepted(question.message_id, question.person_id, NOW))
    await service.receive(golden_event(CHANGED, new_terms_hash="other"))
    (chain,) = await service.chains()
    assert not chain.live
    assert [message.say for message in chain.messages][1:] == ["permission_void"]
    await name_a_fallback(service, folder, "permission_void")
    assert [fallback for _, _, fallback in await amended(service)] == ["permission_void_plain_v1"]


async def test_messages_of_an_ended_chain_are_amended_when_their_person_moves(
    service: RulesUnderTest,
) -> None:
    (question,) = (await service.chains())[0].messages
    await service.receive(message_accepted(question.message_id, question.person_id, NOW))
    await service.receive(golden_event(CHANGED, new_terms_hash="other"))
    await service.receive(person_observed(AGENT, version=2, zone="America/Los_Angeles"))
    assert await amended(service) == [(person_of(AGENT), f"penrose/persons/{person_of(AGENT)}", "")]


async def test_each_amendment_has_a_higher_number_than_those_decided_before(service: RulesUnderTest) -> None:
    moves = [person_observed(AGENT, version=2, zone="America/Los_Angeles"), person_observed(AGENT, version=3)]
    await service.receive(*moves)
    await service.receive(person_observed(AGENT, version=4, zone="Asia/Tokyo"))
    numbers = [
        one["data"].get("number", 0)
        for one in await service.published("messages.requested")
        if one["type"] == AmendMessage.kind
    ]
    assert len(numbers) == 3
    assert 0 < numbers[0] < numbers[1] < numbers[2]
