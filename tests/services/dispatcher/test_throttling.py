"""WhatsApp's errors, in responses and in statuses, throttle the right scope for the right time and keep the queue."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import orjson
import pytest

from services.dispatcher.account_limits import AccountLimits
from services.dispatcher.provider_responses import ErrorScope
from services.dispatcher.rate_limits import SendLimits
from services.dispatcher.sender import TOKEN_SETTING
from services.dispatcher.store import LineSchedule, MessageStore
from services.dispatcher.throttles import Throttle, ThrottleClock, ThrottleKey
from shared.contracts.envelope import EventData
from shared.contracts.ids import Line, Wamid
from shared.contracts.messages import Lane, Resend
from shared.contracts.whatsapp import AccountReported, DeliveryStatus, StatusReported
from shared.runtime.clock import machine_now
from shared.runtime.credentials import SECRET_REFUSED
from shared.runtime.postgres import Connection
from tests.dev.whatsapp.simulator_under_test import ACCOUNT, RecordingWebhook, SimulatorUnderTest
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    message_received,
    person_observed,
    running_dispatcher,
    send_request,
    template_update,
    wait_until,
)

pytestmark = pytest.mark.integration
_CASES = Path(os.environ.get("STET_CASES", "../shared/cases"))
_MINUTE = timedelta(minutes=1)
_LOCKED = 131031


async def _fault(dispatcher: DispatcherUnderTest, code: int, count: int = 1, **match: str) -> None:
    fault = {"kind": "error_code", "code": code, "count": count}
    await dispatcher.simulator.tell("faults", fault | ({"match": match} if match else {}))


def _two_people() -> tuple[EventData, ...]:
    return person_observed(), person_observed("p2", "+441632960002"), send_request(), send_request("m2", "p2")


async def test_a_throttled_person_waits_and_the_others_do_not(dispatcher: DispatcherUnderTest) -> None:
    await _fault(dispatcher, 131056, 2, to="+441632960001")
    await dispatcher.handle(*_two_people())
    await dispatcher.wait_for_state("accepted", "m2")
    await dispatcher.wait_until_idle()
    assert (await dispatcher.parts.monitor.idle()).next_due == dispatcher.clock.now() + timedelta(seconds=1)
    dispatcher.advance_clock(timedelta(seconds=1))
    await dispatcher.wait_until_idle()
    assert (await dispatcher.parts.monitor.idle()).next_due == dispatcher.clock.now() + timedelta(seconds=4)
    dispatcher.advance_clock(timedelta(seconds=4))
    await dispatcher.wait_for_state("accepted")


async def test_a_throttled_number_waits_and_another_number_does_not(dispatcher: DispatcherUnderTest) -> None:
    await _fault(dispatcher, 130429)
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_until_idle()
    await dispatcher.handle(send_request("m2", "p1", line="acquisitions"))
    await dispatcher.wait_for_state("accepted", "m2")
    assert await dispatcher.state() == "waiting"
    dispatcher.advance_clock(timedelta(seconds=1))
    await dispatcher.wait_for_state("accepted")


async def test_a_throttled_account_stops_every_number(dispatcher: DispatcherUnderTest) -> None:
    await _fault(dispatcher, 80007)
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_until_idle()
    await dispatcher.handle(send_request("m2", "p1", line="acquisitions"))
    await dispatcher.wait_until_idle()
    assert await dispatcher.sent() == []
    dispatcher.advance_clock(timedelta(seconds=1))
    await dispatcher.wait_for_state("accepted", "m2")


async def test_a_revoked_token_stops_all_sends_and_keeps_the_queue(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    async with running_dispatcher(
        postgres_database,
        clock_file,
        simulator,
        webhook,
        whatsapp_token="revoked-token",  # noqa: S106 -- made up
    ) as dispatcher:
        await dispatcher.handle(person_observed(), *(send_request(f"m{number}") for number in range(20)))
        await wait_until(lambda: _stopped(dispatcher))
        await dispatcher.wait_until_idle()
        assert await dispatcher.state("m19") == "waiting"
        assert (await dispatcher.parts.monitor.token_problem()).startswith("STET_WHATSAPP_TOKEN: ")
        assert SECRET_REFUSED.labels(TOKEN_SETTING)._value.get() == 1
        assert sum((await simulator.ask("counts"))["errors"]["answer"].values()) <= 2
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook) as repaired:
        await repaired.wait_until_idle()
        assert len(await repaired.sent()) == 20
        assert (await repaired.parts.monitor.token_problem(), SECRET_REFUSED.labels(TOKEN_SETTING)._value.get()) == (
            "",
            0,
        )


@dataclass(frozen=True, slots=True)
class _InterruptedStore(MessageStore):
    """``meanwhile`` happens while the schedules are read."""

    meanwhile: Callable[[], None]

    async def line_schedules(self, connection: Connection) -> dict[tuple[str, Lane], LineSchedule]:
        self.meanwhile()
        return await MessageStore.line_schedules(self, connection)


async def test_a_queue_is_not_idle_while_a_new_leader_takes_over_the_throttles(dispatcher: DispatcherUnderTest) -> None:
    """A start ends the wait for an operator at that instant, which is later than the one at which the look began."""
    await dispatcher.stop()
    await dispatcher.handle(person_observed(), send_request())
    began = machine_now()
    refused = Throttle(
        until=began + 5 * _MINUTE, wait=5 * _MINUTE, trips=1, since=dispatcher.clock.now(), machine_since=began,
        code=190, by_operator=True,
    )  # fmt: skip
    stored = {ThrottleKey(ThrottleClock.MACHINE, ErrorScope.ACCOUNT): refused}
    throttles, monitor = dispatcher.parts.sender.throttles, dispatcher.parts.monitor
    store = _InterruptedStore(monitor.store.tenant, lambda: throttles.merge(stored, machine_now()))
    assert (await replace(monitor, store=store).idle()).busy == ("queue",)


async def _stopped(dispatcher: DispatcherUnderTest) -> bool:
    return dispatcher.parts.sender.throttles.awaits_operator("main", dispatcher.parts.sender.moment().machine)


async def test_a_503_leaves_the_send_uncertain_and_slows_the_number_down(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("faults", {"kind": "http_503"})
    await dispatcher.handle(person_observed(), send_request(resend=Resend.IF_UNPROVEN), send_request("m2"))
    await dispatcher.wait_for_state("uncertain")
    await dispatcher.wait_for_state("accepted", "m2")
    assert await _sends(dispatcher) == ["m2.1"]


async def test_a_provider_out_of_reach_keeps_the_queue(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    async with running_dispatcher(
        postgres_database, clock_file, SimulatorUnderTest("http://127.0.0.1:9", simulator.session), webhook
    ) as dispatcher:
        await dispatcher.handle(person_observed(), send_request())
        await wait_until(lambda: _refused(dispatcher))
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook) as dispatcher:
        await dispatcher.wait_for_state("accepted")
        assert await dispatcher.published() == ["accepted"]


async def _refused(dispatcher: DispatcherUnderTest) -> bool:
    return bool(await dispatcher.pool.fetchval("select exists (select from attempts where ending = 'not_written')"))


@pytest.mark.parametrize(("code", "reason"), [(131026, "unreachable"), (100, "message_refused")])
async def test_a_plain_refusal_fails_the_message(dispatcher: DispatcherUnderTest, code: int, reason: str) -> None:
    await _fault(dispatcher, code)
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_for_state("failed")
    published = (await dispatcher.events())[-1]["data"]
    assert (published["code"], published["reason"]) == (code, reason)


async def test_a_paused_template_holds_back_only_its_own_messages(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(template_update(dispatcher.clock.now(), "PAUSED"))
    await dispatcher.simulator.tell(
        "inbound", {"from": "+441632960001", "line": "acquisitions", "kind": "text", "text": "Hello"}
    )
    await dispatcher.handle(
        person_observed(), send_request(), send_request("m2", template=None, expires_at=dispatcher.clock.now())
    )
    await dispatcher.wait_until_idle()
    assert (await dispatcher.state(), await dispatcher.state("m2")) == ("waiting", "dropped")
    await dispatcher.handle(template_update(dispatcher.clock.now(), "APPROVED"))
    await dispatcher.wait_for_state("accepted")


async def test_a_disabled_template_holds_its_messages_until_it_comes_back(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(template_update(dispatcher.clock.now(), "DISABLED"), person_observed(), send_request())
    await dispatcher.wait_for_reason("template_disabled")
    await dispatcher.handle(template_update(dispatcher.advance_clock(timedelta(seconds=1)), "REINSTATED"))
    await dispatcher.wait_for_state("accepted")


# ------------------------------------------------------------------ limits of the account


def _reported(dispatcher: DispatcherUnderTest, field: str, **value: object) -> AccountReported:
    return AccountReported(account=ACCOUNT, field=field, value=value, at=dispatcher.clock.now())


async def test_the_people_of_a_portfolio_wait_for_a_place_and_one_who_writes_does_not(
    dispatcher: DispatcherUnderTest,
) -> None:
    limit = _reported(dispatcher, "business_capability_update", max_daily_conversations_per_business=1)
    await dispatcher.handle(limit)
    await wait_until(lambda: _has_learned(dispatcher))
    await dispatcher.handle(*_two_people())
    await dispatcher.wait_for_reason("portfolio_limit", "m2")
    await dispatcher.wait_for_state("accepted")
    (due,) = await dispatcher.pool.fetchrow("select not_before from messages where message_id = 'm2'")
    assert due >= dispatcher.clock.now() + timedelta(hours=24)
    spoken = {"from": "+441632960002", "line": "main", "kind": "text", "text": "Hello"}
    await dispatcher.simulator.tell("inbound", spoken)
    await dispatcher.handle(message_received(dispatcher.clock.now(), "p2"))
    await dispatcher.wait_for_state("accepted", "m2")


async def test_a_refused_template_takes_no_place_among_the_people_of_a_day(dispatcher: DispatcherUnderTest) -> None:
    limit = _reported(dispatcher, "business_capability_update", max_daily_conversations_per_business=1)
    await dispatcher.handle(limit)
    await wait_until(lambda: _has_learned(dispatcher))
    await _fault(dispatcher, 132000)
    first, second = _two_people()[:2], _two_people()[2:]
    await dispatcher.handle(*first, second[0])
    await dispatcher.wait_for_state("failed")
    await dispatcher.handle(second[1])
    await dispatcher.wait_for_state("accepted", "m2")


async def test_a_message_that_waits_for_something_else_takes_no_place_among_the_people_of_a_day(
    dispatcher: DispatcherUnderTest,
) -> None:
    """It is judged again whenever its template changes, and would take another place each time."""
    limit = _reported(dispatcher, "business_capability_update", max_daily_conversations_per_business=1)
    await dispatcher.handle(limit)
    await wait_until(lambda: _has_learned(dispatcher))
    first, second = _two_people()[:2], _two_people()[2:]
    await dispatcher.handle(*first, second[0])
    await dispatcher.wait_for_state("accepted")
    for word in ("PAUSED", "REJECTED", "PENDING"):
        await dispatcher.handle(template_update(dispatcher.advance_clock(timedelta(seconds=1)), word), second[1])
        await wait_until(partial(_waits_for_template, dispatcher, word))
    await dispatcher.handle(template_update(dispatcher.advance_clock(timedelta(seconds=1)), "APPROVED"))
    await dispatcher.wait_for_reason("portfolio_limit", "m2")
    due = await dispatcher.pool.fetchval("select not_before from messages where message_id = 'm2'")
    assert due <= dispatcher.clock.now() + timedelta(hours=24, minutes=1)


async def _waits_for_template(dispatcher: DispatcherUnderTest, word: str) -> bool:
    query = "select reason from messages where message_id = 'm2' and state = 'waiting'"
    return bool(await dispatcher.pool.fetchval(query) == f"template_{word.lower()}")


async def _has_learned(dispatcher: DispatcherUnderTest) -> bool:
    claimer = dispatcher.parts.sender.claimer
    return claimer is not None and claimer.reported_limits.current != AccountLimits()


async def test_a_restricted_account_sends_no_templates_and_an_upgraded_number_sends_faster(
    dispatcher: DispatcherUnderTest,
) -> None:
    now = dispatcher.clock.now()
    restricted = {"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": int(now.timestamp()) + 3600}
    await dispatcher.handle(
        _reported(dispatcher, "account_update", event="ACCOUNT_RESTRICTION", restriction_info=[restricted]),
        _reported(
            dispatcher, "phone_number_quality_update", event="THROUGHPUT_UPGRADE", display_phone_number="15550783881"
        ),
    )
    await wait_until(lambda: _has_learned(dispatcher))
    await dispatcher.simulator.tell(
        "inbound", {"from": "+441632960002", "line": "main", "kind": "text", "text": "Hello"}
    )
    await dispatcher.handle(*_two_people(), message_received(now, "p2"))
    await dispatcher.wait_for_reason("account_restricted")
    await dispatcher.wait_for_state("accepted", "m2")
    limits = dispatcher.parts.sender.claimer.usage.limits if dispatcher.parts.sender.claimer else SendLimits()
    assert (limits.number("main").count, limits.number("acquisitions").count) == (1000, 80)
    dispatcher.advance_clock(timedelta(hours=1))
    await dispatcher.wait_for_state("accepted")


async def test_a_disabled_account_sends_nothing_and_a_driven_clock_may_go_on(dispatcher: DispatcherUnderTest) -> None:
    ban = {"waba_ban_state": "DISABLE"}
    await dispatcher.handle(_reported(dispatcher, "account_update", event="DISABLED_UPDATE", ban_info=ban))
    await wait_until(lambda: _has_learned(dispatcher))
    expires = dispatcher.clock.now() + timedelta(days=1)
    await dispatcher.handle(person_observed(), send_request(expires_at=expires))
    await dispatcher.wait_until_idle()
    assert ((await dispatcher.parts.monitor.idle()).next_due, await dispatcher.sent()) == (expires, [])
    dispatcher.advance_clock(timedelta(hours=1))
    reinstated = {"waba_ban_state": "REINSTATE"}
    await dispatcher.handle(_reported(dispatcher, "account_update", event="DISABLED_UPDATE", ban_info=reinstated))
    await dispatcher.wait_for_state("accepted")


async def test_reports_about_another_account_of_the_app_change_nothing(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    place = (postgres_database, clock_file, simulator, webhook)
    async with running_dispatcher(*place) as earlier:
        reports = (
            _reported(earlier, "account_update", event="DISABLED_UPDATE", ban_info={"waba_ban_state": "DISABLE"}),
            _reported(earlier, "business_capability_update", max_daily_conversations_per_business=1),
            template_update(earlier.clock.now(), "PAUSED"),
        )
        await earlier.handle(*(report.replace(account="209000000000001") for report in reports))
    async with running_dispatcher(*place, fetch_ends=None, whatsapp_business_account=ACCOUNT) as at:
        await at.handle(*_two_people())
        await at.wait_for_state("accepted")
        await at.wait_for_state("accepted", "m2")


# ------------------------------------------------------------------ errors in statuses


async def _fail(dispatcher: DispatcherUnderTest, code: int, message_id: str = "m1", attempt: int = 1) -> None:
    """Wait until the send is accepted; then a status reports that it failed."""
    await dispatcher.wait_for_state("accepted", message_id)
    wamid = await dispatcher.pool.fetchval("select wamid from messages where message_id = $1", message_id)
    await dispatcher.handle(
        StatusReported(
            wamid=Wamid(wamid),
            status=DeliveryStatus.FAILED,
            at=dispatcher.clock.now(),
            code=code,
            callback=f"{message_id}.{attempt}",
        )
    )


async def _sends(dispatcher: DispatcherUnderTest) -> list[str]:
    return [message["biz_opaque_callback_data"].partition("@")[0] for message in await dispatcher.sent()]


@pytest.mark.parametrize("code", [131031, 131042, 131048, 368, 190, 131045])
async def test_an_account_level_error_in_a_status_stops_the_number(dispatcher: DispatcherUnderTest, code: int) -> None:
    await dispatcher.handle(person_observed(), person_observed("p2", "+441632960002"), send_request())
    await _fail(dispatcher, code)
    await wait_until(lambda: _stopped(dispatcher))
    await dispatcher.handle(send_request("m2", "p2"))
    dispatcher.advance_clock(10 * _MINUTE)
    await dispatcher.wait_until_idle()
    assert await _sends(dispatcher) == ["m1.1"]
    assert (await dispatcher.state(), await dispatcher.state("m2")) == ("waiting", "waiting")


def _code_of_case() -> int:
    webhook = orjson.loads((_CASES / "13-failed-status-account-locked" / "webhook.json").read_bytes())
    status = webhook["entry"][0]["changes"][0]["value"]["statuses"][0]
    return int(status["errors"][0]["code"])


@pytest.mark.skipif(not _CASES.is_dir(), reason="STET_CASES names no folder of inputs that failed")
async def test_the_case_of_a_locked_account_is_not_sent_again_every_minute(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(person_observed(), send_request())
    await _fail(dispatcher, _code_of_case())
    await wait_until(lambda: _stopped(dispatcher))
    for _ in range(30):
        dispatcher.advance_clock(_MINUTE)
        await dispatcher.wait_until_idle()
    assert await _sends(dispatcher) == ["m1.1"]


@pytest.mark.parametrize(("code", "others"), [(130429, 0), (80007, 0), (131056, 1)])
async def test_a_throttle_in_a_status_slows_its_scope(dispatcher: DispatcherUnderTest, code: int, others: int) -> None:
    await dispatcher.handle(person_observed(), person_observed("p2", "+441632960002"), send_request())
    await _fail(dispatcher, code)
    await wait_until(lambda: _knows_holds(dispatcher))
    await dispatcher.handle(send_request("m2"), send_request("m3", "p2"))
    await dispatcher.wait_until_idle()
    assert len(await _sends(dispatcher)) == 1 + others
    dispatcher.advance_clock(_MINUTE)
    await dispatcher.wait_until_idle()
    assert (await _sends(dispatcher))[1 + others] == ("m3.1" if not others else "m1.2") or others == 0


async def _knows_holds(dispatcher: DispatcherUnderTest) -> bool:
    return dispatcher.parts.sender.throttles.is_probing("main") or bool(
        dispatcher.parts.sender.throttles.awaiting_status()
    )


async def test_one_send_is_tried_after_the_wait_and_a_good_status_opens_the_queue(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook) as dispatcher:
        await dispatcher.handle(
            *(person_observed(f"p{n}", f"+44163296000{n}") for n in range(4)), send_request("m0", "p0")
        )
        await _fail(dispatcher, _LOCKED, "m0")
        await dispatcher.handle(*(send_request(f"m{n}", f"p{n}") for n in range(1, 4)))
        dispatcher.advance_clock(2 * _MINUTE)
        await wait_until(lambda: _stopped(dispatcher))
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook) as restarted:
        await wait_until(lambda: _sent_so_many(restarted, 2))
        await restarted.wait_until_idle()
        assert len(await _sends(restarted)) == 2
        await restarted.handle_statuses()
        await wait_until(lambda: _sent_so_many(restarted, 4))


async def _sent_so_many(dispatcher: DispatcherUnderTest, count: int) -> bool:
    return len(await dispatcher.sent()) == count


async def test_a_replica_that_only_reads_notifies_the_leader(
    dispatcher: DispatcherUnderTest,
    postgres_database: str,
    clock_file: Path,
    simulator: SimulatorUnderTest,
    webhook: RecordingWebhook,
) -> None:
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_for_state("accepted")
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook) as reader:
        await _fail(reader, _LOCKED)
        await wait_until(lambda: _stopped(dispatcher))
        await dispatcher.handle(send_request("m2"))
        await dispatcher.wait_until_idle()
    assert await _sends(dispatcher) == ["m1.1"]


async def test_a_good_status_of_another_account_does_not_end_the_stop_of_an_account(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    accounts = {"main": ACCOUNT, "acquisitions": "209000000000001"}
    place = (postgres_database, clock_file, simulator, webhook)
    async with running_dispatcher(*place, fetch_ends=None, whatsapp_accounts=accounts) as at:
        await at.handle(person_observed(), person_observed("p2", "+441632960002"), send_request())
        await _fail(at, 131042)
        await wait_until(lambda: _stopped(at))
        at.advance_clock(_MINUTE)
        await at.handle(send_request("m2", "p2", line=Line("acquisitions")))
        await at.wait_for_state("accepted", "m2")
        await at.handle_statuses()
        await at.wait_for_state("delivered", "m2")
        await at.parts.reconciler.end_throttles(at.parts.sender.moment())
        assert await _stopped(at)


async def test_an_unknown_code_fails_its_message_and_stops_nothing(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(person_observed(), send_request())
    await _fail(dispatcher, 987_654)
    await dispatcher.wait_for_state("failed")
    assert (await dispatcher.events())[-1]["data"]["reason"] == "message_refused"
    await dispatcher.handle(send_request("m2"))
    await dispatcher.wait_for_state("accepted", "m2")


async def test_the_pause_after_an_uncertain_send_survives_a_restart(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    async with running_dispatcher(
        postgres_database, clock_file, simulator, webhook, send_timeout_seconds=1
    ) as dispatcher:
        await simulator.tell("faults", {"kind": "timeout_before", "seconds": 30})
        await dispatcher.handle(person_observed(), person_observed("p2", "+441632960002"), send_request())
        await dispatcher.wait_for_state("uncertain")
        hour = timedelta(hours=1)
        await dispatcher.pool.execute(
            "update throttles set until = $1, wait = $2, trips = 5", machine_now() + hour, hour
        )
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook) as restarted:
        await restarted.wait_until_leader()
        await restarted.handle(send_request("m2", "p2"))
        assert restarted.parts.sender.throttles.is_stopped("main", machine_now() + timedelta(minutes=59))
        assert await restarted.state("m2") == "waiting"


async def test_sends_without_an_outcome_of_an_earlier_leader_slow_the_next_one_down(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.stop()
    await dispatcher.handle(
        *(person_observed(f"p{n}", f"+44163296000{n}") for n in range(2)),
        send_request("m0", "p0"),
        send_request("m1", "p1"),
    )
    await dispatcher.pool.execute(
        "update messages set state = 'intent', attempts = 1, wording = 'template', lease_until = $1"
        " where message_id = 'm0'",
        machine_now() + _MINUTE,
    )
    await dispatcher.start()
    await dispatcher.wait_until_leader()
    assert dispatcher.parts.sender.throttles.is_probing("main")
    await dispatcher.wait_for_state("accepted", "m1")
    assert not dispatcher.parts.sender.throttles.is_probing("main")
