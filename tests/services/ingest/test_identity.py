"""Whose a message is, settled in a real database."""

import asyncio
from typing import Any

import pytest

from services.ingest.identity import Identity
from services.ingest.normalise import normalise
from services.ingest.people import People
from services.ingest.records import Record
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import parse_event
from shared.contracts.whatsapp import IdentityChanged, MessageReceived
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import Pool
from tests.services.ingest.outbox import empty, left
from tests.services.ingest.payloads import FRAME, messages, text, webhook

pytestmark = pytest.mark.integration


async def settle(pool: Pool, *items: Any, contacts: list[Any] | None = None) -> list[Record]:
    identity = Identity(pool, SystemClock(), People(FRAME.tenant))
    return await identity.settle(normalise(webhook(messages(*items, contacts=contacts)), FRAME).personal, FRAME)


def persons(records: list[Record]) -> list[str]:
    found: list[str] = []
    for record in records:
        data = parse_event(record.value, record.topic.kinds).data
        assert isinstance(data, MessageReceived | IdentityChanged)
        found.append(data.person_id)
        assert record.key.decode() == f"pelican/persons/{data.person_id}"
    return found


async def states(pool: Pool) -> list[PersonObserved]:
    return [event.data for event in await left(pool) if isinstance(event.data, PersonObserved)]


async def test_a_stranger_is_told_once_and_known_afterwards(pool: Pool) -> None:
    first = persons(await settle(pool, text("w1"), text("w2")))
    again = persons(await settle(pool, text("w3")))
    assert len({*first, *again}) == 1
    (state,) = await states(pool)
    assert (state.person_id, state.version, state.addresses.phone) == (first[0], 1, "+447700900123")


async def test_a_bsuid_seen_beside_a_number_is_the_same_person_and_told(pool: Pool) -> None:
    (before,) = persons(await settle(pool, text()))
    (joined,) = persons(await settle(pool, text("w2", from_user_id="GB.1")))
    (alone,) = persons(await settle(pool, {**text("w3"), "from": "", "from_user_id": "GB.1"}))
    assert before == joined == alone
    assert [state.version for state in await states(pool)] == [1, 2]


async def test_a_changed_number_moves_the_person(pool: Pool) -> None:
    (before,) = persons(await settle(pool, text()))
    note = {"type": "user_changed_number", "wa_id": "12195555358"}
    (moved,) = persons(await settle(pool, text("w2", type="system", system=note)))
    (after,) = persons(await settle(pool, text("w3", sender="12195555358")))
    assert before == moved == after


async def test_many_at_once_meet_one_person(pool: Pool) -> None:
    settled = await asyncio.gather(*(settle(pool, text(f"w{n}", from_user_id="GB.1")) for n in range(8)))
    assert len({person for records in settled for person in persons(records)}) == 1
    assert [state.version for state in await states(pool)] == [1]


async def test_a_redelivered_body_teaches_nothing_again(pool: Pool) -> None:
    await settle(pool, text(from_user_id="GB.1"))
    await empty(pool)
    await settle(pool, text(from_user_id="GB.1"))
    assert await left(pool) == []
