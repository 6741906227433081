"""A broker or database that is killed or hangs: 503 in time, and later a redelivery that repeats nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest

from dev.kafka import EmbeddedKafka
from dev.postgres import EmbeddedPostgres
from shared.contracts.topics import CONTACTS, WHATSAPP_ACCOUNT, WHATSAPP_MESSAGES, WHATSAPP_STATUSES
from shared.contracts.whatsapp import WebhookConfirmed, WebhookGapOpened
from shared.runtime.clock import machine_now
from shared.runtime.health import PROBE_SECONDS
from tests.frozen_processes import frozen
from tests.infrastructure import declare_topics
from tests.services.ingest.payloads import PSEUDONYMS, messages, status, statuses, text, webhook
from tests.services.ingest.service import IngestProcess, WebhookClient, ingest_process, sender
from tests.services.ingest.test_cloudevents import blocked

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
IN_TIME = 5.0  # seconds

STATUS = webhook(statuses(status("wamid.s")))
MESSAGE = webhook(messages(text("wamid.m", from_user_id="GB.1")))


@pytest.fixture
async def service(
    killable_kafka: EmbeddedKafka, killable_database: str, run_folder: Path
) -> AsyncIterator[IngestProcess]:
    ready = ingest_process(killable_kafka.bootstrap, killable_database, run_folder)
    await declare_topics(ready.bootstrap, ready.prefix)
    await ready.start()
    yield ready
    await ready.child.stop()
    print(ready.child.tail(60))  # noqa: T201 -- shown where a test fails


@pytest.fixture
async def post(service: IngestProcess) -> AsyncIterator[WebhookClient]:
    async with sender(service) as ready:
        yield ready


async def rejected_in_time(ask: Callable[[], Awaitable[int]]) -> None:
    began = time.monotonic()
    assert await ask() == 503
    assert time.monotonic() - began < IN_TIME


async def wait_for_heartbeat(service: IngestProcess) -> None:
    """The first heartbeat is published: from now on a gap can be opened."""
    async with asyncio.timeout(20):
        while not await service.read(WHATSAPP_ACCOUNT):
            await asyncio.sleep(0.1)


async def send_until_accepted(post: WebhookClient, body: bytes) -> None:
    """Send again until the response is 200, as WhatsApp does."""
    async with asyncio.timeout(60):
        while await post.webhook(body) != 200:
            await asyncio.sleep(0.2)


async def test_without_a_broker_everything_is_rejected_and_later_published_once(
    service: IngestProcess, post: WebhookClient, killable_kafka: EmbeddedKafka
) -> None:
    await killable_kafka.kill()
    await rejected_in_time(lambda: post.webhook(STATUS))
    await rejected_in_time(lambda: post.webhook(MESSAGE))
    assert not await service.ready()
    await killable_kafka.start()
    await send_until_accepted(post, STATUS)
    await send_until_accepted(post, MESSAGE)
    assert {event.id for event in await service.read(WHATSAPP_STATUSES)} == {
        f"{PSEUDONYMS.for_wamid('wamid.s')}/delivered"
    }
    assert {event.id for event in await service.read(WHATSAPP_MESSAGES)} == {PSEUDONYMS.for_wamid("wamid.m")}
    assert len({event.id for event in await service.read(CONTACTS)}) == 1


async def test_a_broker_that_hangs_is_treated_as_unavailable(
    service: IngestProcess, post: WebhookClient, killable_kafka: EmbeddedKafka
) -> None:
    with frozen(killable_kafka.child.pid):
        await asyncio.gather(*(rejected_in_time(lambda: post.webhook(STATUS)) for _ in range(20)))
    await send_until_accepted(post, STATUS)
    assert {event.id for event in await service.read(WHATSAPP_STATUSES)} == {
        f"{PSEUDONYMS.for_wamid('wamid.s')}/delivered"
    }


async def test_without_a_database_statuses_are_accepted_and_messages_rejected(
    service: IngestProcess, post: WebhookClient, killable_postgres: EmbeddedPostgres
) -> None:
    await killable_postgres.kill()
    assert await post.webhook(STATUS) == 200
    await rejected_in_time(lambda: post.webhook(MESSAGE))
    assert not await service.ready()
    await killable_postgres.start()
    await send_until_accepted(post, MESSAGE)
    assert {event.id for event in await service.read(WHATSAPP_MESSAGES)} == {PSEUDONYMS.for_wamid("wamid.m")}


async def test_a_database_that_hangs_is_treated_as_unavailable(
    post: WebhookClient, killable_postgres: EmbeddedPostgres
) -> None:
    await send_until_accepted(post, MESSAGE)
    with frozen(killable_postgres.child.pid):
        await asyncio.gather(*(rejected_in_time(lambda: post.webhook(MESSAGE)) for _ in range(15)))
        code, _ = await post.events(blocked())
        assert code == 503
    await send_until_accepted(post, MESSAGE)


async def test_a_rejection_opens_a_gap(
    service: IngestProcess, post: WebhookClient, killable_postgres: EmbeddedPostgres
) -> None:
    await wait_for_heartbeat(service)
    await killable_postgres.kill()
    await rejected_in_time(lambda: post.webhook(MESSAGE))
    await killable_postgres.start()
    async with asyncio.timeout(30):
        while not [one for one in await service.read(WHATSAPP_ACCOUNT) if isinstance(one.data, WebhookGapOpened)]:
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("dependency", ["broker", "database"])
async def test_no_time_is_confirmed_while_the_broker_or_the_database_is_frozen(
    service: IngestProcess, killable_kafka: EmbeddedKafka, killable_postgres: EmbeddedPostgres, dependency: str
) -> None:
    pid = {"broker": killable_kafka.child.pid, "database": killable_postgres.child.pid}[dependency]
    await wait_for_heartbeat(service)
    with frozen(pid):
        began = machine_now()
        async with asyncio.timeout(20):
            while await is_ready(service):
                await asyncio.sleep(0.1)
        thawed = machine_now()
        assert await answer(service, "readyz") == (503, dependency)
        assert await answer(service, "healthz") == (200, "ok"), "a neighbour that stands still restarts nothing"
    spans = await heartbeats(service, thawed)
    assert [span for span in spans if min(span.until, thawed) > max(span.since, began)] == []
    gaps = [event.data for event in await service.read(WHATSAPP_ACCOUNT) if isinstance(event.data, WebhookGapOpened)]
    assert min(gap.since for gap in gaps) <= began


async def answer(service: IngestProcess, probe: str) -> tuple[int, str]:
    """The status, and the first line, in the time that a probe has."""
    timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{service.health_url}/{probe}") as response,
    ):
        return response.status, (await response.text()).splitlines()[0]


async def is_ready(service: IngestProcess) -> bool:
    """As a readiness probe sees it: no response means no."""
    try:
        return await asyncio.wait_for(service.ready(), 3)
    except TimeoutError:
        return False


async def heartbeats(service: IngestProcess, past: datetime) -> list[WebhookConfirmed]:
    """All heartbeats, once one confirms a time after ``past``."""
    async with asyncio.timeout(60):
        while True:
            events = await service.read(WHATSAPP_ACCOUNT)
            published = [event.data for event in events if isinstance(event.data, WebhookConfirmed)]
            if [span for span in published if past < span.since < span.until]:
                return published
            await asyncio.sleep(0.2)


async def test_an_accepted_webhook_is_not_lost_when_the_service_is_killed(
    service: IngestProcess, post: WebhookClient
) -> None:
    answered: list[str] = []

    async def deliver(number: int) -> None:
        with suppress(aiohttp.ClientError):
            if await post.webhook(webhook(statuses(status(f"w{number}")))) == 200:
                answered.append(f"{PSEUDONYMS.for_wamid(f'w{number}')}/delivered")

    deliveries = [asyncio.create_task(deliver(number)) for number in range(400)]
    while len(answered) < 100:
        await asyncio.sleep(0.001)
    await service.child.kill()
    await asyncio.gather(*deliveries)
    assert set(answered) <= {event.id for event in await service.read(WHATSAPP_STATUSES)}
    assert len(answered) < 400


async def test_a_restart_opens_a_gap(service: IngestProcess) -> None:
    await wait_for_heartbeat(service)
    await service.child.kill()
    await service.start()
    async with asyncio.timeout(20):
        while not (
            gaps := [one.data for one in await service.read(WHATSAPP_ACCOUNT) if isinstance(one.data, WebhookGapOpened)]
        ):
            await asyncio.sleep(0.1)
    assert [gap.reason for gap in gaps] == ["restarted"]
