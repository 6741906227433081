"""The rows of files: those to fetch, and those to delete with what the file store has of them.

A file is added with the webhook that names it, claimed for a while, and settled once. These instants are machine time:
WhatsApp deletes a file after seven days whatever business time it is.

Files of erased people are deleted, and those that have expired. Their names say nothing about people. The right to list
objects is not needed: where no row says under which name a file was stored, each name that it can have is deleted.
"""

import mimetypes
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from services.ingest.store import raises_unavailable, write_transaction
from shared.clients.file_types import ACCEPTED_TYPES
from shared.contracts.envelope import Event
from shared.contracts.errors import Unavailable
from shared.contracts.ids import EventId, PersonId, TenantId, derive_id, partition_key
from shared.contracts.topics import WHATSAPP_MEDIA
from shared.contracts.whatsapp import MediaRefused, MediaStored, MessageReceived
from shared.runtime.clock import Clock, machine_now
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.telemetry import get_logger

if TYPE_CHECKING:
    from services.ingest.media.file_store import FileStore

_log = get_logger()

# ------------------------------------------------------------------ files to fetch

SOURCE = "stet/ingest"
MEDIA_LIFETIME = timedelta(days=7)
"""How long WhatsApp keeps a file of an inbound message.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media
"""

_QUEUE = load_queries(__file__, "queue.sql")


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """``attempts`` counts this one: its outcome counts only while no later attempt has begun."""

    file_id: str
    person_id: PersonId
    line: str
    media_id: str
    declared_mime: str | None
    declared_sha256: str | None
    traceparent: str | None
    expires_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class WaitingFiles:
    """``oldest`` is when the webhook of the oldest arrived; ``due`` counts those that no replica is fetching."""

    files: int
    due: int
    oldest: datetime | None


async def add_files(
    connection: Connection | Pool, tenant: TenantId, messages: Sequence[MessageReceived], traceparent: str | None
) -> None:
    """Each has a file with a ``file_id``. Raises asyncpg's errors."""
    now, media = machine_now(), [message.media for message in messages if message.media is not None]
    await connection.execute(
        _QUEUE.add,
        tenant,
        [one.file_id for one in media],
        [message.person_id for message in messages],
        [message.line for message in messages],
        [one.media_id for one in media],
        [one.mime for one in media],
        [one.sha256 for one in media],
        now,
        now + MEDIA_LIFETIME,
        [traceparent] * len(media),
    )


@dataclass(frozen=True, slots=True)
class MediaQueue:
    """All methods raise Unavailable."""

    pool: Pool
    clock: Clock
    tenant: TenantId

    async def claim(self, limit: int, lease: timedelta) -> list[WaitingFile]:
        """Files to fetch now; another process gets them when the lease has ended."""
        now = machine_now()
        with raises_unavailable():
            rows = await self.pool.fetch(_QUEUE.claim, self.tenant, now, now + lease, limit)
        return [WaitingFile(**row) for row in rows]

    async def postpone(self, file: WaitingFile, due_at: datetime) -> None:
        with raises_unavailable():
            await self.pool.execute(_QUEUE.postpone, self.tenant, file.file_id, file.attempts, due_at)

    async def settle_stored(self, file: WaitingFile, key: str, stored: MediaStored) -> bool:
        """False where another process settled it, or began a new attempt."""
        found = (None, key, stored.mime, stored.size, stored.sha256, stored.verdict.value)
        return await self._settle(file, "stored", stored, *found)

    async def settle_refused(self, file: WaitingFile, refused: MediaRefused) -> bool:
        """False where another process settled it, or began a new attempt."""
        found = (refused.reason.value, None, refused.mime, None, None, None)
        return await self._settle(file, "refused", refused, *found)

    async def is_known(self, file: WaitingFile) -> bool:
        """Whether a row names the file; none does after the person was erased."""
        with raises_unavailable():
            return bool(await self.pool.fetchval(_QUEUE.is_known, self.tenant, file.file_id))

    async def waiting(self) -> WaitingFiles:
        with raises_unavailable():
            row = await self.pool.fetchrow(_QUEUE.waiting, self.tenant, machine_now())
        return WaitingFiles(row["files"], row["due"], row["oldest"])

    async def _settle(self, file: WaitingFile, state: str, data: MediaStored | MediaRefused, *found: object) -> bool:
        """The row and the event about it, in one transaction."""
        async with write_transaction(self.pool, self.clock) as tx:
            settled = await tx.connection.fetchval(
                _QUEUE.settle, self.tenant, file.file_id, file.attempts, state, *found, machine_now(), data.at
            )
            if settled is not None:
                tx.publish(WHATSAPP_MEDIA, self._event(file, data, tx.now))
        return settled is not None

    def _event(self, file: WaitingFile, data: MediaStored | MediaRefused, now: datetime) -> Event:
        return Event(
            id=EventId(derive_id(self.tenant, data.kind, file.file_id)),
            source=SOURCE,
            type=data.kind,
            time=data.at,
            recordedtime=now,
            tenantid=self.tenant,
            partitionkey=partition_key(self.tenant, "persons", file.person_id),
            traceparent=file.traceparent,
            data=data,
        )


# ------------------------------------------------------------------ files to delete

_DELETION = load_queries(__file__, "deletion.sql")
_FILES_AT_ONCE = 100
_DELETE_AGAIN_AFTER = timedelta(days=1)
_MOST_IN_A_ROW = 3
"""Deletions that fail one after the other before the store is taken to be away."""


def object_key(tenant: TenantId, file_id: str, mime: str) -> str:
    """``file_id`` is a keyed hash; the extension is the content's."""
    return f"{tenant}/{file_id[:2]}/{file_id}{mimetypes.guess_extension(mime) or ''}"


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """``store`` None: this process has no file store, so what is in one cannot be deleted. All raise Unavailable."""

    pool: Pool
    tenant: TenantId
    store: "FileStore | None"
    types: Collection[str] = ACCEPTED_TYPES

    async def erase(self, person_id: PersonId) -> int:
        """Delete all files of a person; returns how many must stay for now.

        A file that a process is fetching is deleted when the attempt has ended, since it may still be stored.
        """
        with raises_unavailable():
            await self.pool.execute(_DELETION.stop_fetching, self.tenant, person_id, machine_now())
            rows = await self.pool.fetch(_DELETION.files_of_person, self.tenant, person_id, machine_now())
        with suppress(Unavailable):  # what is left is counted
            for start in range(0, len(rows), _FILES_AT_ONCE):
                await self._delete(rows[start : start + _FILES_AT_ONCE])
        with raises_unavailable():
            return int(await self.pool.fetchval(_DELETION.count_files, self.tenant, person_id))

    async def delete_expired(self, before: datetime) -> int:
        """Delete some of the files that were settled before that instant (business time); returns how many."""
        with raises_unavailable():
            rows = await self.pool.fetch(_DELETION.expired_files, self.tenant, before, _FILES_AT_ONCE, machine_now())
        return await self._delete(rows)

    async def _delete(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """The objects first: a row that is left leads to an object that is deleted again. Returns how many are gone.

        A file that the store keeps (a lock of the bucket, a missing right) is left for another day and holds up no
        other.
        """
        gone, kept = await self._delete_objects(
            [row for row in rows if self.store is not None or not _may_be_stored(row)]
        )
        with raises_unavailable():
            if gone:
                await self.pool.execute(_DELETION.delete_files, self.tenant, gone)
                _log.info("media.deleted", files=len(gone))
            if kept:
                again = machine_now() + _DELETE_AGAIN_AFTER
                await self.pool.execute(_DELETION.postpone_deletion, self.tenant, kept, again)
        if kept and not gone:
            raise Unavailable("the file store deletes no file")
        return len(gone)

    async def _delete_objects(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
        """The files that are gone, and those that are kept; after some of these in a row the store is away."""
        gone, kept, in_a_row = list[str](), list[str](), 0
        for row in rows:
            try:
                if self.store is not None and _may_be_stored(row):
                    await self.store.delete(self._keys(row))
            except Unavailable as fault:
                _log.warning("deletion.delayed", fault=str(fault))
                kept.append(row["file_id"])
                in_a_row += 1
                if in_a_row == _MOST_IN_A_ROW:
                    break
            else:
                gone.append(row["file_id"])
                in_a_row = 0
        return gone, kept

    def _keys(self, row: Mapping[str, Any]) -> Iterator[str]:
        if row["object_key"] is not None:
            yield row["object_key"]
            return
        types = {*ACCEPTED_TYPES, *self.types}
        yield from sorted({object_key(self.tenant, row["file_id"], mime) for mime in types})


def _may_be_stored(row: Mapping[str, Any]) -> bool:
    """A file that no attempt was made for is not in the store."""
    return row["object_key"] is not None or row["attempts"] > 0
