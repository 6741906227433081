"""A known state of a template holds its messages before they are sent, or sends the fallback."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.dispatcher import metrics
from services.dispatcher.account_reader import TemplateReader
from services.dispatcher.store import MessageStore
from services.dispatcher.templates import TemplateReport
from shared.clients.graph_api import TemplateClient, TemplateEndpoint
from shared.contracts.ids import Line, MessageId, PersonId, Wamid
from shared.contracts.messages import AmendMessage, OpenSpan, TemplateCall, WithdrawMessage
from shared.contracts.whatsapp import AccountReported, DeliveryStatus, StatusReported
from tests.dev.whatsapp.simulator_under_test import ACCOUNT, TOKEN, RecordingWebhook, SimulatorUnderTest
from tests.services.dispatcher.dispatcher_under_test import (
    TENANT,
    DispatcherUnderTest,
    person_observed,
    running_dispatcher,
    send_request,
    template_update,
    wait_until,
)

pytestmark = pytest.mark.integration
PLAIN = {"name": "plain_request_v1", "language": "en", "body": "A question for {{person}} waits"}
OTHER_ACCOUNT = "209000000000001"
PLAIN_CALL = TemplateCall(name="plain_request_v1", language="en", parameters={"person": "Ada"})


def amendment(fallback: TemplateCall = PLAIN_CALL, message_id: str = "m1") -> AmendMessage:
    return AmendMessage(message_id=MessageId(message_id), person_id=PersonId("p1"), fallback=fallback)


async def test_a_fallback_goes_in_place_of_a_rejected_template(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    await dispatcher.handle(
        template_update(dispatcher.clock.now(), "REJECTED"), person_observed(), send_request(fallback=PLAIN_CALL)
    )
    await dispatcher.wait_for_state("accepted")
    assert [message["template"] for message in await dispatcher.sent()] == ["plain_request_v1"]
    (accepted,) = await dispatcher.events()
    assert accepted["data"]["template"] == {"name": "plain_request_v1", "language": "en"}


async def test_a_fallback_that_is_proved_by_a_status_alone_is_named_too(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    await dispatcher.simulator.tell("faults", {"kind": "timeout_after_accept", "seconds": 30})
    rejected = template_update(dispatcher.clock.now(), "REJECTED")
    await dispatcher.handle(rejected, person_observed(), send_request(fallback=PLAIN_CALL))
    await dispatcher.wait_for_state("uncertain")
    at, wamid = dispatcher.clock.now(), Wamid("wamid.late")
    await dispatcher.handle(StatusReported(wamid=wamid, status=DeliveryStatus.SENT, at=at, callback="m1.1"))
    resolved = (await dispatcher.events())[-1]["data"]
    assert (resolved["resolution"], resolved["wording"]) == ("sent", "template")
    assert resolved["template"] == {"name": "plain_request_v1", "language": "en"}


async def test_a_fallback_that_meta_pauses_after_the_send_is_throttled_and_not_the_template_itself(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    rejected = template_update(dispatcher.clock.now(), "REJECTED")
    await dispatcher.handle(rejected, person_observed(), send_request(fallback=PLAIN_CALL))
    await dispatcher.wait_for_state("accepted")
    wamid = Wamid(await dispatcher.pool.fetchval("select wamid from messages"))
    failed = StatusReported(
        wamid=wamid, status=DeliveryStatus.FAILED, at=dispatcher.clock.now(), code=132015, callback="m1.1"
    )
    await dispatcher.handle(failed)
    assert await dispatcher.pool.fetchval("select subject from throttles where scope = 'template'") == PLAIN["name"]


def _moved(at: datetime, category: str) -> AccountReported:
    value = {
        "message_template_name": "rights_request_v3",
        "message_template_language": "en",
        "previous_category": "UTILITY" if category == "MARKETING" else "MARKETING",
        "new_category": category,
    }
    return AccountReported(account=ACCOUNT, field="template_category_update", value=value, at=at)


async def test_a_template_moved_back_and_a_request_that_cross_find_each_other(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(_moved(dispatcher.clock.now(), "MARKETING"), person_observed())
    async with dispatcher.handling(_moved(dispatcher.advance_clock(timedelta(seconds=1)), "UTILITY")):
        await dispatcher.handle(send_request())
        await dispatcher.wait_for_reason("template_recategorised")
    await dispatcher.wait_for_state("accepted")


async def test_a_template_moved_to_marketing_goes_only_to_those_who_consented(dispatcher: DispatcherUnderTest) -> None:
    report = _moved(dispatcher.clock.now(), "MARKETING")
    consenting = send_request("m2", "p2", marketing_consent=True)
    await dispatcher.handle(
        report, person_observed(), person_observed("p2", "+441632960002"), send_request(), consenting
    )
    await dispatcher.wait_for_state("accepted", "m2")
    await dispatcher.wait_for_reason("template_recategorised")
    assert await dispatcher.parts.handler.account.count_templates(dispatcher.pool) == ({"APPROVED": 1}, 1)


async def test_a_template_that_the_account_does_not_have_is_waited_for(dispatcher: DispatcherUnderTest) -> None:
    endpoint = TemplateEndpoint(dispatcher.simulator.url, "v25.0", ACCOUNT, TOKEN)
    account, parts = dispatcher.parts.handler.account, dispatcher.parts
    reader = TemplateReader(dispatcher.pool, dispatcher.clock, account, parts.sender, [endpoint], timedelta(minutes=10))
    unknown = TemplateCall(name="unknown_v1", language="en")
    async with TemplateClient(endpoint) as client:
        await reader.read(client)
        await wait_until(lambda: _has_read_the_list(dispatcher))
        await dispatcher.handle(person_observed(), send_request(template=unknown))
        await dispatcher.wait_for_reason("template_missing")
        await dispatcher.simulator.tell("templates", {"name": "unknown_v1", "language": "en", "body": "Good morning"})
        dispatcher.advance_clock(timedelta(seconds=1))
        await reader.read(client)
        await dispatcher.wait_for_state("accepted")


async def test_a_template_that_only_another_account_has_is_missing(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    accounts: dict[str, Any] = {
        "whatsapp_business_account": ACCOUNT,
        "whatsapp_accounts": {"acquisitions": OTHER_ACCOUNT},
    }
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook, **accounts) as at:
        store, line = at.parts.handler.account, Line("acquisitions")
        approved = TemplateReport("rights_request_v3", "en", at.clock.now(), status="APPROVED")
        for account, listed in ((ACCOUNT, [approved]), (OTHER_ACCOUNT, [])):
            await store.save_listing(at.pool, account, listed, at.clock.now())
        await at.handle(person_observed(), person_observed("p2", "+441632960002"))

        async def has_read_both() -> bool:
            return all(at.parts.leader.templates.of(one).is_listed for one in ("main", line))

        await wait_until(has_read_both)
        await at.handle(send_request("m1"), send_request("m2", "p2", line=line))
        await at.wait_for_state("accepted")
        await at.wait_for_reason("template_missing", "m2")
        paused = template_update(at.advance_clock(timedelta(minutes=1)), "PAUSED")
        await at.handle(paused, send_request("m3"))
        await at.wait_for_reason("template_paused", "m3")
        await at.handle(template_update(at.clock.now(), "APPROVED").replace(account=OTHER_ACCOUNT))
        await at.wait_for_state("accepted", "m2")
        assert await at.state("m3") == "waiting"


async def test_a_template_that_one_account_refuses_goes_from_the_lines_of_another(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    """Also after a restart."""
    accounts: dict[str, Any] = {
        "whatsapp_business_account": ACCOUNT,
        "whatsapp_accounts": {"acquisitions": OTHER_ACCOUNT},
    }
    place, line = (postgres_database, clock_file, simulator, webhook), Line("acquisitions")
    async with running_dispatcher(*place, **accounts) as at:
        await simulator.tell("faults", {"kind": "error_code", "code": 132015, "count": 1})
        await at.handle(person_observed(), person_observed("p2", "+441632960002"), send_request("m1"))
        await at.wait_for_reason("template_throttled", "m1")
        await at.handle(send_request("m2", "p2", line=line))
        await at.wait_for_state("accepted", "m2")
    async with running_dispatcher(*place, **accounts) as at:
        await at.handle(person_observed("p3", "+441632960003"), send_request("m3", "p3"))
        await at.wait_for_reason("template_throttled", "m3")
        await at.handle(template_update(at.advance_clock(timedelta(minutes=1)), "APPROVED"))
        await at.wait_for_state("accepted", "m1")
        await at.wait_for_state("accepted", "m3")


async def test_templates_of_a_foreign_account_are_not_counted(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    place = (postgres_database, clock_file, simulator, webhook)
    async with running_dispatcher(*place, whatsapp_business_account=ACCOUNT) as at:
        paused = template_update(at.clock.now(), "PAUSED")
        await at.handle(paused.replace(account=OTHER_ACCOUNT))
        await at.parts.monitor.refresh_gauges()
        assert metrics.TEMPLATES.labels("PAUSED")._value.get() == 0
        await at.handle(paused)
        await at.parts.monitor.refresh_gauges()
        assert metrics.TEMPLATES.labels("PAUSED")._value.get() == 1


async def test_a_template_saved_without_an_account_belongs_to_the_first_account_that_reports_it(
    dispatcher: DispatcherUnderTest,
) -> None:
    store, at = dispatcher.parts.handler.account, dispatcher.clock.now()
    marketing = TemplateReport("rights_request_v3", "en", at, status="APPROVED", category="MARKETING")
    await store.save_template(dispatcher.pool, "", marketing)
    await dispatcher.handle(template_update(dispatcher.advance_clock(timedelta(minutes=1)), "PAUSED"))
    (account,) = (await store.load_templates(dispatcher.pool)).items()
    (known,) = account[1].templates.values()
    assert (account[0], known.state.value, known.category) == (ACCOUNT, "paused", "MARKETING")


async def _has_read_the_list(dispatcher: DispatcherUnderTest) -> bool:
    return dispatcher.parts.leader.templates.known.is_listed


@pytest.mark.parametrize("code", [132001, 132007, 132015, 132016, 132068, 132069])
async def test_a_template_that_is_refused_in_answer_waits_until_it_is_reported_usable(
    dispatcher: DispatcherUnderTest, code: int
) -> None:
    await dispatcher.simulator.tell("faults", {"kind": "error_code", "code": code, "count": 1})
    await dispatcher.handle(person_observed(), person_observed("p2", "+441632960002"), send_request())
    await dispatcher.wait_for_reason("template_throttled")
    await dispatcher.handle(send_request("m2", "p2"))
    await dispatcher.wait_for_reason("template_throttled", "m2")
    assert await dispatcher.parts.handler.account.waiting_for_templates(dispatcher.pool) == {"template_throttled": 2}
    await dispatcher.handle(template_update(dispatcher.advance_clock(timedelta(seconds=1)), "APPROVED"))
    await dispatcher.wait_for_state("accepted")
    await dispatcher.wait_for_state("accepted", "m2")
    assert await dispatcher.pool.fetchval("select count(*) from attempts where ending = 'refused'") == 1


@pytest.mark.parametrize("code", [132001, 132015])
async def test_a_fallback_goes_at_once_in_place_of_a_template_that_is_refused_in_answer(
    dispatcher: DispatcherUnderTest, code: int
) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    await dispatcher.simulator.tell("faults", {"kind": "error_code", "code": code, "count": 1})
    await dispatcher.handle(person_observed(), send_request(fallback=PLAIN_CALL))
    await dispatcher.wait_for_state("accepted")
    assert [message["template"] for message in await dispatcher.sent()] == ["plain_request_v1"]


async def test_a_fallback_that_was_refused_in_answer_goes_when_it_is_reported_usable(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    await dispatcher.simulator.tell("faults", {"kind": "error_code", "code": 132001, "count": 1})
    rejected = template_update(dispatcher.clock.now(), "REJECTED")
    approved = rejected.replace(value={**rejected.value, "event": "APPROVED", "message_template_name": PLAIN_CALL.name})
    await dispatcher.handle(rejected, approved, person_observed(), send_request(fallback=PLAIN_CALL))
    await wait_for_template(dispatcher)
    await dispatcher.handle(approved.replace(at=dispatcher.advance_clock(timedelta(minutes=1))))
    await dispatcher.wait_for_state("accepted")
    assert [message["template"] for message in await dispatcher.sent()] == ["plain_request_v1"]


async def test_a_state_that_only_the_row_shows_is_read_without_a_notification(dispatcher: DispatcherUnderTest) -> None:
    await _pause_without_a_notification(dispatcher)
    await dispatcher.handle(send_request())
    await dispatcher.wait_for_reason("template_paused")
    await dispatcher.wait_until_idle()
    known = dispatcher.parts.leader.templates.known
    assert [template.state.value for template in known.templates.values()] == ["paused"]


async def test_a_driven_clock_waits_for_what_a_report_releases(dispatcher: DispatcherUnderTest) -> None:
    await _pause_without_a_notification(dispatcher)
    assert (await dispatcher.parts.monitor.idle()).busy == ("templates",)
    dispatcher.parts.leader.templates.expire()
    await dispatcher.wait_until_idle()


async def _pause_without_a_notification(dispatcher: DispatcherUnderTest) -> None:
    """The leader has read what is known before, as a message that went shows."""
    await dispatcher.handle(person_observed(), send_request("m0"))
    await dispatcher.wait_for_state("accepted", "m0")
    query = """
        insert into account_templates (tenant, account, name, language, status, reported_at)
        values ($1, $2, 'rights_request_v3', 'en', 'PAUSED', $3)
    """
    await dispatcher.pool.execute(query, TENANT, ACCOUNT, dispatcher.clock.now())


async def wait_for_template(dispatcher: DispatcherUnderTest, message_id: str = "m1") -> None:
    """Until the message waits for its template, whether the leader knows already why it may not go or only that."""

    async def waits() -> bool:
        reason = await dispatcher.pool.fetchval("select reason from messages where message_id = $1", message_id)
        return reason in {"template_rejected", "template_paused"}

    await wait_until(waits)


async def test_a_fallback_that_comes_later_sends_what_waits_once_and_in_its_order(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    later = send_request("m2", chain_id="c1", template=PLAIN_CALL.replace(parameters={"person": "Bea"}))
    await dispatcher.handle(
        template_update(dispatcher.clock.now(), "REJECTED"), person_observed(), send_request(chain_id="c1"), later
    )
    await wait_for_template(dispatcher)
    assert await dispatcher.sent() == []
    await dispatcher.handle(amendment(), amendment())
    await dispatcher.handle(amendment())
    await dispatcher.wait_for_state("accepted", "m2")
    await dispatcher.handle(template_update(dispatcher.advance_clock(timedelta(minutes=1)), "APPROVED"), amendment())
    await dispatcher.wait_until_idle()
    sent = [(message["template"], message["parameters"]["person"]) for message in await dispatcher.sent()]
    assert sent == [("plain_request_v1", "Ada"), ("plain_request_v1", "Bea")]
    assert await dispatcher.published("m1") == ["accepted"]


async def test_a_fallback_that_is_refused_too_keeps_the_message_until_one_of_both_may_go(
    dispatcher: DispatcherUnderTest,
) -> None:
    refused = template_update(dispatcher.clock.now(), "REJECTED")
    other = refused.replace(value={**refused.value, "message_template_name": PLAIN_CALL.name})
    await dispatcher.handle(refused, other, person_observed())

    async def knows_both() -> bool:
        return len(dispatcher.parts.leader.templates.known.templates) == 2

    await wait_until(knows_both)  # what the leader has not read yet counts as usable
    await dispatcher.handle(send_request(), amendment())
    await wait_for_template(dispatcher)
    await dispatcher.handle(template_update(dispatcher.advance_clock(timedelta(minutes=1)), "APPROVED"))
    await dispatcher.wait_for_state("accepted")
    assert [message["template"] for message in await dispatcher.sent()] == ["rights_request_v3"]


async def test_a_message_that_went_or_was_withdrawn_is_not_amended(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_for_state("accepted")
    await dispatcher.handle(template_update(dispatcher.clock.now(), "REJECTED"), send_request("m2"))
    await wait_for_template(dispatcher, "m2")
    withdrawal = WithdrawMessage(message_id=MessageId("m2"), person_id=PersonId("p1"), reason="until")
    await dispatcher.handle(withdrawal)
    await dispatcher.handle(amendment(), amendment(message_id="m2"), amendment(message_id="unknown"))
    await dispatcher.wait_until_idle()
    assert [await dispatcher.state(one) for one in ("m1", "m2")] == ["accepted", "withdrawn"]
    assert [message["template"] for message in await dispatcher.sent()] == ["rights_request_v3"]
    contents = await dispatcher.pool.fetch("select content::text as content from messages")
    assert all("fallback" not in row["content"] for row in contents)


async def test_of_several_amended_messages_each_gets_its_own_words(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    await dispatcher.handle(
        template_update(dispatcher.clock.now(), "REJECTED"),
        *(person_observed(f"p{place}", f"+44163296000{place}") for place in range(3)),
        *(send_request(f"m{place}", f"p{place}") for place in range(3)),
    )
    for place in range(3):
        await wait_for_template(dispatcher, f"m{place}")
    calls = [PLAIN_CALL.replace(parameters={"person": f"Person {place}"}) for place in range(3)]
    await dispatcher.handle(*(amendment(call, f"m{place}") for place, call in enumerate(calls)))
    await dispatcher.wait_until_idle()
    sent = {message["to"]: message["parameters"]["person"] for message in await dispatcher.sent()}
    assert sent == {f"+44163296000{place}": f"Person {place}" for place in range(3)}


async def test_an_amendment_and_its_message_that_cross_find_each_other(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    await dispatcher.handle(template_update(dispatcher.clock.now(), "REJECTED"), person_observed())
    async with dispatcher.handling(amendment()):
        await dispatcher.handle(send_request())
        await dispatcher.wait_for_reason("template_rejected")
    await dispatcher.wait_for_state("accepted")
    assert [message["template"] for message in await dispatcher.sent()] == ["plain_request_v1"]


async def test_a_withdrawal_and_its_message_that_cross_find_each_other(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(template_update(dispatcher.clock.now(), "REJECTED"), person_observed())
    withdrawal = WithdrawMessage(message_id=MessageId("m1"), person_id=PersonId("p1"), reason="answered")
    async with dispatcher.handling(withdrawal):
        await dispatcher.handle(send_request())
        await dispatcher.wait_for_reason("template_rejected")
    await dispatcher.wait_for_state("withdrawn")
    assert len({event["id"] for event in await dispatcher.events()}) == 1


async def test_batches_that_amend_the_same_messages_wait_for_one_another_and_for_no_deadlock(
    dispatcher: DispatcherUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each amends the template of one message and the hours of the other."""
    await dispatcher.handle(template_update(dispatcher.clock.now(), "REJECTED"), person_observed())
    await dispatcher.handle(send_request("m1"), send_request("m2"))
    both, set_open_hours = asyncio.Barrier(2), MessageStore.set_open_hours

    async def after_both(*arguments: Any) -> None:
        with suppress(TimeoutError, asyncio.BrokenBarrierError):
            async with asyncio.timeout(1):
                await both.wait()
        await set_open_hours(*arguments)

    monkeypatch.setattr(MessageStore, "set_open_hours", after_both)
    now = dispatcher.clock.now()
    hours = (OpenSpan(opens=now, closes=now + timedelta(hours=1)),)
    first, second = (
        AmendMessage(message_id=MessageId(one), person_id=PersonId("p1"), open_hours=hours) for one in ("m1", "m2")
    )
    await asyncio.gather(
        dispatcher.handle(amendment(message_id="m1"), second), dispatcher.handle(amendment(message_id="m2"), first)
    )
    rows = await dispatcher.pool.fetch("select open_hours, content::text as content from messages")
    assert all(row["open_hours"] and PLAIN["name"] in row["content"] for row in rows)


async def test_a_withdrawal_beside_an_amendment_counts(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell("templates", PLAIN)
    await dispatcher.handle(template_update(dispatcher.clock.now(), "REJECTED"), person_observed(), send_request())
    await wait_for_template(dispatcher)
    withdrawal = WithdrawMessage(message_id=MessageId("m1"), person_id=PersonId("p1"), reason="until")
    await dispatcher.handle(amendment(), withdrawal)
    await dispatcher.wait_until_idle()
    assert (await dispatcher.state(), await dispatcher.sent()) == ("withdrawn", [])


async def test_a_waiting_message_leaves_as_an_offer_only_with_current_consent(dispatcher: DispatcherUnderTest) -> None:
    message, person = MessageId("m1"), PersonId("p1")
    consents = [AmendMessage(message_id=message, person_id=person, marketing_consent=one) for one in (False, True)]
    await dispatcher.handle(
        template_update(dispatcher.clock.now(), "REJECTED"), person_observed(), send_request(marketing_consent=True)
    )
    await wait_for_template(dispatcher)
    await dispatcher.handle(consents[0])
    await dispatcher.handle(_moved(dispatcher.advance_clock(timedelta(minutes=1)), "MARKETING"))
    await dispatcher.handle(template_update(dispatcher.advance_clock(timedelta(minutes=1)), "APPROVED"))
    await dispatcher.wait_for_reason("template_recategorised")
    assert await dispatcher.sent() == []
    await dispatcher.handle(consents[1])
    await dispatcher.wait_for_state("accepted")
