"""A row or response that no loop can handle is set aside with a reason; the rest goes on, and so does the process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from services.dispatcher.metrics import SET_ASIDE
from services.dispatcher.provider_responses import SendError, SendOutcome, SendUncertain
from services.dispatcher.reasons import MessageReason
from services.dispatcher.whatsapp_client import WhatsAppClient, WhatsAppEndpoint
from shared.contracts.ids import Wamid
from shared.contracts.whatsapp import DeliveryStatus, StatusReported
from shared.runtime.clock import machine_now
from shared.runtime.failures import _LOOP_ERRORS
from tests.dev.whatsapp.simulator_under_test import MAIN, RecordingWebhook, SimulatorUnderTest
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    person_observed,
    running_dispatcher,
    send_request,
    wait_until,
)

pytestmark = pytest.mark.integration


async def _add_two_messages(dispatcher: DispatcherUnderTest, corruption: str, *values: object) -> None:
    """Messages of two people wait, and the row of the first is corrupted: no version writes such a row."""
    await dispatcher.stop()
    await dispatcher.handle(
        person_observed(), person_observed("p2", "+441632960002"), send_request(), send_request("m2", "p2")
    )
    await dispatcher.pool.execute(f"update messages set {corruption} where message_id = 'm1'", *values)  # noqa: S608 -- a literal of this test


_WHOLE = '{"body": "x", "buttons": %s, "template": {"name": "a", "language": "en", "parameters": %s}}'


@pytest.mark.parametrize(
    "content",
    ["null", "[]", '"text"', "{}", '{"body": "x", "nonsense": 1}', '{"body": "x", "template": {"name": 5}}',
     '{"body": "x", "template": {"name": "a", "language": "en"}}',
     _WHOLE % ("7", "{}"), _WHOLE % ("[]", '{"x": null}')],
)  # fmt: skip
async def test_a_message_that_cannot_be_read_is_dropped_and_the_next_goes(
    dispatcher: DispatcherUnderTest, content: str
) -> None:
    await _add_two_messages(dispatcher, "content = $1", content)
    await dispatcher.start()
    await dispatcher.wait_for_state("accepted", "m2")
    await dispatcher.wait_for_state("dropped")
    published = [event["data"] for event in await dispatcher.events() if event["data"]["message_id"] == "m1"]
    assert [data["reason"] for data in published] == ["unreadable"]


async def test_a_result_that_cannot_be_recorded_is_left_out_and_its_message_set_aside(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    async with running_dispatcher(
        postgres_database, clock_file, simulator, webhook, send_timeout_seconds=1
    ) as dispatcher:
        await _add_two_messages(dispatcher, "resend = 'sometimes', withdrawal = 'answered'")
        await dispatcher.start()
        await dispatcher.wait_for_state("accepted", "m2")
        await wait_until(lambda: _left(dispatcher))
        await dispatcher.pool.execute("update messages set lease_until = $1", machine_now() - timedelta(minutes=1))
        await wait_until(lambda: _set_aside(dispatcher))
        await dispatcher.handle(send_request("m3"))
        await dispatcher.wait_for_state("accepted", "m3")


async def _left(dispatcher: DispatcherUnderTest) -> bool:
    return bool(SET_ASIDE.labels("record", "unexpected")._value.get()) and not dispatcher.parts.sender.in_flight


async def _set_aside(dispatcher: DispatcherUnderTest) -> bool:
    return bool(await dispatcher.pool.fetchval("select set_aside from messages where message_id = 'm1'"))


@pytest.mark.parametrize(
    "corruption", ["expires_at = '2020-01-01'", "line = 'unknown'", "state = 'intent', lease_until = '2020-01-01'"]
)
async def test_reconciliation_sets_a_row_aside_that_it_cannot_change_and_changes_the_others(
    dispatcher: DispatcherUnderTest, corruption: str
) -> None:
    await _add_two_messages(dispatcher, f"resend = 'sometimes', {corruption}")
    await dispatcher.pool.execute("update messages set expires_at = '2020-01-01' where message_id = 'm2'")
    await dispatcher.start()
    await wait_until(lambda: _set_aside(dispatcher))
    await dispatcher.wait_for_state("dropped", "m2")


async def test_an_early_status_of_a_row_that_cannot_be_read_is_parked(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_for_state("accepted")
    wamid = Wamid(str(await dispatcher.pool.fetchval("select wamid from messages")))
    await dispatcher.handle(
        StatusReported(wamid=Wamid("wamid.early"), status=DeliveryStatus.DELIVERED, at=dispatcher.clock.now())
    )
    await dispatcher.pool.execute("update messages set resend = 'sometimes'")
    await dispatcher.pool.execute("update early_statuses set wamid = $1", wamid)
    await wait_until(lambda: _parked(dispatcher))


async def _parked(dispatcher: DispatcherUnderTest) -> bool:
    return bool(await dispatcher.pool.fetchval("select exists (select from parked where topic = 'whatsapp.statuses')"))


@asynccontextmanager
async def _answering(body: bytes, status: int = 200, **headers: str) -> AsyncIterator[WhatsAppClient]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    app = web.Application()
    app.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with WhatsAppClient(
            WhatsAppEndpoint(url, "v25.0", "token", {"main": MAIN}, timedelta(seconds=5)), 2
        ) as whatsapp:
            yield whatsapp
    finally:
        await runner.cleanup()


async def _outcome(body: bytes, status: int = 200, **headers: str) -> SendOutcome:
    async with _answering(body, status, **headers) as whatsapp:
        return await whatsapp.send("main", b"{}", lambda: True)


@pytest.mark.parametrize(
    "body",
    [b"null", b"[]", b"17", b'"wamid"', b"<html>Well?</html>", b"\xff\xfe", b"{", b'{"messages":null}',
     b'{"messages":[]}',
     b'{"messages":[null]}', b'{"messages":[{}]}', b'{"messages":[{"id":null}]}', b'{"messages":[{"id":5}]}',
     b'{"messages":[{"id":"a\\u0000b"}]}', b'{"messages":[{"id":"' + b"x" * 5000 + b'"}]}',
     b'{"messages":[{"id":"w"}],"x":"' + b"x" * 400_000 + b'"}', b"[" * 100_000],
)  # fmt: skip
async def test_a_response_of_the_wrong_shape_leaves_the_send_uncertain(body: bytes) -> None:
    assert await _outcome(body) == SendUncertain(MessageReason.UNREADABLE_ANSWER)


@pytest.mark.parametrize(
    ("code", "read"),
    [(b'"131031"', 131031), (b"true", None), (b"1e400", None), (b"99999999999999999999", None), (b"9999999999", None),
     (b"null", None), (b"[190]", None), (b'"NaN"', None)],
)  # fmt: skip
async def test_a_code_is_a_whole_number_that_fits_its_column(code: bytes, read: int | None) -> None:
    outcome = await _outcome(b'{"error":{"code":' + code + b"}}", 400)
    assert isinstance(outcome, SendError)
    assert outcome.code == read


@pytest.mark.parametrize(
    "headers",
    [{"Retry_After": "9" * 40}, {"X_Business_Use_Case_Usage": '{"1":[{"estimated_time_to_regain_access":1e300}]}'},
     {"X_Business_Use_Case_Usage": '{"1":[{"estimated_time_to_regain_access":-5}]}'}],
)  # fmt: skip
async def test_an_absurd_wait_is_a_day_at_most(headers: dict[str, str]) -> None:
    outcome = await _outcome(b'{"error":{"code":130429}}', 400, **headers)
    assert isinstance(outcome, SendError)
    assert outcome.retry_after in {None, timedelta(days=1)}


async def test_the_leader_goes_on_after_an_error_that_no_row_explains(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.stop()
    await dispatcher.pool.execute(
        """
        alter table account_templates rename to templates_away;
        create view account_templates as select * from templates_away where 1 / (select 0) = 1;
        """
    )
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.start()
    await wait_until(_leader_failed)
    await dispatcher.pool.execute(
        """
        drop view account_templates;
        alter table templates_away rename to account_templates;
        """
    )
    await dispatcher.wait_for_state("accepted")


async def _leader_failed() -> bool:
    return bool(_LOOP_ERRORS.labels("leader")._value.get())
