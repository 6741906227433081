"""Ingest as two workloads, as on Kubernetes: one receives, another polls, in real processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from shared.contracts.consonance import StageChanged
from shared.contracts.envelope import Event
from shared.contracts.topics import CONSONANCE_EVENTS, WHATSAPP_ACCOUNT, WHATSAPP_STATUSES
from shared.contracts.whatsapp import WebhookGapOpened
from tests.services.ingest.payloads import status, statuses, webhook
from tests.services.ingest.service import IngestProcess, sender
from tests.services.ingest.test_poll_simulator import WORK, PolledSimulator, opened

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@asynccontextmanager
async def running(process: IngestProcess) -> AsyncIterator[IngestProcess]:
    try:
        await process.start()
        yield process
    finally:
        await process.child.stop()
        print(process.child.tail(40))  # noqa: T201 -- shown where a test fails


@pytest.fixture
async def poller(kafka_bootstrap: str, postgres_database: str, run_folder: Path) -> AsyncIterator[PolledSimulator]:
    """A replica that only polls, and has polled."""
    async with opened(kafka_bootstrap, postgres_database, run_folder, "extended", STET_INGEST_ROLE="poll") as simulated:
        yield simulated


async def opened_gaps(process: IngestProcess) -> int:
    return sum(isinstance(event.data, WebhookGapOpened) for event in await process.read(WHATSAPP_ACCOUNT))


async def stages(simulated: PolledSimulator, wanted: int) -> list[str]:
    """The stages that a work came to, once there are so many, and a moment later."""
    async with asyncio.timeout(30):
        while len(found := _stages(await simulated.service.read(CONSONANCE_EVENTS))) < wanted:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    assert _stages(await simulated.service.read(CONSONANCE_EVENTS)) == found
    return found


def _stages(events: list[Event]) -> list[str]:
    return [event.data.to_stage for event in events if isinstance(event.data, StageChanged)]


async def test_one_workload_receives_and_one_polls_and_nothing_is_done_twice_or_left_undone(
    poller: PolledSimulator, run_folder: Path
) -> None:
    async with AsyncExitStack() as stack:
        web = await stack.enter_async_context(
            running(poller.service.beside(run_folder / "web", STET_INGEST_ROLE="web"))
        )
        standby = await stack.enter_async_context(running(poller.service.beside(run_folder / "standby")))
        with pytest.raises(aiohttp.ClientConnectorError):  # the poller has no public port
            async with sender(poller.service) as post:
                await post.webhook(webhook(statuses(status("wamid.1"))))
        async with sender(web) as post:
            assert await post.webhook(webhook(statuses(status("wamid.2")))) == 200
        await poller.edit(f"works/{WORK}", stage="Final proof approved")
        assert len(await stages(poller, 1)) == 1

        gaps = await opened_gaps(web)
        await poller.service.child.kill()
        await poller.edit(f"works/{WORK}", stage="Published")
        assert len(await stages(poller, 2)) == 2
        assert await opened_gaps(web) == gaps, "a poller that dies leaves the webhook's coverage whole"
        assert len(await web.read(WHATSAPP_STATUSES)) == 1
        assert await standby.ready()
