"""Two contacts who share a number, from WhatsApp's webhook to what rules makes of it: a button says who was asked."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import pytest

from services.ingest.identity_resolver import IdentityResolver
from services.ingest.records import WebhookContext
from services.ingest.store import PersonStore
from services.ingest.webhook_parser import parse_webhook
from services.rules.conversation import button_ids
from shared.contracts.envelope import parse_event
from shared.contracts.golden import golden
from shared.contracts.ids import Line
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import Pool, role_name
from tests.services.ingest.payloads import PSEUDONYMS, messages, webhook
from tests.services.rules.at_work import (
    KEYS,
    TENANT,
    RulesAtWork,
    accepted,
    person_of,
    rules_at_work,
    somebody,
    told,
    work,
    wrote,
)

pytestmark = pytest.mark.integration
NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
ASKED, HOUSEMATE, MANAGER, OTHER = 813, 801, 40, 816
SHARED, ELSEWHERE = "+447700900123", "+447700900999"
FRAME = WebhookContext(TENANT, NOW, {"106540352242922": Line("main")}, pseudonyms=PSEUDONYMS)
CONTACTS = (
    somebody(ASKED, phone=SHARED, roles=["rights_holder"]),
    somebody(HOUSEMATE, phone=SHARED, roles=["author"]),
    somebody(OTHER, phone=ELSEWHERE),
)


@dataclass
class Door:
    """Ingest's way of settling whose a message is, before rules hears it."""

    pool: Pool
    house: RulesAtWork

    async def receives(self, item: dict[str, Any]) -> MessageReceived:
        identity = IdentityResolver(self.pool, SystemClock(), PersonStore(TENANT))
        records = await identity.resolve(parse_webhook(webhook(messages(item)), FRAME).person_updates, FRAME)
        events = [parse_event(record.value, record.topic.kinds) for record in records]
        for row in await self.pool.fetch("delete from outbox returning topic, value"):
            await self.house.hear(parse_event(row["value"], {somebody(1).kind: type(somebody(1))}))
        await self.house.hear(*events)
        (event,) = events
        assert isinstance(event.data, MessageReceived)
        return event.data


@pytest.fixture
async def door(postgres_database: str) -> AsyncIterator[Door]:
    settings = {"search_path": "ingest", "role": role_name("ingest")}
    async with (
        asyncpg.create_pool(postgres_database, min_size=1, max_size=2, server_settings=settings) as pool,
        rules_at_work(postgres_database, NOW) as house,
    ):
        async with pool.acquire() as connection:
            await PersonStore(TENANT).save(connection, CONTACTS)
        await house.hear(somebody(MANAGER), somebody(41), *CONTACTS, work((ASKED, "rights_holder")))
        holder = {
            "person_id": person_of(ASKED),
            "contact_id": ASKED,
            "display_name": f"Person {ASKED}",
            "role": "rights_holder",
        }
        known = orjson.loads(golden("consonance.work.observed.v1"))["data"]["work"]
        await house.hear(told("consonance.rights.approval_requested.v1", rights_holder=holder, work=known))
        question = await house.last_to(person_of(ASKED))
        await house.hear(accepted(question.message_id, person_of(ASKED), NOW, "wamid.question"))
        yield Door(pool, house)


async def tap(door: Door, sender: str = SHARED, **more: Any) -> dict[str, Any]:
    question = await door.house.last_to(person_of(ASKED))
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


async def decisions(door: Door) -> list[tuple[str, int | None]]:
    writes = [one["data"]["input"] for one in await door.house.left("writes.requested")]
    return [(one["decision"], one.get("decided_by")) for one in writes if "decision" in one]


async def test_a_tap_from_the_shared_number_counts_for_whoever_was_asked(door: Door) -> None:
    message = await door.receives(await tap(door))
    assert message.person_id == person_of(HOUSEMATE), "the number is better known as the other one's"
    assert message.shared_with == (person_of(ASKED),)
    assert await decisions(door) == [("approved", ASKED)]
    assert (await door.house.said())[-1] == (person_of(ASKED), "noted")


async def test_a_tap_that_tells_only_its_bsuid_counts_too(door: Door) -> None:
    await door.receives(words("Hello", from_user_id="GB.1"))
    message = await door.receives({**await tap(door), "from": "", "from_user_id": "GB.1"})
    assert message.person_id == person_of(HOUSEMATE)
    assert await decisions(door) == [("approved", ASKED)]


@pytest.mark.parametrize("sender", [ELSEWHERE, "+447700900555"])
async def test_a_tap_from_another_address_does_not_count(door: Door, sender: str) -> None:
    await door.receives(await tap(door, sender))
    assert await decisions(door) == []


@pytest.mark.parametrize("more", [{}, {"context": {"id": "wamid.question"}}])
async def test_words_from_the_shared_number_are_asked_back(door: Door, more: dict[str, Any]) -> None:
    await door.receives(words("Yes, that is fine with me", **more))
    assert await decisions(door) == []
    assert (await door.house.said())[-1] == (person_of(HOUSEMATE), "shared_number")


async def test_a_number_of_one_person_is_shared_with_nobody(door: Door) -> None:
    message = await door.receives({**words("Hello"), "from": ELSEWHERE.lstrip("+")})
    assert message.shared_with == ()


async def test_words_of_whoever_was_asked_go_to_a_person_as_before(door: Door) -> None:
    await door.house.hear(wrote(ASKED, "Yes", NOW))
    assert (person_of(ASKED), "handed_over") in await door.house.said()
