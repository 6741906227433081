"""Files of messages, fetched from the simulator over HTTP, checked and kept in a folder."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.ingest.media.fetcher import FileLimits, MediaFetcher
from services.ingest.media.file_rows import MEDIA_LIFETIME, WaitingFile, WaitingFiles
from services.ingest.media.file_store import FileStore
from services.ingest.media.provider import MediaClient, MediaEndpoint
from services.ingest.media.scanner import ClamdScanner, NoScanner, Scanner
from services.ingest.metrics import IngestMetrics
from shared.clients.file_types import ACCEPTED_TYPES
from shared.contracts.ids import PersonId, TenantId
from shared.contracts.whatsapp import MediaRefusal, MediaRefused, MediaStored, ScanVerdict
from shared.runtime.clock import Clock, SystemClock, machine_now
from tests.dev.whatsapp.simulator_under_test import MAIN, TOKEN, SimulatorUnderTest, running_simulator
from tests.services.ingest.payloads import CONTEXT
from tests.services.ingest.test_media_checks import clamd

FILE_ID = "9b2f0c6d4a8e1f3b5d7c9e0a2b4c6d8e"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@dataclass
class Queue:
    """Keeps what the fetcher says of each file."""

    tenant: TenantId = CONTEXT.tenant
    clock: Clock = field(default_factory=SystemClock)
    stored: list[tuple[str, MediaStored]] = field(default_factory=list)
    refused: list[MediaRefused] = field(default_factory=list)
    postponed: list[datetime] = field(default_factory=list)
    is_erased: bool = False

    async def claim(self, limit: int, lease: timedelta) -> list[WaitingFile]:  # noqa: ARG002
        return []

    async def postpone(self, file: WaitingFile, due_at: datetime) -> None:  # noqa: ARG002
        self.postponed.append(due_at)

    async def settle_stored(self, file: WaitingFile, key: str, stored: MediaStored) -> bool:  # noqa: ARG002
        self.stored.append((key, stored))
        return not self.is_erased

    async def is_known(self, file: WaitingFile) -> bool:  # noqa: ARG002
        return not self.is_erased

    async def settle_refused(self, file: WaitingFile, refused: MediaRefused) -> bool:  # noqa: ARG002
        self.refused.append(refused)
        return True

    async def waiting(self) -> WaitingFiles:
        return WaitingFiles(0, 0, None)


@dataclass
class Fetching:
    """A fetcher, its queue, the folder it keeps files in, and the simulator it fetches from."""

    simulator: SimulatorUnderTest
    folder: Path
    queue: Queue
    fetcher: MediaFetcher

    async def receive(self, **document: Any) -> WaitingFile:
        """A person sends a document; the file as its webhook names it."""
        content = document.pop("content", None)
        said = {"from": "447700900123", "line": "main", "kind": "document", **document}
        if content is not None:
            said["content"] = base64.b64encode(content).decode()
        await self.simulator.tell("inbound", said)
        (*_, reply) = await self.simulator.ask("replies")
        node = reply["document"]
        return waiting(node["id"], mime=node["mime_type"], sha256=node["sha256"])

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


def waiting(media_id: str, mime: str | None = None, sha256: str | None = None, attempts: int = 1) -> WaitingFile:
    expires_at = machine_now() + MEDIA_LIFETIME
    return WaitingFile(FILE_ID, PersonId("p1"), "main", media_id, mime, sha256, None, expires_at, attempts)


@asynccontextmanager
async def fetching(
    folder: Path, metrics: IngestMetrics, scanner: Scanner | None = None, most: int = 100_000
) -> AsyncIterator[Fetching]:
    async with running_simulator(None) as simulator:
        endpoint = MediaEndpoint(simulator.url, "v25.0", TOKEN, (simulator.url,), {"main": MAIN})
        async with MediaClient(endpoint) as client:
            queue, limits = Queue(), FileLimits(most, ACCEPTED_TYPES, 4)
            store = FileStore(folder.as_uri(), "https://files.example/whatsapp")
            fetcher = MediaFetcher(queue, client, store, scanner or NoScanner(), limits, metrics)
            yield Fetching(simulator, folder, queue, fetcher)


async def test_a_manuscript_is_kept_whole_under_a_name_that_says_nothing_of_its_author(
    tmp_path: Path, metrics: IngestMetrics
) -> None:
    manuscript = b"%PDF-1.4\n" + b"The Keepers of the Light. " * 3000
    async with fetching(tmp_path, metrics) as at:
        await at.fetcher.handle(await at.receive(filename="Wren Calloway.pdf", content=manuscript))
        ((key, stored),) = at.queue.stored
        assert key == f"pelican/9b/{FILE_ID}.pdf"
        assert at.files() == [tmp_path / key]
        assert (tmp_path / key).read_bytes() == manuscript
        assert stored.url == f"https://files.example/whatsapp/{key}"
        assert (stored.mime, stored.size, stored.verdict) == (
            "application/pdf", len(manuscript), ScanVerdict.NOT_SCANNED
        )  # fmt: skip
        assert stored.sha256 == hashlib.sha256(manuscript).hexdigest()


async def test_a_docx_without_extension_is_known_by_its_content(tmp_path: Path, metrics: IngestMetrics) -> None:
    async with fetching(tmp_path, metrics) as at:
        await at.fetcher.handle(await at.receive(filename="novel", mime=DOCX))
        ((key, stored),) = at.queue.stored
        assert (stored.mime, Path(key).suffix) == (DOCX, ".docx")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff" + b"\0" * 90, MediaRefusal.WRONG_TYPE),
        (b"", MediaRefusal.EMPTY),
        (b"%PDF-1.4\n" + b"a" * 200_000, MediaRefusal.TOO_LARGE),
    ],
)
async def test_a_file_that_fails_a_check_is_refused_and_nothing_of_it_is_kept(
    tmp_path: Path, metrics: IngestMetrics, content: bytes, reason: MediaRefusal
) -> None:
    async with fetching(tmp_path, metrics) as at:
        await at.fetcher.handle(await at.receive(content=content))
        assert [refused.reason for refused in at.queue.refused] == [reason]
        assert (at.queue.stored, at.files()) == ([], [])


async def test_an_infected_file_never_reaches_the_store(tmp_path: Path, metrics: IngestMetrics) -> None:
    async with clamd() as scanner, fetching(tmp_path, metrics, ClamdScanner(scanner.address)) as at:
        await at.fetcher.handle(await at.receive(content=b"%PDF-1.4\n" + b"a" * 70_000 + b"EICAR"))
        assert [refused.reason for refused in at.queue.refused] == [MediaRefusal.INFECTED]
        assert at.files() == []
        await at.fetcher.handle(await at.receive(content=b"%PDF-1.4\nclean"))
        assert at.queue.stored[0][1].verdict is ScanVerdict.CLEAN


async def test_while_the_scanner_is_away_a_file_waits_and_is_not_kept_unscanned(
    tmp_path: Path, metrics: IngestMetrics
) -> None:
    async with clamd() as scanner:
        pass
    async with fetching(tmp_path, metrics, ClamdScanner(scanner.address)) as at:
        await at.fetcher.handle(await at.receive())
        assert (len(at.queue.postponed), at.queue.stored, at.files()) == (1, [], [])


async def test_damaged_bytes_are_fetched_again_and_refused_in_the_end(tmp_path: Path, metrics: IngestMetrics) -> None:
    async with fetching(tmp_path, metrics) as at:
        file = await at.receive()
        for attempts in (1, 2, 3):
            other = base64.b64encode(hashlib.sha256(b"what was sent").digest()).decode()
            await at.fetcher.handle(waiting(file.media_id, file.declared_mime, other, attempts))
        assert len(at.queue.postponed) == 2
        assert [refused.reason for refused in at.queue.refused] == [MediaRefusal.HASH_MISMATCH]
        assert at.files() == []


async def test_a_file_is_tried_until_whatsapp_has_deleted_it(tmp_path: Path, metrics: IngestMetrics) -> None:
    async with fetching(tmp_path, metrics) as at:
        await at.fetcher.handle(waiting("4711"))
        assert (len(at.queue.postponed), at.queue.refused) == (1, [])
        gone = waiting("4711")
        late = WaitingFile(**{name: getattr(gone, name) for name in gone.__slots__} | {"expires_at": machine_now()})
        await at.fetcher.handle(late)
        assert [refused.reason for refused in at.queue.refused] == [MediaRefusal.EXPIRED]


async def test_a_file_that_is_stored_after_its_person_was_erased_is_deleted_again(
    tmp_path: Path, metrics: IngestMetrics
) -> None:
    """The process stood still while it stored it, and its row has gone meanwhile: nothing else leads to the file."""
    async with fetching(tmp_path, metrics) as at:
        at.queue.is_erased = True
        await at.fetcher.handle(await at.receive())
        assert (len(at.queue.stored), at.files(), at.fetcher.settled) == (1, [], 0)


async def test_an_answer_that_arrives_in_parts_is_read_to_its_end() -> None:
    async def find(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for part in (b'{"url": "https://lookaside.fbsbx.com/x", ', b'"file_size": 7}'):
            await response.write(part)
            await asyncio.sleep(0.05)
        return response

    app = web.Application()
    app.add_routes([web.get("/v25.0/4711", find)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with MediaClient(MediaEndpoint(origin, "v25.0", TOKEN, (origin,), {})) as client:
            assert (await client.find("4711", "main")).size == 7
    finally:
        await runner.cleanup()


async def test_a_redirect_is_not_followed(tmp_path: Path, metrics: IngestMetrics) -> None:
    followed: list[str] = []

    async def find(request: web.Request) -> web.Response:
        return web.json_response({"url": f"http://{request.host}/link"})

    async def link(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"http://{request.host}/inside")

    async def inside(_: web.Request) -> web.Response:
        followed.append("inside")
        return web.Response(body=b"%PDF-1.4\n")

    app = web.Application()
    app.add_routes([web.get("/v25.0/4711", find), web.get("/link", link), web.get("/inside", inside)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    queue = Queue()
    async with MediaClient(MediaEndpoint(origin, "v25.0", TOKEN, (origin,), {})) as client:
        limits = FileLimits(1000, ACCEPTED_TYPES, 1)
        fetcher = MediaFetcher(queue, client, FileStore(tmp_path.as_uri()), NoScanner(), limits, metrics)
        await fetcher.handle(waiting("4711"))
    await runner.cleanup()
    assert (followed, len(queue.postponed), queue.stored) == ([], 1, [])
