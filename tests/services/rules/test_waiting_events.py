"""Events that cannot be judged yet, and what queues behind them: no queue stops, or holds anything back for good."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from services.rules.waiting_events import PATIENCE, TOPICS
from shared.contracts.golden import golden
from shared.contracts.ids import EventId, Wamid, partition_key
from shared.contracts.topics import MESSAGES_EVENTS
from shared.contracts.whatsapp import MessageReceived
from tests.services.rules.at_work import (
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
STAFF = (11, 12, 21, 22, 31, 40, 41, 51, 52, 53, 61, 71)
STRANGER = 877
WORK = partition_key(TENANT, "works", 61417)


@pytest.fixture
async def house(postgres_database: str) -> AsyncIterator[RulesAtWork]:
    async with rules_at_work(postgres_database, NOW) as house:
        await house.hear(*map(somebody, STAFF))
        yield house


def quoting(text: str, quoted: str) -> MessageReceived:
    return wrote(STRANGER, text, NOW, quoted_id=Wamid(quoted))


async def names_somebody_unknown(house: RulesAtWork) -> None:
    """An event of the work waits for a person of whom rules has not heard yet."""
    blocked = told("consonance.work.blocked.v1", work=WORK_REF, owner=UNKNOWN).replace(partitionkey=WORK)
    await house.hear(work((STRANGER, "author")), blocked)
    assert await house.waiting() == 1


WORK_REF = orjson.loads(golden("consonance.work.observed.v1"))["data"]["work"]
UNKNOWN = {
    "person_id": person_of(STRANGER), "contact_id": STRANGER, "kind": "person", "display_name": "X", "role": "owner",
}  # fmt: skip


async def test_every_kind_that_can_stand_in_a_queue_leaves_it_again(house: RulesAtWork) -> None:
    """Also those that an earlier version queued and this one would not."""
    await names_somebody_unknown(house)
    for kind in sorted(kind for topic in TOPICS for kind in topic.kinds):
        event = told(kind).replace(partitionkey=WORK, id=EventId(f"queued {kind}"))
        await queue(house, event.to_bytes())
    await house.later(PATIENCE)
    assert await house.waiting() == 0
    assert await house.parked() == []


async def queue(house: RulesAtWork, value: bytes) -> None:
    """As an earlier version may have left it."""
    await house.pool.execute(
        "insert into waiting (tenant, key, event_id, value, people, since, until) "
        "values ($1, $2, 'old', $3, '{}', $4, $4)",
        TENANT, WORK, value, NOW,
    )  # fmt: skip


async def test_what_became_of_our_messages_never_queues(house: RulesAtWork) -> None:
    key = partition_key(TENANT, "persons", person_of(STRANGER))
    await house.hear(somebody(STRANGER), quoting("Which one?", "wamid.unknown"))
    await house.hear(*(told(kind).replace(partitionkey=key) for kind in MESSAGES_EVENTS.kinds))
    assert await house.waiting() == 1, "only the one that quotes"


async def test_a_quote_is_judged_as_soon_as_the_receipt_of_the_message_is_there(house: RulesAtWork) -> None:
    await house.hear(somebody(812), somebody(900), told("consonance.work.observed.v1", work=RIGHTS_WORK))
    await house.hear(told("consonance.rights.approval_requested.v1"))
    asked = await house.last_to(person_of(900))
    await house.hear(wrote(900, "What is this?", NOW, quoted_id=Wamid("wamid.asked")))
    assert await house.waiting() == 1
    await house.hear(accepted(asked.message_id, asked.person_id, NOW, "wamid.asked"))
    await house.turn()
    assert await house.waiting() == 0
    assert (person_of(900), "handed_over") in await house.said(), "its words went with the question"


RIGHTS_WORK = orjson.loads(golden("consonance.rights.approval_requested.v1"))["data"]["work"]


async def test_a_stop_is_heard_at_once_whatever_waits_before_it(house: RulesAtWork) -> None:
    await house.hear(somebody(STRANGER), quoting("Hello?", "wamid.unknown"), quoting("STOP", "wamid.unknown.too"))
    await house.turn()
    assert await house.waiting() == 0
    assert (person_of(STRANGER), "stopped") in await house.said()


@pytest.mark.parametrize(
    ("value", "topic", "reason"),
    [
        (b"\xff no JSON", "waiting", "malformed"),
        (b"[1, 2]", "waiting", "malformed"),
        (
            golden("messages.message.accepted.v1").replace(b"accepted.v1", b"accepted.v7"),
            "messages.events",
            "newer_kind",
        ),
        (golden("writes.write.verified.v1").replace(b'"write_id"', b'"no_id"'), "writes.events", "malformed"),
    ],
)
async def test_a_row_nobody_can_read_is_parked_and_the_queue_goes_on(
    house: RulesAtWork, value: bytes, topic: str, reason: str
) -> None:
    await names_somebody_unknown(house)
    await queue(house, value)
    await house.hear(told("consonance.work.unblocked.v1", work=WORK_REF))
    await house.later(PATIENCE)
    assert await house.waiting() == 0
    assert await house.parked() == [(topic, reason)]


async def test_an_event_that_cannot_be_judged_is_parked_and_its_replay_is_new(
    house: RulesAtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    await names_somebody_unknown(house)
    good, bad = told("consonance.milestone.completed.v1"), told("writes.write.verified.v1")
    await house.hear(*(one.replace(partitionkey=WORK) for one in (good, bad)))
    assert await house.waiting() == 3
    await house.pool.execute(
        "insert into inbox (tenant, source, id, seen_at, brief) values ($1, $2, $3, $4, false)",
        bad.tenantid, bad.source, bad.id, NOW,
    )  # fmt: skip
    fails_for(house, monkeypatch, bad.id)
    await house.later(PATIENCE)
    assert await house.parked() == [("writes.events", "unexpected")]
    assert await house.waiting() == 0
    assert not await house.pool.fetchval("select exists (select from inbox where id = $1)", bad.id)
    assert await house.said(), "what stood before it was judged"


def fails_for(house: RulesAtWork, monkeypatch: pytest.MonkeyPatch, event_id: str) -> None:
    judge = type(house.rules)._decide

    def failing(self: object, tx: object, event: object, *rest: object) -> None:
        if getattr(event, "id", "") == event_id:
            raise RuntimeError("a fault of ours")
        judge(self, tx, event, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(type(house.rules), "_decide", failing)


async def test_what_cannot_even_be_parked_keeps_no_other_key_waiting(
    house: RulesAtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    await names_somebody_unknown(house)
    await house.hear(somebody(878), wrote(878, "What?", NOW, quoted_id=Wamid("wamid.nowhere")))
    blocked = await house.pool.fetchval("select event_id from waiting where key = $1", WORK)
    fails_for(house, monkeypatch, blocked)
    await house.pool.execute("alter table parked add constraint no_room check (false) not valid")
    await house.later(timedelta(minutes=5))
    assert await house.waiting() == 1, "the other key was judged"
