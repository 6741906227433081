"""``kill -9`` in the middle of a download: the file is fetched again, and kept once."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from services.ingest.media.file_rows import MediaQueue, add_files
from services.ingest.metrics import IngestMetrics
from shared.contracts.ids import Line, PersonId, Wamid
from shared.contracts.whatsapp import Media, MediaStored, MessageKind, MessageReceived
from shared.runtime.clock import SystemClock, machine_now
from shared.runtime.postgres import Pool
from tests.infrastructure import ROOT
from tests.services.ingest.media_fetching import client_of, fetcher_of
from tests.services.ingest.outbox import outbox_events
from tests.services.ingest.payloads import CONTEXT

pytestmark = pytest.mark.integration

FILE_ID = "9b2f0c6d4a8e1f3b5d7c9e0a2b4c6d8e"
MANUSCRIPT = b"%PDF-1.7\n" + b"The Keepers of the Light. " * 540_000  # some parts of an upload
WAIT_SECONDS = 50.0


async def test_a_file_whose_fetcher_was_killed_is_fetched_again_and_kept_once(
    postgres_database: str, pool: Pool, tmp_path: Path, metrics: IngestMetrics
) -> None:
    in_the_middle, downloads = asyncio.Event(), 0

    async def find(request: web.Request) -> web.Response:
        return web.json_response({"url": f"http://{request.host}/link"})

    async def link(request: web.Request) -> web.StreamResponse:
        nonlocal downloads
        downloads += 1
        if downloads > 1:
            return web.Response(body=MANUSCRIPT)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(MANUSCRIPT[: len(MANUSCRIPT) // 2])
        in_the_middle.set()
        await asyncio.sleep(WAIT_SECONDS)
        return response

    app = web.Application()
    app.add_routes([web.get("/v25.0/4711", find), web.get("/link", link)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin, folder = f"http://127.0.0.1:{runner.addresses[0][1]}", tmp_path.as_uri()
    await add_files(pool, CONTEXT.tenant, [_message()], None)

    arguments = ("-m", "tests.services.ingest.media_fetching", postgres_database, origin, folder)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await in_the_middle.wait()
    finally:
        process.kill()
        await process.wait()
    assert files_in(tmp_path, "*.pdf") == []

    await pool.execute("update media_files set due_at = $1", machine_now())  # the lease of the killed process ends
    (file,) = await MediaQueue(pool, SystemClock(), CONTEXT.tenant).claim(1, timedelta(minutes=3))
    async with client_of(origin) as client:
        await fetcher_of(pool, client, folder, metrics).handle(file)
    await runner.cleanup()

    (kept,) = files_in(tmp_path, "*")
    assert kept.read_bytes() == MANUSCRIPT
    stored = [event.data for event in await outbox_events(pool) if isinstance(event.data, MediaStored)]
    assert [(one.file_id, one.size) for one in stored] == [(FILE_ID, len(MANUSCRIPT))]


def files_in(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.rglob(pattern) if path.is_file()]


def _message() -> MessageReceived:
    media = Media(media_id="4711", mime="application/pdf", file_id=FILE_ID)
    return MessageReceived(
        line=Line("main"), person_id=PersonId("p1"), message_id=Wamid("wamid.file"),
        message_kind=MessageKind.MEDIA, media=media, at=machine_now(),
    )  # fmt: skip
