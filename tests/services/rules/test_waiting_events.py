"""Events that cannot be decided yet, and the queues behind them: no queue stops or waits forever."""

from collections.abc import AsyncIterator
from datetime import timedelta

import orjson
import pytest

from services.rules.waiting_events import LONGEST_WAIT, TOPICS
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.golden import golden
from shared.contracts.ids import EventId, Line, Wamid, partition_key
from shared.contracts.topics import MESSAGES_EVENTS
from shared.contracts.whatsapp import Media, MediaRefusal, MediaRefused, MessageKind, MessageReceived
from tests.services.rules.rules_service import (
    NOW,
    STAFF,
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
STRANGER = 877
WORK = partition_key(TENANT, "works", 61417)


@pytest.fixture
async def service(postgres_database: str) -> AsyncIterator[RulesUnderTest]:
    async with rules_under_test(postgres_database, NOW) as service:
        await service.receive(*map(person_observed, STAFF))
        yield service


def quoting(text: str, quoted: str) -> MessageReceived:
    return text_message(STRANGER, text, NOW, quoted_id=Wamid(quoted))


async def names_somebody_unknown(service: RulesUnderTest) -> None:
    """An event of the work waits for a person of whom rules has not heard yet."""
    blocked = golden_event("consonance.work.blocked.v1", work=WORK_REF, owner=UNKNOWN).replace(partitionkey=WORK)
    await service.receive(work_observed((STRANGER, "author")), blocked)
    assert await service.waiting() == 1


WORK_REF = orjson.loads(golden("consonance.work.observed.v1"))["data"]["work"]
UNKNOWN = {
    "person_id": person_of(STRANGER), "contact_id": STRANGER, "kind": "person", "display_name": "X", "role": "owner",
}  # fmt: skip


async def test_every_kind_that_can_stand_in_a_queue_leaves_it_again(service: RulesUnderTest) -> None:
    """Also those that an earlier version queued and this one would not."""
    await names_somebody_unknown(service)
    for kind in sorted(kind for topic in TOPICS for kind in topic.kinds):
        event = golden_event(kind).replace(partitionkey=WORK, id=EventId(f"queued {kind}"))
        await queue(service, event.to_bytes())
    await service.pass_time(LONGEST_WAIT)
    assert await service.waiting() == 0
    assert await service.parked() == []


async def queue(service: RulesUnderTest, value: bytes) -> None:
    """As an earlier version may have left it."""
    await service.pool.execute(
        "insert into waiting (tenant, key, event_id, value, people, since, until) "
        "values ($1, $2, 'old', $3, '{}', $4, $4)",
        TENANT, WORK, value, NOW,
    )  # fmt: skip


async def test_a_report_on_a_file_waits_for_no_person_and_is_known_when_its_message_comes(
    service: RulesUnderTest,
) -> None:
    """Neither the file's message nor its sender is known yet; what comes later of the same key is not held up."""
    person = person_of(STRANGER)
    await service.receive(MediaRefused(file_id="f1", person_id=person, reason=MediaRefusal.INFECTED, at=NOW))
    await service.receive(
        person_observed(STRANGER, contact_id=None),
        text_message(
            STRANGER,
            "",
            NOW,
            line=Line("acquisitions"),
            message_kind=MessageKind.MEDIA,
            media=Media(media_id="m1", filename="novel.pdf", file_id="f1"),
        ),
    )
    assert await service.waiting() == 0
    bodies = [message["body"] for message in await service.messages()]
    assert sum("Our virus scanner stopped that file" in body for body in bodies) == 1
    (chain,) = await service.chains()
    assert chain.form is not None
    assert chain.form.attachments == ()


async def test_a_file_from_a_shared_address_is_taken_out_of_the_form_that_has_it(service: RulesUnderTest) -> None:
    """The report names its writer, as the number is known; the form is that of another person there."""
    line, other = Line("acquisitions"), STRANGER + 1
    await service.receive(
        person_observed(STRANGER, contact_id=None),
        person_observed(other, contact_id=None),
        text_message(STRANGER, "I wrote a novel", NOW, line=line),
    )
    media = Media(media_id="m1", mime="application/pdf", filename="novel.pdf", file_id="f1")
    await service.receive(
        text_message(
            other, "", NOW, line=line, message_kind=MessageKind.MEDIA, media=media, shared_with=(person_of(STRANGER),)
        )
    )
    (chain,) = await service.chains()
    assert chain.form is not None
    assert [one.file_id for one in chain.form.attachments] == ["f1"]
    await service.receive(MediaRefused(file_id="f1", person_id=person_of(other), reason=MediaRefusal.INFECTED, at=NOW))
    (chain,) = await service.chains()
    assert chain.form is not None
    assert chain.form.attachments == ()
    assert "Our virus scanner stopped that file" in (await service.messages())[-1]["body"]


async def test_an_event_does_not_wait_for_as_long_as_a_clock_was_set_back(service: RulesUnderTest) -> None:
    """It waits for minutes at most."""
    await names_somebody_unknown(service)
    for ahead, waiting in ((timedelta(minutes=30), 1), (timedelta(days=1), 0)):
        await service.pool.execute("update waiting set until = $1", NOW + ahead)
        await service.poll_once()
        assert await service.waiting() == waiting


async def test_delivery_reports_never_queue(service: RulesUnderTest) -> None:
    key = partition_key(TENANT, "persons", person_of(STRANGER))
    await service.receive(person_observed(STRANGER), quoting("Which one?", "wamid.unknown"))
    await service.receive(*(golden_event(kind).replace(partitionkey=key) for kind in MESSAGES_EVENTS.kinds))
    assert await service.waiting() == 1, "only the one that quotes"


async def test_a_quote_is_judged_as_soon_as_the_receipt_of_the_message_is_there(service: RulesUnderTest) -> None:
    await service.receive(
        person_observed(812), person_observed(900), golden_event("consonance.work.observed.v1", work=RIGHTS_WORK)
    )
    await service.receive(golden_event("consonance.rights.approval_requested.v1"))
    asked = await service.last_to(person_of(900))
    await service.receive(text_message(900, "What is this?", NOW, quoted_id=Wamid("wamid.asked")))
    assert await service.waiting() == 1
    await service.receive(message_accepted(asked.message_id, asked.person_id, NOW, "wamid.asked"))
    await service.poll_once()
    assert await service.waiting() == 0
    assert (person_of(900), "handed_over") in await service.requested(), "its words went with the question"


RIGHTS_WORK = orjson.loads(golden("consonance.rights.approval_requested.v1"))["data"]["work"]


async def test_an_opt_out_is_applied_at_once_whatever_waits_before_it(service: RulesUnderTest) -> None:
    await service.receive(
        person_observed(STRANGER), quoting("Hello?", "wamid.unknown"), quoting("STOP", "wamid.unknown.too")
    )
    await service.poll_once()
    assert await service.waiting() == 0
    assert (person_of(STRANGER), "stopped") in await service.requested()


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
async def test_an_unreadable_row_is_parked_and_the_queue_goes_on(
    service: RulesUnderTest, value: bytes, topic: str, reason: str
) -> None:
    await names_somebody_unknown(service)
    await queue(service, value)
    await service.receive(golden_event("consonance.work.unblocked.v1", work=WORK_REF))
    await service.pass_time(LONGEST_WAIT)
    assert await service.waiting() == 0
    assert await service.parked() == [(topic, reason)]


async def test_an_event_that_cannot_be_judged_is_parked_and_its_replay_is_new(
    service: RulesUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await names_somebody_unknown(service)
    good, bad = golden_event("consonance.milestone.completed.v1"), golden_event("writes.write.verified.v1")
    await service.receive(*(one.replace(partitionkey=WORK) for one in (good, bad)))
    assert await service.waiting() == 3
    await service.pool.execute(
        "insert into inbox (tenant, source, id, seen_at, brief) values ($1, $2, $3, $4, false)",
        bad.tenantid, bad.source, bad.id, NOW,
    )  # fmt: skip
    fails_for(service, monkeypatch, bad.id)
    await service.pass_time(LONGEST_WAIT)
    assert await service.parked() == [("writes.events", "unexpected")]
    assert await service.waiting() == 0
    assert not await service.pool.fetchval("select exists (select from inbox where id = $1)", bad.id)
    assert await service.requested(), "what stood before it was judged"


def fails_for(service: RulesUnderTest, monkeypatch: pytest.MonkeyPatch, event_id: str) -> None:
    judge = type(service.rules)._decide

    async def failing(self: object, tx: object, event: object, *rest: object) -> None:
        if getattr(event, "id", "") == event_id:
            raise RuntimeError("a fault of ours")
        await judge(self, tx, event, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(type(service.rules), "_decide", failing)


async def test_an_event_that_cannot_be_parked_does_not_delay_other_keys(
    service: RulesUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await names_somebody_unknown(service)
    await service.receive(person_observed(878), text_message(878, "What?", NOW, quoted_id=Wamid("wamid.nowhere")))
    blocked = await service.pool.fetchval("select event_id from waiting where key = $1", WORK)
    fails_for(service, monkeypatch, blocked)
    await service.pool.execute("alter table parked add constraint no_room check (false) not valid")
    await service.pass_time(timedelta(minutes=5))
    assert await service.waiting() == 1, "the other key was judged"


VISITOR = person_observed(STRANGER, contact_id=None)
AUTHOR = 806


@pytest.mark.parametrize(
    "before",
    [
        VISITOR.replace(erased=True, addresses=Addresses(), version=2),
        VISITOR.replace(merged_into=person_of(AUTHOR), addresses=Addresses(), version=2),
    ],
    ids=["erased", "merged"],
)
async def test_a_message_waits_for_the_state_by_which_its_writer_was_found(
    service: RulesUnderTest, before: PersonObserved
) -> None:
    """A visitor who begins anew after an erasure, and one who was taken for a contact, whose number is mended."""
    await service.receive(person_observed(AUTHOR), VISITOR, before)
    await service.receive(text_message(STRANGER, "Do you take novels?", NOW, person_version=3))
    assert await service.waiting() == 1
    await service.pass_time(timedelta(seconds=1))
    assert await service.waiting() == 1
    await service.receive(VISITOR.replace(version=3))
    await service.pass_time(timedelta(seconds=1))
    assert await service.waiting() == 0
    assert (person_of(STRANGER), "passed_on") in await service.requested()
    assert person_of(AUTHOR) not in [person for person, _ in await service.requested()]


async def test_a_message_whose_writer_s_state_never_comes_is_decided_after_a_while(service: RulesUnderTest) -> None:
    await service.receive(VISITOR, text_message(STRANGER, "Do you take novels?", NOW, person_version=3))
    assert await service.waiting() == 1
    await service.pass_time(LONGEST_WAIT)
    assert await service.waiting() == 0
    assert (person_of(STRANGER), "passed_on") in await service.requested()


async def test_an_opt_out_waits_for_no_state(service: RulesUnderTest) -> None:
    await service.receive(VISITOR, text_message(STRANGER, "STOP", NOW, person_version=3))
    await service.pass_time(timedelta(seconds=1))
    assert await service.waiting() == 0
    assert (person_of(STRANGER), "stopped") in await service.requested()
