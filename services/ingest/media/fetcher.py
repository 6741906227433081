"""Fetches the files that wait: looked up, downloaded, checked and scanned while they flow into the store.

Memory holds a few chunks of each file. A file appears in the store only when its size, type, digest and scan are
fine. A failure that may pass is tried again, until WhatsApp has deleted the file.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from services.ingest.media.file_rows import MediaQueue, WaitingFile, WaitingFiles, object_key
from services.ingest.media.file_store import FileStore
from services.ingest.media.provider import MediaClient, MediaEndpoint, MediaLink
from services.ingest.media.scanner import ClamdScanner, NoScanner, Scan, Scanner
from services.ingest.metrics import FileOutcome, IngestMetrics
from services.ingest.settings import IngestSettings
from shared.clients.file_types import HEAD_BYTES, FileRefused, content_type
from shared.contracts.errors import Unavailable
from shared.contracts.ids import TenantId
from shared.contracts.whatsapp import MediaRefusal, MediaRefused, MediaStored, ScanVerdict
from shared.runtime.clock import Clock, machine_now
from shared.runtime.failures import describe_failure, record_loop_error
from shared.runtime.health import IdleStatus
from shared.runtime.retry import Backoff
from shared.runtime.service import Process
from shared.runtime.telemetry import get_logger

_MEGABYTE = 1_000_000
_POLL_SECONDS = 0.5
_FETCH_SECONDS = 180.0  # for one file of 100 MB over a slow line
_LEASE = timedelta(seconds=_FETCH_SECONDS + 30)
_BACKOFF = Backoff(first=5.0, longest=900.0, jitter=0.5)
_TRIES_FOR_A_DIGEST = 3  # bytes that were damaged on the way come whole the next time
_SHA256_BYTES = 32

_log = get_logger()


@dataclass(frozen=True, slots=True)
class FileLimits:
    """``most_bytes`` of one file; ``types`` are accepted; so many files are fetched ``at_once`` by one process."""

    most_bytes: int
    types: Collection[str]
    at_once: int


class FileQueue(Protocol):
    """Where the files wait; ``MediaQueue`` in a running service."""

    @property
    def tenant(self) -> TenantId: ...

    @property
    def clock(self) -> Clock: ...

    async def claim(self, limit: int, lease: timedelta) -> list[WaitingFile]: ...

    async def postpone(self, file: WaitingFile, due_at: datetime) -> None: ...

    async def settle_stored(self, file: WaitingFile, key: str, stored: MediaStored) -> bool: ...

    async def settle_refused(self, file: WaitingFile, refused: MediaRefused) -> bool: ...

    async def is_known(self, file: WaitingFile) -> bool: ...

    async def waiting(self) -> WaitingFiles: ...


@dataclass(slots=True)
class _Measured:
    """Size, hash and first bytes of a file, learned while it flows."""

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size: int = 0
    verdict: ScanVerdict = ScanVerdict.NOT_SCANNED


class MediaFetcher:
    """``settled`` counts files since the start, for the idle report on a virtual clock."""

    def __init__(
        self,
        queue: FileQueue,
        client: MediaClient,
        store: FileStore,
        scanner: Scanner,
        limits: FileLimits,
        metrics: IngestMetrics,
    ) -> None:
        self._queue = queue
        self._client = client
        self._store = store
        self._scanner = scanner
        self._limits = limits
        self._metrics = metrics
        self._running: set[asyncio.Task[None]] = set()
        self.settled = 0

    async def run(self) -> None:
        """Fetch files for ever; neither a file nor a neighbour that is away ends it."""
        try:
            while True:
                try:
                    await self._start_due()
                except Unavailable as fault:
                    _log.warning("media.interrupted", fault=str(fault))
                except Exception as error:  # noqa: BLE001 -- the boundary of a loop
                    record_loop_error("media", error)
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            for task in self._running:
                task.cancel()

    async def idle(self) -> IdleStatus:
        """Busy while a file waits that can be fetched now; one that is tried again later is no work."""
        due = (await self._queue.waiting()).due
        busy = [f"{len(self._running) + due} files"] if self._running or due else []
        return IdleStatus(tuple(busy), None, self.settled)

    async def _start_due(self) -> None:
        waiting = await self._queue.waiting()
        age = (machine_now() - waiting.oldest).total_seconds() if waiting.oldest is not None else 0.0
        self._metrics.show_waiting_files(waiting.files, age)
        free = self._limits.at_once - len(self._running)
        if free <= 0 or not waiting.due:
            return
        for file in await self._queue.claim(free, _LEASE):
            task = asyncio.create_task(self.handle(file), name=f"file {file.file_id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def handle(self, file: WaitingFile) -> None:
        """One attempt, and what follows from it. Never raises but for cancellation."""
        try:
            await self._attempt(file)
        except Unavailable as fault:  # the database: the lease ends, and the file is due again
            _log.warning("media.interrupted", fault=str(fault))
        except Exception as error:  # noqa: BLE001 -- the boundary of one file: its surprise must not stop the others
            record_loop_error("media", error)

    async def _attempt(self, file: WaitingFile) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                key, stored = await self._fetch(file)
        except FileRefused as refusal:
            if refusal.reason is MediaRefusal.HASH_MISMATCH and file.attempts < _TRIES_FOR_A_DIGEST:
                await self._try_later(file, "hash_mismatch")
            else:
                await self._refuse(file, refusal)
        except (Unavailable, TimeoutError) as fault:
            await self._try_later(file, str(fault) or "it took too long")
        except Exception as error:  # noqa: BLE001 -- a library's surprise: tried again as long as the file lives
            await self._try_later(file, describe_failure(error))
        else:
            if await self._queue.settle_stored(file, key, stored):
                self._count(FileOutcome.STORED, file)
            elif not await self._queue.is_known(file):  # erased, while this process stood still: no row leads to it
                await self._store.delete([key])
                _log.info("media.deleted", files=1)

    async def _fetch(self, file: WaitingFile) -> tuple[str, MediaStored]:
        """Raises FileRefused or Unavailable; then nothing is in the store."""
        link = await self._client.find(file.media_id, file.line)
        if link.size is not None and link.size > self._limits.most_bytes:
            raise FileRefused(MediaRefusal.TOO_LARGE)
        async with self._client.download(link) as chunks, self._scanner.open() as scan:
            head = await _read_head(chunks)
            mime = content_type(head, file.declared_mime, self._limits.types)
            key, measured = object_key(self._queue.tenant, file.file_id, mime), _Measured()
            await self._store.put(key, mime, self._checked(file, link, _rest(head, chunks), scan, measured))
        return key, MediaStored(
            file_id=file.file_id,
            person_id=file.person_id,
            url=self._store.url_of(key),
            mime=mime,
            declared_mime=file.declared_mime,
            size=measured.size,
            sha256=measured.digest.hexdigest(),
            verdict=measured.verdict,
            at=self._queue.clock.now(),
        )

    async def _checked(
        self, file: WaitingFile, link: MediaLink, chunks: AsyncIterator[bytes], scan: Scan, measured: _Measured
    ) -> AsyncIterator[bytes]:
        """The chunks on their way to the store, which keeps nothing of them where this raises."""
        async for chunk in chunks:
            measured.size += len(chunk)
            if measured.size > self._limits.most_bytes:
                raise FileRefused(MediaRefusal.TOO_LARGE)
            measured.digest.update(chunk)
            await scan.feed(chunk)
            yield chunk
        declared = (file.declared_sha256, link.sha256)
        if any(_differs(measured.digest.digest(), expected) for expected in declared):
            raise FileRefused(MediaRefusal.HASH_MISMATCH)
        measured.verdict = await scan.verdict()

    async def _refuse(self, file: WaitingFile, refusal: FileRefused) -> None:
        refused = MediaRefused(
            file_id=file.file_id,
            person_id=file.person_id,
            reason=refusal.reason,
            mime=refusal.mime,
            most_bytes=self._limits.most_bytes if refusal.reason is MediaRefusal.TOO_LARGE else None,
            at=self._queue.clock.now(),
        )
        if await self._queue.settle_refused(file, refused):
            self._count(FileOutcome(refusal.reason.value), file)

    async def _try_later(self, file: WaitingFile, fault: str) -> None:
        now = machine_now()
        if now >= file.expires_at:
            await self._refuse(file, FileRefused(MediaRefusal.EXPIRED))
            return
        due_at = min(now + timedelta(seconds=_BACKOFF.wait(file.attempts)), file.expires_at)
        await self._queue.postpone(file, due_at)
        self._metrics.count_file(FileOutcome.RETRIED)
        _log.warning("media.retried", file_id=file.file_id, attempts=file.attempts, fault=fault)

    def _count(self, outcome: FileOutcome, file: WaitingFile) -> None:
        self.settled += 1
        self._metrics.count_file(outcome)
        _log.info("media.settled", file_id=file.file_id, outcome=outcome, attempts=file.attempts)


async def _read_head(chunks: AsyncIterator[bytes]) -> bytes:
    """The first bytes, as many as signatures need; fewer only where the file has no more."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    return bytes(head)


async def _rest(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk


def _differs(digest: bytes, declared: str | None) -> bool:
    """Whether the digest differs from the declared one, which is base64 in webhooks and hex elsewhere; False where
    ``declared`` is neither.
    """
    expected = _read_digest(declared or "")
    return expected is not None and expected != digest


def _read_digest(text: str) -> bytes | None:
    for read in (bytes.fromhex, lambda coded: base64.b64decode(coded, validate=True)):
        try:
            digest = read(text)
        except (ValueError, binascii.Error):
            continue
        if len(digest) == _SHA256_BYTES:
            return digest
    return None


@asynccontextmanager
async def fetch_files(process: Process, settings: IngestSettings, metrics: IngestMetrics) -> AsyncIterator[None]:
    """Within the context a task of the process fetches them. Raises Misconfigured for a store that cannot be opened."""
    async with MediaClient(_endpoint(settings)) as client:
        fetcher = MediaFetcher(
            queue=MediaQueue(process.pool, process.clock, settings.tenant),
            client=client,
            store=FileStore(settings.media_store, settings.media_link),
            scanner=ClamdScanner(settings.media_scanner) if settings.media_scanner else NoScanner(),
            limits=FileLimits(settings.media_max_mb * _MEGABYTE, settings.media_types, settings.media_at_once),
            metrics=metrics,
        )
        process.task("media", fetcher.run)
        process.add_idle_check(fetcher.idle)
        yield


def _endpoint(settings: IngestSettings) -> MediaEndpoint:
    return MediaEndpoint(
        graph_url=settings.whatsapp_graph_url,
        version=settings.whatsapp_graph_version,
        token=settings.whatsapp_token.get_secret_value() if settings.whatsapp_token is not None else "",
        hosts=settings.media_hosts,
        numbers={str(line): number for line, number in settings.whatsapp_lines.items()},
    )
