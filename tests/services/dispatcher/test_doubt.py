"""Sends nobody can prove: settled by a status, by silence, or by a person; never repeated on a guess."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.dispatcher import uncertain
from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.messages import Resend, WithdrawMessage
from shared.contracts.topics import PARTITIONS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES
from shared.contracts.whatsapp import Status, StatusReported, WebhookConfirmed, WebhookGapOpened
from shared.runtime.clock import machine_now
from tests.dev.whatsapp.stand import Hook, Stand
from tests.services.dispatcher.house import House, at_work, person, request, until

pytestmark = pytest.mark.integration
_SHORT = timedelta(seconds=1)
_HOUR = timedelta(hours=1)


@pytest.fixture
async def house(postgres_database: str, clock_file: Path, stand: Stand, hook: Hook) -> AsyncIterator[House]:
    async with at_work(
        postgres_database, clock_file, stand, hook, send_timeout_seconds=1, unproven_after_seconds=1
    ) as house:
        yield house


async def _lose_one(house: House, kind: str, **changes: Any) -> None:
    """Send m1 into the void: taken or not, its answer never comes."""
    await house.stand.tell("faults", {"kind": kind, "seconds": 30})
    await house.hear(person(), request(**changes))
    await house.until_state("uncertain")


async def _watched(house: House, since: timedelta = _HOUR) -> None:
    """The stream was whole since then and a little longer than until now, and all of it has been read."""
    now = machine_now()
    await house.hear(WebhookConfirmed(account="a", since=now - since, until=now + _HOUR))
    for topic in (WHATSAPP_STATUSES, WHATSAPP_MESSAGES):
        await house.pool.execute(
            "insert into progress (topic, partition, next_offset, caught_up_to)"
            " select $1, n, 0, $3 from generate_series(0, $2 - 1) as n",
            topic.name, PARTITIONS, house.clock.now() + _HOUR,
        )  # fmt: skip


async def _stays_uncertain(house: House) -> None:
    """Both clocks have passed the policy's time."""
    house.later(_SHORT)
    await house.pool.execute("update attempts set machine_at = $1", machine_now() - 2 * _SHORT)
    await house.parts.sweeps.sweep(house.parts.sender.moment())
    assert await house.state() == "uncertain"


async def test_a_status_settles_a_send_whose_answer_never_came(house: House) -> None:
    await _lose_one(house, "timeout_after_accept")
    await house.hear_statuses()
    assert await house.told() == ["uncertain", "resolved", "delivered"]
    assert len(await house.sent()) == 1


async def test_silence_resends_what_may_be_resent_once(house: House) -> None:
    await _lose_one(house, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _watched(house)
    house.later(_SHORT)
    await house.until_state("accepted")
    assert await house.told() == ["uncertain", "resolved", "accepted"]
    assert [message["biz_opaque_callback_data"] for message in await house.sent()] == ["m1.2"]


async def test_silence_repeats_no_question(house: House) -> None:
    await _lose_one(house, "timeout_before")
    await _watched(house)
    await _stays_uncertain(house)


async def test_silence_proves_nothing_while_a_gap_is_open(house: House) -> None:
    await _lose_one(house, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _watched(house)
    await house.hear(WebhookGapOpened(account="a", since=machine_now() + _HOUR, reason="database_away"))
    await _stays_uncertain(house)


async def test_a_gap_that_is_told_after_the_heartbeat_that_overlooked_it_takes_its_word_back(house: House) -> None:
    """Another replica of ingest refused a webhook, and told of it at its own turn."""
    await _lose_one(house, "timeout_before", resend=Resend.IF_UNPROVEN)
    before = machine_now() - _HOUR / 2
    await _watched(house)
    await house.hear(WebhookGapOpened(account="a", since=before, reason="kafka_away"))
    await _stays_uncertain(house)
    now = machine_now()
    await house.hear(WebhookConfirmed(account="a", since=before, until=now + 2 * _HOUR))
    await house.until_state("accepted")


async def test_silence_proves_nothing_before_every_replica_of_ingest_has_had_its_turn(house: House) -> None:
    await _lose_one(house, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _watched(house)
    await house.pool.execute("update streams set whole_until = $1", machine_now() + 5 * _SHORT)
    await _stays_uncertain(house)
    await house.hear(WebhookConfirmed(account="a", since=machine_now() - _HOUR, until=machine_now() + _HOUR))
    await house.until_state("accepted")


async def test_silence_proves_nothing_where_one_of_two_accounts_has_a_gap(house: House) -> None:
    await _lose_one(house, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _watched(house)
    await house.hear(WebhookGapOpened(account="b", since=machine_now(), reason="restarted"))
    await _stays_uncertain(house)


async def test_silence_proves_nothing_while_one_partition_of_statuses_is_unread(house: House) -> None:
    await _lose_one(house, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _watched(house)
    await house.pool.execute(
        "update progress set caught_up_to = $1 where topic = $2 and partition = 3",
        house.clock.now() - _HOUR, WHATSAPP_STATUSES.name,
    )  # fmt: skip
    await _stays_uncertain(house)


async def test_silence_proves_nothing_without_a_heartbeat(house: House) -> None:
    await _lose_one(house, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _stays_uncertain(house)


async def test_a_withdrawn_doubt_is_closed_and_not_resent(house: House) -> None:
    await _lose_one(house, "timeout_before", resend=Resend.IF_UNPROVEN)
    await house.hear(WithdrawMessage(message_id=MessageId("m1"), person_id=PersonId("p1"), reason="done"))
    await _watched(house)
    house.later(_SHORT)
    await house.until_state("withdrawn")
    assert await house.told() == ["uncertain", "too_late", "resolved", "withdrawn"]


async def test_a_person_settles_what_nothing_proves(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    await _lose_one(house, "timeout_before")
    await uncertain.run(house.settings, uncertain._arguments(["list"]))
    assert "m1" in capsys.readouterr().out
    assert await uncertain.run(house.settings, uncertain._arguments(["show", "m1"])) == 0
    assert "attempt 1" in capsys.readouterr().out
    assert await uncertain.run(house.settings, uncertain._arguments(["show", "m2"])) == 1
    assert capsys.readouterr().out == "no message m2 was ever sent\n"
    settling = uncertain._arguments(["settle", "m1", "--as", "not_sent", "--resend"])
    assert await uncertain.run(house.settings, settling) == 0
    await house.until_state("accepted")
    assert await uncertain.run(house.settings, settling) == 1
    assert await house.told() == ["uncertain", "resolved", "accepted"]


async def test_a_status_without_our_callback_waits_for_its_receipt(house: House) -> None:
    early = StatusReported(wamid=Wamid("wamid.early"), status=Status.DELIVERED, at=house.clock.now())
    await house.hear(early)
    assert await house.told() == []
    await _lose_one(house, "timeout_before")
    settling = uncertain._arguments(["settle", "m1", "--as", "sent", "--wamid", "wamid.early"])
    await uncertain.run(house.settings, settling)
    await house.until_state("delivered")
    assert await house.told() == ["uncertain", "resolved", "delivered"]


async def test_an_intent_whose_owner_has_gone_is_uncertain_and_not_free(house: House) -> None:
    await house.stop()
    await house.hear(person(), request())
    moment = house.parts.sender.moment()
    await house.pool.execute(
        "update messages set state = 'intent', attempts = 1, wording = 'template', lease_until = $1",
        moment.machine - 5 * _SHORT,
    )
    await house.start()
    await house.until_state("uncertain")
    assert (await house.events())[0]["data"]["reason"] == "lease_ended"
    assert await house.sent() == []


async def test_one_replica_sends_and_the_other_takes_over(house: House, clock_file: Path) -> None:
    dsn = house.settings.postgres_dsn.get_secret_value()
    async with at_work(dsn, clock_file, house.stand, house.hook) as second:
        await house.hear(person(), request())
        await house.until_state("accepted")
        assert second.parts.sender.claims is None
        await house.stop()
        await second.hear(request("m2"))
        await second.until_state("accepted", "m2")
    assert len(await house.sent()) == 2


async def test_a_takeover_remembers_what_a_person_was_sent(house: House) -> None:
    await house.hear(person(), *(request(f"m{number:02}") for number in range(45)))
    await house.rest()
    await house.stop()
    await house.start()
    await until(lambda: _owns(house))
    await house.hear(request("m99"))
    await house.rest()
    assert await house.state("m99") == "waiting"
    assert (await house.stand.ask("counts"))["errors"]["answer"] == {}


async def _owns(house: House) -> bool:
    return house.parts.sender.claims is not None
