"""The queue of documents that go with messages, and what WhatsApp has of them already. Instants are machine time."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import Struct

from services.dispatcher.reasons import MessageReason
from services.dispatcher.releases import PORTION
from services.dispatcher.store import document_id
from shared.clients.whatsapp_limits import UPLOAD_DAYS
from shared.contracts.messages import SendMessage
from shared.runtime.postgres import Connection, load_queries

QUERIES = load_queries(__file__, "documents.sql")
_FRESH = timedelta(minutes=10)
"""How long a fetched document serves further messages without being fetched again."""

_UPLOAD_LIFE = timedelta(days=UPLOAD_DAYS - 1)  # a day early: a message may wait for its limit after it is planned

DocumentKey = tuple[str, str]
"""A line and a document's id."""


class KnownDocument(Struct, frozen=True):
    """``media_id`` and ``mime`` while WhatsApp has the file; ``refusal`` is why the document can never be had."""

    media_id: str | None = None
    mime: str | None = None
    refusal: MessageReason | None = None


class WaitingDocument(Struct, frozen=True):
    """``attempts`` counts this one: its outcome counts only while no later attempt has begun."""

    line: str
    document_id: str
    address: str
    attempts: int


class WaitingDocuments(Struct, frozen=True):
    """``due`` counts those that no replica is fetching; ``oldest`` is when the oldest was requested."""

    documents: int
    due: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class DocumentStore:
    """The tables ``documents`` and ``uploads``. All methods raise what the database raises."""

    tenant: str

    async def request(self, connection: Connection, messages: Sequence[SendMessage], machine: datetime) -> None:
        """Queue the documents of those messages that have one."""
        wanted = [
            (message.line, document_id(message.document.address), message.document.address)
            for message in messages
            if message.document is not None
        ]
        if wanted:
            columns = map(list, zip(*wanted, strict=True))
            await connection.execute(QUERIES.request_documents, self.tenant, *columns, machine, machine - _FRESH)

    async def find(
        self, connection: Connection, keys: Collection[DocumentKey], machine: datetime
    ) -> Mapping[DocumentKey, KnownDocument]:
        """The known ones among these; one that is not settled, or whose file WhatsApp has deleted, is missing."""
        if not keys:
            return {}
        columns = [list(column) for column in zip(*sorted(keys), strict=True)]
        rows = await connection.fetch(QUERIES.find_documents, self.tenant, *columns, machine)
        found, deleted = dict[DocumentKey, KnownDocument](), list[DocumentKey]()
        for row in rows:
            key = (row["line"], row["document_id"])
            if row["state"] == "refused":
                found[key] = KnownDocument(refusal=MessageReason(row["reason"]))
            elif row["state"] == "ready" and row["media_id"] is not None:
                found[key] = KnownDocument(row["media_id"], row["mime"])
            elif row["state"] == "ready":
                deleted.append(key)
        if deleted:
            columns = [list(column) for column in zip(*deleted, strict=True)]
            await connection.execute(QUERIES.reopen_documents, self.tenant, *columns, machine)
        return found

    async def claim(
        self, connection: Connection, limit: int, machine: datetime, lease: timedelta
    ) -> list[WaitingDocument]:
        """Documents to fetch now; another process gets them when the lease has ended."""
        rows = await connection.fetch(QUERIES.claim_documents, self.tenant, machine, machine + lease, limit)
        return [WaitingDocument(**row) for row in rows]

    async def postpone(self, connection: Connection, document: WaitingDocument, due_at: datetime) -> None:
        await connection.execute(QUERIES.postpone_document, *self._attempt(document), due_at)

    async def settle_ready(
        self, connection: Connection, document: WaitingDocument, sha256: str, machine: datetime
    ) -> bool:
        """Record that the file is fetched; False where another process settled it, or began a new attempt."""
        return await self._settle(connection, document, ("ready", None, sha256, machine))

    async def settle_refused(
        self, connection: Connection, document: WaitingDocument, reason: MessageReason, machine: datetime
    ) -> bool:
        """Record why the file can never be had; False where another process settled it, or began a new attempt."""
        return await self._settle(connection, document, ("refused", reason.value, None, machine))

    async def find_upload(
        self, connection: Connection, line: str, sha256: str, mime: str, machine: datetime
    ) -> str | None:
        """The id under which WhatsApp has this file, of this line."""
        media_id: str | None = await connection.fetchval(QUERIES.find_upload, self.tenant, line, sha256, mime, machine)
        return media_id

    async def save_upload(
        self, connection: Connection, line: str, file: tuple[str, str], media_id: str, machine: datetime
    ) -> None:
        """``file`` is its SHA-256 in hex and its type."""
        await connection.execute(QUERIES.save_upload, self.tenant, line, *file, media_id, machine + _UPLOAD_LIFE)

    async def release(self, connection: Connection, document: WaitingDocument, business: datetime) -> int:
        """Plan the messages again that waited for this document, which is settled; returns how many."""
        key = (document.line, document.document_id)
        return len(await connection.fetch(QUERIES.release_for_document, self.tenant, business, *key, PORTION))

    async def waiting(self, connection: Connection, machine: datetime) -> WaitingDocuments:
        row = await connection.fetchrow(QUERIES.waiting_documents, self.tenant, machine)
        return WaitingDocuments(**row)

    async def delete_old(self, connection: Connection, machine: datetime) -> None:
        """Delete the documents that no message needs any more, and the uploads that WhatsApp has deleted."""
        await connection.execute(QUERIES.delete_old_documents, self.tenant, machine - timedelta(days=1))
        await connection.execute(QUERIES.delete_old_uploads, self.tenant, machine)

    async def _settle(
        self, connection: Connection, document: WaitingDocument, values: tuple[str, str | None, str | None, datetime]
    ) -> bool:
        settled = await connection.fetchval(QUERIES.settle_document, *self._attempt(document), *values)
        return settled is not None

    def _attempt(self, document: WaitingDocument) -> tuple[str, str, str, int]:
        return (self.tenant, document.line, document.document_id, document.attempts)
