"""Gets the documents that go with messages to WhatsApp, before their messages are sent and beside the sends.

A document is read once to check its size and type and to compute its digest. Where this line has not uploaded the same
content yet, it is read a second time for the upload. Memory holds one chunk at a time. Its messages wait meanwhile with
the reason ``document_pending``.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, assert_never

from services.dispatcher import metrics
from services.dispatcher.document_store import DocumentStore, WaitingDocument
from services.dispatcher.handlers import WAKE_CHANNEL
from services.dispatcher.reasons import MessageReason
from shared.clients.file_types import DOCUMENT_TYPES, HEAD_BYTES, FileRefused, content_type
from shared.contracts.errors import Unavailable
from shared.contracts.whatsapp import MediaRefusal
from shared.runtime.clock import Clock, machine_now
from shared.runtime.failures import TRANSIENT_ERRORS, FailureLog, describe_failure, record_loop_error
from shared.runtime.health import IdleStatus
from shared.runtime.postgres import Pool
from shared.runtime.retry import Backoff
from shared.runtime.telemetry import get_logger

_POLL_SECONDS = 0.5
_SECONDS = 240.0  # for one document of 100 MB, read twice
_LEASE = timedelta(seconds=_SECONDS + 30)
_BACKOFF = Backoff(first=5.0, longest=900.0, jitter=0.5)
_AT_ONCE = 2
_CLEAN_EVERY = timedelta(hours=1)

_log = get_logger()


class DocumentRefused(Exception):
    """The document can never be had at this address."""

    def __init__(self, reason: MessageReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """``mime`` and ``size`` (bytes) as its host names them."""

    mime: str | None
    size: int | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class CheckedDocument:
    """``sha256`` in hex, ``size`` in bytes, ``mime`` by the content."""

    sha256: str
    size: int
    mime: str


class DocumentOpener(Protocol):
    """The places of documents; ``DocumentSource`` where a setting names one."""

    def open(self, address: str) -> AbstractAsyncContextManager[OpenDocument]:
        """Raises DocumentRefused, or Unavailable for whatever may be different at the next attempt."""


class MediaUploads(Protocol):
    """WhatsApp's side; ``WhatsAppUploads`` in a running service."""

    async def upload(self, line: str, document: CheckedDocument, chunks: AsyncIterator[bytes]) -> str:
        """The file's id. Raises DocumentRefused or Unavailable, and what ``chunks`` raises."""


class NoDocuments:
    """Stands in where no setting names a place of documents: each document is refused, and none is uploaded."""

    def open(self, address: str) -> AbstractAsyncContextManager[OpenDocument]:  # noqa: ARG002 -- as DocumentOpener has it
        raise DocumentRefused(MessageReason.DOCUMENT_NOT_ALLOWED)

    async def upload(self, *_: object) -> str:
        raise DocumentRefused(MessageReason.DOCUMENT_NOT_ALLOWED)


@dataclass(slots=True)
class DocumentPreparer:
    """``most_bytes`` is the largest size of a document. ``settled`` counts documents since the start, for a development
    clock.
    """

    pool: Pool
    clock: Clock
    store: DocumentStore
    source: DocumentOpener
    uploads: MediaUploads
    most_bytes: int
    settled: int = 0
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _cleaned_at: datetime | None = None
    _failures: FailureLog = field(init=False, default_factory=lambda: FailureLog("documents.delayed"))

    async def run(self) -> None:
        """Prepare documents until the task is cancelled; neither an answer of a host nor a neighbour that is away ends
        it.
        """
        try:
            while True:
                try:
                    await self._run_once()
                except TRANSIENT_ERRORS as error:
                    self._failures.warn(error)
                except Exception as error:  # noqa: BLE001 -- the boundary of a loop
                    record_loop_error("documents", error)
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            for task in self._running:
                task.cancel()

    async def idle(self) -> IdleStatus:
        """Busy while a document waits that can be fetched now; one that is tried again later is no work."""
        due = (await self.store.waiting(self.pool, machine_now())).due
        busy = [f"{len(self._running) + due} documents"] if self._running or due else []
        return IdleStatus(tuple(busy), None, self.settled)

    async def handle(self, document: WaitingDocument) -> None:
        """One attempt, and what follows from it. Never raises but for cancellation."""
        try:
            await self._attempt(document)
        except TRANSIENT_ERRORS as error:  # the database: the lease ends, and the document is due again
            self._failures.warn(error)
        except Exception as error:  # noqa: BLE001 -- the boundary of one document
            record_loop_error("documents", error)

    async def _run_once(self) -> None:
        now = machine_now()
        waiting = await self.store.waiting(self.pool, now)
        metrics.show_waiting_documents(waiting.documents, waiting.oldest, now)
        if self._cleaned_at is None or now - self._cleaned_at >= _CLEAN_EVERY:
            self._cleaned_at = now
            await self.store.delete_old(self.pool, now)
        free = _AT_ONCE - len(self._running)
        if free <= 0 or not waiting.due:
            return
        for document in await self.store.claim(self.pool, free, now, _LEASE):
            task = asyncio.create_task(self.handle(document), name=f"document {document.document_id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _attempt(self, document: WaitingDocument) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                sha256 = await self._prepare(document)
        except DocumentRefused as refused:
            await self._refuse(document, refused.reason)
        except FileRefused as refused:
            await self._refuse(document, _reason_of(refused.reason))
        except (Unavailable, TimeoutError) as fault:
            await self._try_later(document, str(fault) or "it took too long")
        except TRANSIENT_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 -- a library's surprise: tried again as long as a message waits
            await self._try_later(document, describe_failure(error))
        else:
            if await self.store.settle_ready(self.pool, document, sha256, machine_now()):
                await self._settled(document, "ready")

    async def _prepare(self, document: WaitingDocument) -> str:
        """The digest of a document that WhatsApp has now."""
        checked = await self._check(document)
        known = await self.store.find_upload(self.pool, document.line, checked.sha256, checked.mime, machine_now())
        if known is not None:
            metrics.DOCUMENT_UPLOADS.labels("reused").inc()
            return checked.sha256
        media_id = await self._upload(document, checked)
        file = (checked.sha256, checked.mime)
        await self.store.save_upload(self.pool, document.line, file, media_id, machine_now())
        metrics.DOCUMENT_UPLOADS.labels("uploaded").inc()
        return checked.sha256

    async def _check(self, document: WaitingDocument) -> CheckedDocument:
        digest, size, head = hashlib.sha256(), 0, bytearray()
        async with self.source.open(document.address) as opened:
            self._check_size(opened.size or 0)
            async for chunk in opened.chunks:
                size += len(chunk)
                self._check_size(size)
                digest.update(chunk)
                if len(head) < HEAD_BYTES:
                    head += chunk[: HEAD_BYTES - len(head)]
            mime = content_type(bytes(head), opened.mime, DOCUMENT_TYPES)
        return CheckedDocument(digest.hexdigest(), size, mime)

    def _check_size(self, size: int) -> None:
        if size > self.most_bytes:
            raise DocumentRefused(MessageReason.DOCUMENT_TOO_LARGE)

    async def _upload(self, document: WaitingDocument, checked: CheckedDocument) -> str:
        async with self.source.open(document.address) as opened:
            return await self.uploads.upload(document.line, checked, _unchanged(opened, checked))

    async def _refuse(self, document: WaitingDocument, reason: MessageReason) -> None:
        if await self.store.settle_refused(self.pool, document, reason, machine_now()):
            await self._settled(document, reason.value)

    async def _settled(self, document: WaitingDocument, outcome: str) -> None:
        self.settled += 1
        metrics.DOCUMENTS.labels(outcome).inc()
        _log.info("document.settled", document_id=document.document_id, line=document.line, outcome=outcome)
        await self._release(document)

    async def _release(self, document: WaitingDocument) -> None:
        """A message that begins to wait in this moment is found by the reconciliation."""
        if await self.store.release(self.pool, document, self.clock.now()):
            await self.pool.execute("select pg_notify($1, '')", WAKE_CHANNEL)

    async def _try_later(self, document: WaitingDocument, fault: str) -> None:
        due_at = machine_now() + timedelta(seconds=_BACKOFF.wait(document.attempts))
        await self.store.postpone(self.pool, document, due_at)
        metrics.DOCUMENTS.labels("retried").inc()
        _log.warning(
            "document.retried",
            document_id=document.document_id,
            line=document.line,
            attempts=document.attempts,
            fault=fault,
        )


async def _unchanged(opened: OpenDocument, checked: CheckedDocument) -> AsyncIterator[bytes]:
    """The chunks on their way to WhatsApp, whose upload is broken off where they are not those that were checked."""
    digest, size = hashlib.sha256(), 0
    async for chunk in opened.chunks:
        digest.update(chunk)
        size += len(chunk)
        if size > checked.size or (size == checked.size and digest.hexdigest() != checked.sha256):
            raise Unavailable("the document changed while it was read")
        yield chunk
    if size < checked.size:
        raise Unavailable("the document changed while it was read")


def _reason_of(refusal: MediaRefusal) -> MessageReason:
    match refusal:
        case MediaRefusal.TOO_LARGE:
            return MessageReason.DOCUMENT_TOO_LARGE
        case MediaRefusal.EMPTY | MediaRefusal.WRONG_TYPE:
            return MessageReason.DOCUMENT_WRONG_TYPE
        case MediaRefusal.EXPIRED | MediaRefusal.HASH_MISMATCH | MediaRefusal.INFECTED:
            return MessageReason.DOCUMENT_REFUSED
        case _:
            assert_never(refusal)
