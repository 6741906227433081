"""Which rows the queries of the store take: those of the newest attempt, and none that only look like them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.dispatcher.people_store import PeopleStore
from services.dispatcher.reasons import MAY_BE_PASSED, MessageReason
from services.dispatcher.store import MessageStore
from shared.contracts.ids import MessageId, PersonId
from shared.contracts.messages import AmendMessage, MessageForm, OpenSpan
from shared.runtime.postgres import Pool, role_name
from tests.services.dispatcher.dispatcher_under_test import TENANT

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
_MESSAGE = """
insert into messages (
    tenant, message_id, person_id, line, lane, state, content, button_ids, resend, requested_at, expires_at, not_before,
    changed_at, request_event, say, attempts
) values ($1, $2, 'p1', 'main', 1, $3, '{}', '{yes}', 'never', $5, $5, $5, $5, 'e', 's', $4)
"""
_ATTEMPT = """
insert into attempts (tenant, message_id, attempt, wording, begun_at, machine_at, lease_until)
values ($1, $2, $3, 'template', $4, $4, $4)
"""


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    settings = {"search_path": "dispatcher", "role": role_name("dispatcher")}
    async with asyncpg.create_pool(postgres_database, min_size=1, max_size=2, server_settings=settings) as pool:
        yield pool


async def add(pool: Pool, name: str, state: str, attempts: int) -> None:
    """A message with so many attempts, an hour apart, the last one now."""
    await pool.execute(_MESSAGE, TENANT, name, state, attempts, NOW)
    for number in range(1, attempts + 1):
        await pool.execute(_ATTEMPT, TENANT, name, number, NOW - (attempts - number) * HOUR)


def test_messages_of_other_chains_may_pass_whatever_a_template_is_waited_for() -> None:
    of_templates = {reason for reason in MessageReason if reason.startswith("template_")}

    assert of_templates == {reason for reason in MAY_BE_PASSED if reason.startswith("template_")}


@pytest.mark.integration
async def test_the_answer_to_an_earlier_attempt_does_not_accept_the_newest(pool: Pool) -> None:
    """It would end the newest one with the id of another message at WhatsApp."""
    await add(pool, "m1", "intent", 2)
    store = MessageStore(TENANT)
    assert await store.accept_attempts(pool, [("m1", 1, "wamid.1")], NOW) == {}
    assert await pool.fetchval("select state from messages") == "intent"
    assert await store.accept_attempts(pool, [("m1", 2, "wamid.2")], NOW) == {"m1": "p1"}
    assert await pool.fetchval("select wamid from messages") == "wamid.2"


@pytest.mark.integration
async def test_a_refusal_closes_no_window_that_was_opened_after_its_attempt(pool: Pool) -> None:
    await add(pool, "m1", "intent", 1)
    people, opened = PeopleStore(TENANT), "select count(*) from windows"
    for at, left in ((NOW + HOUR, 1), (NOW, 0)):
        await pool.execute("delete from windows")
        await pool.execute(
            "insert into windows (tenant, line, person_id, opened_at) values ($1, 'main', 'p1', $2)", TENANT, at
        )
        await people.close_windows(pool, [("m1", 1)])
        assert await pool.fetchval(opened) == left


@pytest.mark.integration
async def test_a_tap_proves_the_newest_message_with_its_button_that_may_have_gone(pool: Pool) -> None:
    """One that was never begun cannot have been tapped: as proved, it would never be sent."""
    for name, state, attempts in (("m1", "uncertain", 1), ("m2", "uncertain", 1), ("m3", "waiting", 0)):
        await add(pool, name, state, attempts)
    store = MessageStore(TENANT)
    taps = [("p1", "yes", None), ("p1", "no", None), ("p2", "yes", None)]
    assert await store.unproven_with_buttons(pool, taps) == {0: "m2"}
    await pool.execute("update messages set state = 'accepted' where message_id <> 'm3'")
    assert await store.unproven_with_buttons(pool, taps) == {}


@pytest.mark.integration
async def test_an_amendment_changes_what_may_still_go_or_go_again(pool: Pool) -> None:
    """A send without an answer may go again, and then in the hours and with the consent of now."""
    states = ("waiting", "intent", "uncertain", "accepted")
    for state in states:
        await add(pool, state, state, 1)
    await pool.execute("""update messages set template_name = 't', content = '{"template": {"name": "t"}}'""")
    hours = (OpenSpan(opens=NOW, closes=NOW + HOUR),)
    given: dict[str, Any] = {"person_id": PersonId("p1"), "open_hours": hours, "marketing_consent": True}
    amendments = [AmendMessage(message_id=MessageId(state), **given) for state in states]
    async with pool.acquire() as connection, connection.transaction():
        await MessageStore(TENANT).amend(connection, amendments, NOW)
    amended = (
        "select message_id from messages where open_hours = array[$1::timestamptz, $2]"
        " and content::jsonb -> 'template' ->> 'marketing_consent' = 'true' order by sequence"
    )
    assert [row["message_id"] for row in await pool.fetch(amended, NOW, NOW + HOUR)] == list(states[:3])


@pytest.mark.integration
async def test_each_message_begins_its_own_next_attempt_and_one_that_waits_no_more_begins_none(pool: Pool) -> None:
    """Of another tenant there may be a message of the same id."""
    await add(pool, "m1", "waiting", 0)
    await add(pool, "m2", "waiting", 2)
    await add(pool, "m3", "withdrawn", 1)
    await pool.execute(_MESSAGE, "another", "m1", "waiting", 5, NOW)
    await pool.execute("update messages set reason = 'refused_for_now', hold_until = $1, wamid = 'w', rank = 1", NOW)
    lease, template = NOW + HOUR, ("rights_request_v3", "en")
    sends = {
        "m1": (MessageForm.FREE_TEXT, None),
        "m2": (MessageForm.TEMPLATE, template),
        "m3": (MessageForm.TEMPLATE, template),
    }
    begun = await MessageStore(TENANT).begin_attempts(pool, sends, NOW, NOW - HOUR, lease)
    assert begun == {"m1": 1, "m2": 3}
    rows = await pool.fetch(
        "select tenant, message_id, state, attempts, wording, used_template, used_language, lease_until, reason,"
        " hold_until, wamid, rank from messages order by tenant, message_id"
    )
    left = ("refused_for_now", NOW, "w", 1)
    assert [tuple(row) for row in rows] == [
        ("another", "m1", "waiting", 5, None, None, None, None, *left),
        (TENANT, "m1", "intent", 1, "free_text", None, None, lease, None, None, None, 0),
        (TENANT, "m2", "intent", 3, "template", *template, lease, None, None, None, 0),
        (TENANT, "m3", "withdrawn", 1, None, None, None, None, *left),
    ]
    attempts = (
        "select message_id, attempt, wording, begun_at, machine_at, lease_until from attempts where lease_until = $1"
    )
    assert {tuple(row) for row in await pool.fetch(attempts, lease)} == {
        ("m1", 1, "free_text", NOW, NOW - HOUR, lease),
        ("m2", 3, "template", NOW, NOW - HOUR, lease),
    }
