"""Uncertain sends are settled by a status, by silence, or by an operator, and are never repeated on a guess."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from dev.postgres import login_of
from ops import sends
from ops.command_settings import TenantSettings
from services.dispatcher.metrics import OLDEST_PAUSE_AGE
from services.dispatcher.reconciliation import Settlement
from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.messages import Resend, WithdrawMessage
from shared.contracts.topics import PARTITIONS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES
from shared.contracts.whatsapp import DeliveryStatus, MessageKind, StatusReported, WebhookConfirmed, WebhookGapOpened
from shared.runtime.clock import machine_now
from tests.dev.whatsapp.simulator_under_test import RecordingWebhook, SimulatorUnderTest
from tests.services.dispatcher.dispatcher_under_test import (
    BUTTONS,
    DispatcherUnderTest,
    message_received,
    person_observed,
    running_dispatcher,
    send_request,
    wait_until,
)

pytestmark = pytest.mark.integration
_SHORT = timedelta(seconds=1)
_HOUR = timedelta(hours=1)


@pytest.fixture
async def dispatcher(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> AsyncIterator[DispatcherUnderTest]:
    async with running_dispatcher(
        postgres_database, clock_file, simulator, webhook, send_timeout_seconds=1, unproven_after_seconds=1
    ) as dispatcher:
        yield dispatcher


async def _lose_response(dispatcher: DispatcherUnderTest, kind: str, **changes: Any) -> None:
    """Send m1 so that its response never comes, whether or not it was accepted."""
    await dispatcher.simulator.tell("faults", {"kind": kind, "seconds": 30})
    await dispatcher.handle(person_observed(), send_request(**changes))
    await dispatcher.wait_for_state("uncertain")


async def _cover_webhooks(dispatcher: DispatcherUnderTest, since: timedelta = _HOUR) -> None:
    """Webhooks are covered from then until a little later than now, and all of them have been read."""
    now = machine_now()
    await dispatcher.handle(WebhookConfirmed(account="a", since=now - since, until=now + _HOUR))
    for topic in (WHATSAPP_STATUSES, WHATSAPP_MESSAGES):
        await dispatcher.pool.execute(
            "insert into progress (topic, partition, next_offset, caught_up_to)"
            " select $1, n, 0, $3 from generate_series(0, $2 - 1) as n",
            topic.name, PARTITIONS, dispatcher.clock.now() + _HOUR,
        )  # fmt: skip


async def _assert_stays_uncertain(dispatcher: DispatcherUnderTest) -> None:
    """Both clocks have passed the policy's time."""
    dispatcher.advance_clock(_SHORT)
    await dispatcher.pool.execute("update attempts set machine_at = $1", machine_now() - 2 * _SHORT)
    await dispatcher.parts.reconciler.run_once(dispatcher.parts.sender.moment())
    assert await dispatcher.state() == "uncertain"


async def test_a_status_settles_a_send_whose_response_never_came(dispatcher: DispatcherUnderTest) -> None:
    await _lose_response(dispatcher, "timeout_after_accept")
    await dispatcher.handle_statuses()
    assert await dispatcher.published() == ["uncertain", "resolved", "delivered"]
    assert len(await dispatcher.sent()) == 1


async def test_a_send_of_another_process_is_not_uncertain_before_its_lease_has_ended(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    lease = machine_now() + _HOUR / 2
    begun = "update messages set state = 'intent', attempts = 1, wording = 'template', lease_until = $1"
    await dispatcher.pool.execute(begun, lease)
    moment = dispatcher.parts.sender.moment()
    for machine, state in ((lease, "intent"), (lease + _HOUR, "uncertain")):
        await dispatcher.parts.reconciler.expire_leases(replace(moment, machine=machine))
        assert await dispatcher.state() == state


async def test_a_tap_proves_no_other_send_than_that_of_its_button(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(person_observed(), person_observed("p2", "+441632960002"), send_request("m0"))
    await dispatcher.wait_for_state("accepted", "m0")
    known = Wamid(await dispatcher.pool.fetchval("select wamid from messages"))
    await _lose_response(dispatcher, "timeout_before", buttons=BUTTONS)
    tap = message_received(dispatcher.clock.now(), message_kind=MessageKind.BUTTON, button_id="yes.m1")
    await dispatcher.handle(tap.replace(person_id=PersonId("p2")))
    await dispatcher.handle(tap.replace(button_id="yes.m9", message_id=Wamid("wamid.other")))
    await dispatcher.handle(tap.replace(quoted_id=known, message_id=Wamid("wamid.quoting")))
    assert await dispatcher.state() == "uncertain"
    await dispatcher.handle(tap.replace(quoted_id=Wamid("wamid.unknown"), message_id=Wamid("wamid.mine")))
    assert await dispatcher.state() == "accepted"


async def test_silence_resends_what_may_be_resent_once(dispatcher: DispatcherUnderTest) -> None:
    await _lose_response(dispatcher, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _cover_webhooks(dispatcher)
    dispatcher.advance_clock(_SHORT)
    await dispatcher.wait_for_state("accepted")
    assert await dispatcher.published() == ["uncertain", "resolved", "accepted"]
    assert [message["biz_opaque_callback_data"] for message in await dispatcher.sent()] == ["m1.2@p1:1"]
    attempts = await dispatcher.pool.fetch("select ending from attempts order by attempt")
    assert [row["ending"] for row in attempts] == ["uncertain", "accepted"]


async def test_silence_repeats_no_question(dispatcher: DispatcherUnderTest) -> None:
    await _lose_response(dispatcher, "timeout_before")
    await _cover_webhooks(dispatcher)
    await _assert_stays_uncertain(dispatcher)


async def test_silence_is_judged_by_the_newest_attempt(dispatcher: DispatcherUnderTest) -> None:
    """The first one of a message that went again is older, and says nothing of the second."""
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    pool, now = dispatcher.pool, machine_now()
    await pool.execute("update messages set state = 'uncertain', attempts = 2, resend = 'if_unproven'")
    attempt = (
        "insert into attempts (tenant, message_id, attempt, wording, begun_at, machine_at, lease_until)"
        " select tenant, message_id, $1, 'template', $2, $2, $2 from messages"
    )
    settled = partial(dispatcher.parts.reconciler.store.settled_by_silence, pool)
    await pool.execute(attempt, 1, now - 3 * _HOUR)
    await pool.execute(attempt, 2, now - _HOUR)
    assert await settled(now - 2 * _HOUR, (now - 4 * _HOUR, now - 2 * _HOUR), 5) == []
    assert await settled(now, (now - 4 * _HOUR, now - 2 * _HOUR), 5) == [], "begun after the webhooks were complete"
    assert await settled(now - 2 * _HOUR, (now - 4 * _HOUR, now), 5) == [], "not old enough by business time"
    assert await settled(now, (now - _HOUR / 2, now), 5) == [], "begun before the webhooks were complete"
    assert await settled(now, (now - 2 * _HOUR, now), 5) == ["m1"]


async def test_silence_proves_nothing_while_a_gap_is_open(dispatcher: DispatcherUnderTest) -> None:
    await _lose_response(dispatcher, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _cover_webhooks(dispatcher)
    await dispatcher.handle(WebhookGapOpened(account="a", since=machine_now() + _HOUR, reason="database_away"))
    await _assert_stays_uncertain(dispatcher)


async def test_a_gap_reported_after_a_heartbeat_revokes_the_coverage_of_that_heartbeat(
    dispatcher: DispatcherUnderTest,
) -> None:
    """Another replica of ingest refused a webhook, and reported the gap at its own turn."""
    await _lose_response(dispatcher, "timeout_before", resend=Resend.IF_UNPROVEN)
    before = machine_now() - _HOUR / 2
    await _cover_webhooks(dispatcher)
    await dispatcher.handle(WebhookGapOpened(account="a", since=before, reason="kafka_away"))
    await _assert_stays_uncertain(dispatcher)
    now = machine_now()
    await dispatcher.handle(WebhookConfirmed(account="a", since=before, until=now + 2 * _HOUR))
    await dispatcher.wait_for_state("accepted")


async def test_silence_proves_nothing_before_every_replica_of_ingest_has_had_its_turn(
    dispatcher: DispatcherUnderTest,
) -> None:
    await _lose_response(dispatcher, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _cover_webhooks(dispatcher)
    await dispatcher.pool.execute("update webhook_coverage set covered_until = $1", machine_now() + 5 * _SHORT)
    await _assert_stays_uncertain(dispatcher)
    await dispatcher.handle(WebhookConfirmed(account="a", since=machine_now() - _HOUR, until=machine_now() + _HOUR))
    await dispatcher.wait_for_state("accepted")


async def test_silence_proves_nothing_where_one_of_two_accounts_has_a_gap(dispatcher: DispatcherUnderTest) -> None:
    await _lose_response(dispatcher, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _cover_webhooks(dispatcher)
    await dispatcher.handle(WebhookGapOpened(account="b", since=machine_now(), reason="restarted"))
    await _assert_stays_uncertain(dispatcher)


async def test_silence_proves_nothing_while_one_partition_of_statuses_is_unread(
    dispatcher: DispatcherUnderTest,
) -> None:
    await _lose_response(dispatcher, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _cover_webhooks(dispatcher)
    await dispatcher.pool.execute(
        "update progress set caught_up_to = $1 where topic = $2 and partition = 3",
        dispatcher.clock.now() - _HOUR, WHATSAPP_STATUSES.name,
    )  # fmt: skip
    await _assert_stays_uncertain(dispatcher)


async def test_silence_proves_nothing_without_a_heartbeat(dispatcher: DispatcherUnderTest) -> None:
    await _lose_response(dispatcher, "timeout_before", resend=Resend.IF_UNPROVEN)
    await _assert_stays_uncertain(dispatcher)


async def test_a_withdrawn_uncertain_send_is_closed_and_not_resent(dispatcher: DispatcherUnderTest) -> None:
    await _lose_response(dispatcher, "timeout_before", resend=Resend.IF_UNPROVEN)
    await dispatcher.handle(WithdrawMessage(message_id=MessageId("m1"), person_id=PersonId("p1"), reason="done"))
    await _cover_webhooks(dispatcher)
    dispatcher.advance_clock(_SHORT)
    await dispatcher.wait_for_state("withdrawn")
    assert await dispatcher.published() == ["uncertain", "too_late", "withdrawn", "resolved"]


def operator_settings(dispatcher: DispatcherUnderTest) -> TenantSettings:
    dsn = SecretStr(login_of(dispatcher.settings.dsn, "operator"))
    clock = dispatcher.settings.development_clock
    return TenantSettings(postgres_dsn=dsn, tenant=dispatcher.settings.tenant, development_clock=clock)


async def test_an_operator_settles_a_send_that_nothing_proves(
    dispatcher: DispatcherUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    await _lose_response(dispatcher, "timeout_before")
    assert await sends.list_sends(operator_settings(dispatcher)) == 0
    assert "m1" in capsys.readouterr().out
    assert await sends.show_send(operator_settings(dispatcher), "m1") == 0
    assert "uncertain" in capsys.readouterr().out
    assert await sends.show_send(operator_settings(dispatcher), "m2") == 1
    assert capsys.readouterr().err == "no message m2 was ever sent\n"
    assert await sends.settle_send(operator_settings(dispatcher), "m1", Settlement.RESEND, "asked") == 0
    await dispatcher.wait_for_state("accepted")
    assert await sends.settle_send(operator_settings(dispatcher), "m1", Settlement.RESEND, "asked") == 1
    assert await dispatcher.published() == ["uncertain", "resolved", "accepted"]


async def test_a_status_without_our_callback_waits_for_its_attempt(dispatcher: DispatcherUnderTest) -> None:
    early = StatusReported(wamid=Wamid("wamid.early"), status=DeliveryStatus.DELIVERED, at=dispatcher.clock.now())
    await dispatcher.handle(early)
    assert await dispatcher.published() == []
    await _lose_response(dispatcher, "timeout_before")
    await sends.settle_send(operator_settings(dispatcher), "m1", Settlement.SENT, "seen", "wamid.early")
    await dispatcher.wait_for_state("delivered")
    assert await dispatcher.published() == ["uncertain", "resolved", "delivered"]


async def test_an_intent_whose_sender_has_gone_is_uncertain_and_not_free(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    moment = dispatcher.parts.sender.moment()
    await dispatcher.pool.execute(
        "update messages set state = 'intent', attempts = 1, wording = 'template', lease_until = $1",
        moment.machine - 5 * _SHORT,
    )
    await dispatcher.start()
    await dispatcher.wait_for_state("uncertain")
    assert (await dispatcher.events())[0]["data"]["reason"] == "lease_ended"
    assert await dispatcher.sent() == []


async def test_one_replica_sends_and_the_other_takes_over(dispatcher: DispatcherUnderTest, clock_file: Path) -> None:
    dsn = dispatcher.settings.postgres_dsn.get_secret_value()
    await dispatcher.wait_until_leader()
    async with running_dispatcher(dsn, clock_file, dispatcher.simulator, dispatcher.webhook) as second:
        await dispatcher.handle(person_observed(), send_request())
        await dispatcher.wait_for_state("accepted")
        assert second.parts.sender.claimer is None
        await dispatcher.stop()
        await second.handle(send_request("m2"))
        await second.wait_for_state("accepted", "m2")
    assert len(await dispatcher.sent()) == 2


async def test_a_new_leader_counts_the_earlier_sends_to_a_person(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(person_observed(), *(send_request(f"m{number:02}") for number in range(45)))
    await dispatcher.wait_until_idle()
    await dispatcher.stop()
    await dispatcher.start()
    await dispatcher.wait_until_leader()
    await dispatcher.handle(send_request("m99"))
    await dispatcher.wait_until_idle()
    assert await dispatcher.state("m99") == "waiting"
    assert (await dispatcher.simulator.ask("counts"))["errors"]["answer"] == {}


async def test_a_pause_by_an_operator_holds_messages_with_a_reason_until_resume(
    dispatcher: DispatcherUnderTest,
) -> None:
    pause = "insert into pauses values ($1, 'line', 'main', now() - interval '2 days', 'ada', 'a test')"
    await dispatcher.pool.execute(pause, dispatcher.settings.tenant)
    await wait_until(partial(_knows_the_pause, dispatcher))
    await dispatcher.handle(person_observed(), send_request("m1"))
    await dispatcher.wait_for_reason("paused_by_operator")
    assert await dispatcher.sent() == []
    assert await _pause_age(dispatcher) >= 2 * 86_400
    await dispatcher.pool.execute("delete from pauses")
    await dispatcher.wait_for_state("accepted")
    assert await _pause_age(dispatcher) == 0


async def _knows_the_pause(dispatcher: DispatcherUnderTest) -> bool:
    """The leader asks every second."""
    claimer = dispatcher.parts.sender.claimer
    return claimer is not None and claimer.pauses.names.has_line("main")


async def _pause_age(dispatcher: DispatcherUnderTest) -> float:
    await dispatcher.parts.monitor.refresh_gauges()
    return float(OLDEST_PAUSE_AGE.labels("line")._value.get())


async def test_a_message_that_expires_while_it_is_paused_is_dropped_for_that(dispatcher: DispatcherUnderTest) -> None:
    pause = "insert into pauses values ($1, 'tenant', $1, now(), 'ada', 'a test')"
    await dispatcher.pool.execute(pause, dispatcher.settings.tenant)
    await wait_until(partial(_knows_the_pause, dispatcher))
    await dispatcher.handle(person_observed(), send_request("m1"))
    await dispatcher.wait_for_reason("paused_by_operator")
    dispatcher.advance_clock(timedelta(days=30))
    await dispatcher.wait_for_state("dropped")
    (dropped,) = await dispatcher.events()
    assert dropped["data"]["reason"] == "expired_while_paused"
