"""The quality of a number is read from WhatsApp, since no webhook says it, and shown by a gauge."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from services.dispatcher import metrics
from services.dispatcher.account_reader import LineReader
from services.dispatcher.rate_limits import SendLimits
from services.dispatcher.whatsapp_client import NumberReport, WhatsAppClient
from tests.services.dispatcher.dispatcher_under_test import TENANT, DispatcherUnderTest, wait_until

pytestmark = pytest.mark.integration
_ROWS = "select line, quality, throughput, since, read_at from line_quality where tenant = $1 order by line"


def _reader(at: DispatcherUnderTest, fetch: Callable[[str], Awaitable[NumberReport | None]]) -> LineReader:
    lines, accounts = at.settings.whatsapp_lines, at.settings.accounts_of_lines
    return LineReader(at.pool, at.clock, at.parts.handler.account, at.parts.sender, fetch, lines, accounts)


async def test_a_number_whose_throughput_is_upgraded_sends_faster_though_no_webhook_says_so(
    dispatcher: DispatcherUnderTest,
) -> None:
    at = dispatcher
    await at.simulator.tell("settings", {"upgraded": ["acquisitions"]})
    async with WhatsAppClient(at.settings.endpoint(), 1) as whatsapp:
        await _reader(at, whatsapp.number_report).read()

    async def has_learned() -> bool:
        claimer = at.parts.sender.claimer
        limits = claimer.usage.limits if claimer else SendLimits()
        return (limits.number("main").count, limits.number("acquisitions").count) == (80, 1000)

    await wait_until(has_learned)


async def test_a_limit_of_people_that_no_webhook_has_said_is_kept_to(dispatcher: DispatcherUnderTest) -> None:
    at = dispatcher
    await at.simulator.tell("settings", {"people_a_day": "TIER_50"})
    async with WhatsAppClient(at.settings.endpoint(), 1) as whatsapp:
        await _reader(at, whatsapp.number_report).read()

    async def has_learned() -> bool:
        claimer = at.parts.sender.claimer
        return claimer is not None and claimer.reported_limits.current.messaging == 50

    await wait_until(has_learned)


async def test_the_quality_of_each_line_is_kept_with_the_instant_since_when(dispatcher: DispatcherUnderTest) -> None:
    at, settings = dispatcher, dispatcher.settings
    began = at.clock.now()
    async with WhatsAppClient(settings.endpoint(), 1) as whatsapp:
        reader = _reader(at, whatsapp.number_report)
        await reader.read()
        turned = at.advance_clock(timedelta(minutes=10))
        await at.simulator.tell("settings", {"qualities": {"main": "RED"}})
        await reader.read()
        later = at.advance_clock(timedelta(minutes=10))
        await reader.read()
    assert [tuple(row) for row in await at.pool.fetch(_ROWS, TENANT)] == [
        ("acquisitions", "GREEN", "STANDARD", began, later),
        ("main", "RED", "STANDARD", turned, later),
    ]
    await at.parts.monitor.refresh_gauges()
    shown = {
        (line, quality)
        for line in ("main", "acquisitions")
        for quality in metrics.NUMBER_QUALITIES
        if metrics.LINE_QUALITY.labels(line, quality)._value.get()
    }
    assert shown == {("main", "RED"), ("acquisitions", "GREEN")}


async def test_a_number_of_which_whatsapp_says_nothing_keeps_its_last_quality(dispatcher: DispatcherUnderTest) -> None:
    at = dispatcher

    async def says_nothing(_: str) -> NumberReport | None:
        return None

    known = NumberReport("YELLOW", "HIGH")
    await at.parts.handler.account.save_quality(at.pool, "main", known, at.clock.now())
    await _reader(at, says_nothing).read()
    ((_, quality, throughput, *_),) = await at.pool.fetch(_ROWS, TENANT)
    assert (quality, throughput) == ("YELLOW", "HIGH")


async def test_a_token_that_is_refused_says_nothing_of_a_number(dispatcher: DispatcherUnderTest) -> None:
    settings = dispatcher.settings.model_copy(update={"whatsapp_token": type(dispatcher.settings.whatsapp_token)("x")})
    async with WhatsAppClient(settings.endpoint(), 1) as whatsapp:
        assert await whatsapp.number_report("main") is None
        assert await whatsapp.display_number("main") is None
