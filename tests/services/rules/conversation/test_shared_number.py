"""Two contacts who share a number, from webhook to decision: the button says who was asked."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
import pytest

from services.ingest.identity_resolver import IdentityResolver
from services.ingest.records import WebhookContext
from services.ingest.store import PersonStore
from services.ingest.webhook_parser import parse_webhook
from services.rules.conversation import button_ids
from shared.contracts.contacts import Addresses
from shared.contracts.envelope import parse_event
from shared.contracts.golden import golden
from shared.contracts.ids import Line, Phone
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import Pool, role_name
from tests.services.ingest.payloads import PSEUDONYMS, messages, webhook
from tests.services.rules.rules_service import (
    KEYS,
    NOW,
    TENANT,
    RulesUnderTest,
    golden_event,
    message_accepted,
    person_observed,
    person_of,
    rules_under_test,
    text_message,
    work_observed,
)

pytestmark = pytest.mark.integration
ASKED, HOUSEMATE, MANAGER, OTHER = 813, 801, 40, 816
SHARED, ELSEWHERE = "+447700900123", "+447700900999"
FRAME = WebhookContext(TENANT, NOW, {"106540352242922": Line("main")}, pseudonyms=PSEUDONYMS)
CONTACTS = (
    person_observed(ASKED, phone=SHARED, roles=["rights_holder"]),
    person_observed(HOUSEMATE, phone=SHARED, roles=["author"]),
    person_observed(OTHER, phone=ELSEWHERE),
)


@dataclass
class IngestAndRules:
    """Ingest's way of settling whose a message is, before rules hears it."""

    pool: Pool
    service: RulesUnderTest

    async def receives(self, item: dict[str, Any]) -> MessageReceived:
        identity = IdentityResolver(self.pool, SystemClock(), PersonStore(TENANT))
        records = await identity.resolve(parse_webhook(webhook(messages(item)), FRAME).person_updates, FRAME)
        events = [parse_event(record.value, record.topic.kinds) for record in records]
        for row in await self.pool.fetch("delete from outbox returning topic, value"):
            await self.service.receive(parse_event(row["value"], {person_observed(1).kind: type(person_observed(1))}))
        await self.service.receive(*events)
        (event,) = events
        assert isinstance(event.data, MessageReceived)
        return event.data


@pytest.fixture
async def services(postgres_database: str) -> AsyncIterator[IngestAndRules]:
    settings = {"search_path": "ingest", "role": role_name("ingest")}
    async with (
        asyncpg.create_pool(postgres_database, min_size=1, max_size=2, server_settings=settings) as pool,
        rules_under_test(postgres_database, NOW) as service,
    ):
        async with pool.acquire() as connection:
            await PersonStore(TENANT).save(connection, CONTACTS)
        await service.receive(
            person_observed(MANAGER), person_observed(41), *CONTACTS, work_observed((ASKED, "rights_holder"))
        )
        holder = {
            "person_id": person_of(ASKED),
            "contact_id": ASKED,
            "display_name": f"Person {ASKED}",
            "role": "rights_holder",
        }
        known = orjson.loads(golden("consonance.work.observed.v1"))["data"]["work"]
        await service.receive(golden_event("consonance.rights.approval_requested.v1", rights_holder=holder, work=known))
        question = await service.last_to(person_of(ASKED))
        await service.receive(message_accepted(question.message_id, person_of(ASKED), NOW, "wamid.question"))
        yield IngestAndRules(pool, service)


async def tap(services: IngestAndRules, sender: str = SHARED, **more: Any) -> dict[str, Any]:
    question = await services.service.last_to(person_of(ASKED))
    button = {"payload": button_ids.sign_button_id(KEYS, question.message_id, "approve"), "text": "Approve"}
    return {
        "id": "wamid.tap",
        "from": sender.lstrip("+"),
        "timestamp": "1803981600",
        "type": "button",
        "button": button,
        **more,
    }


def words(text: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"wamid.{text}",
        "from": SHARED.lstrip("+"),
        "timestamp": "1803981600",
        "type": "text",
        "text": {"body": text},
        **more,
    }


async def decisions(services: IngestAndRules) -> list[tuple[str, int | None]]:
    writes = [one["data"]["input"] for one in await services.service.published("writes.requested")]
    return [(one["decision"], one.get("decided_by")) for one in writes if "decision" in one]


async def test_a_tap_from_the_shared_number_counts_for_the_person_who_was_asked(services: IngestAndRules) -> None:
    message = await services.receives(await tap(services))
    assert message.person_id == person_of(HOUSEMATE), "the number is better known as the other one's"
    assert message.shared_with == (person_of(ASKED),)
    assert await decisions(services) == [("approved", ASKED)]
    assert (await services.service.requested())[-1] == (person_of(ASKED), "noted")


async def test_a_tap_with_only_a_bsuid_counts_too(services: IngestAndRules) -> None:
    await services.receives(words("Hello", from_user_id="GB.1"))
    message = await services.receives({**await tap(services), "from": "", "from_user_id": "GB.1"})
    assert message.person_id == person_of(HOUSEMATE)
    assert await decisions(services) == [("approved", ASKED)]


async def test_a_tap_from_the_address_the_question_went_to_counts_after_the_number_has_changed(
    services: IngestAndRules,
) -> None:
    moved = CONTACTS[0].replace(addresses=Addresses(phone=Phone("+447700900777")), version=2)
    async with services.pool.acquire() as connection:
        await PersonStore(TENANT).save(connection, [moved])
    await services.service.receive(moved)
    message = await services.receives(await tap(services))
    assert message.shared_with == ()
    assert await decisions(services) == [("approved", ASKED)]


@pytest.mark.parametrize("sender", [ELSEWHERE, "+447700900555"])
async def test_a_tap_from_another_address_does_not_count(services: IngestAndRules, sender: str) -> None:
    await services.receives(await tap(services, sender))
    assert await decisions(services) == []


@pytest.mark.parametrize("more", [{}, {"context": {"id": "wamid.question"}}])
async def test_a_text_from_the_shared_number_gets_a_clarifying_question(
    services: IngestAndRules, more: dict[str, Any]
) -> None:
    await services.receives(words("Yes, that is fine with me", **more))
    assert await decisions(services) == []
    assert (await services.service.requested())[-1] == (person_of(HOUSEMATE), "shared_number")


async def test_a_number_of_one_person_is_not_shared(services: IngestAndRules) -> None:
    message = await services.receives({**words("Hello"), "from": ELSEWHERE.lstrip("+")})
    assert message.shared_with == ()


async def test_a_text_of_the_person_who_was_asked_is_handed_over(services: IngestAndRules) -> None:
    await services.service.receive(text_message(ASKED, "Yes", NOW))
    assert (person_of(ASKED), "handed_over") in await services.service.requested()
