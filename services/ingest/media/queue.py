"""The files to fetch, in PostgreSQL: added with the webhook that names them, claimed for a while, settled once.

All instants are machine time: WhatsApp deletes a file after seven days whatever business time it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.ingest.store import raises_unavailable, write_transaction
from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, PersonId, TenantId, derive_id, partition_key
from shared.contracts.topics import WHATSAPP_MEDIA
from shared.contracts.whatsapp import MediaRefused, MediaStored, MessageReceived
from shared.runtime.clock import Clock, machine_now
from shared.runtime.postgres import Connection, Pool, load_queries

SOURCE = "stet/ingest"
MEDIA_LIFETIME = timedelta(days=7)
"""How long WhatsApp keeps a file of an inbound message.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media
"""

_queries = load_queries(__file__, "queue.sql")


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
        _queries.add,
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
            rows = await self.pool.fetch(_queries.claim, self.tenant, now, now + lease, limit)
        return [WaitingFile(**row) for row in rows]

    async def postpone(self, file: WaitingFile, due_at: datetime) -> None:
        with raises_unavailable():
            await self.pool.execute(_queries.postpone, self.tenant, file.file_id, file.attempts, due_at)

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
            return bool(await self.pool.fetchval(_queries.is_known, self.tenant, file.file_id))

    async def waiting(self) -> WaitingFiles:
        with raises_unavailable():
            row = await self.pool.fetchrow(_queries.waiting, self.tenant, machine_now())
        return WaitingFiles(row["files"], row["due"], row["oldest"])

    async def _settle(self, file: WaitingFile, state: str, data: MediaStored | MediaRefused, *found: object) -> bool:
        """The row and the event about it, in one transaction."""
        async with write_transaction(self.pool, self.clock) as tx:
            settled = await tx.connection.fetchval(
                _queries.settle, self.tenant, file.file_id, file.attempts, state, *found, machine_now(), data.at
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
