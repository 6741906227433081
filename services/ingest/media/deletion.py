"""Deletes received files in the file store, with their rows: those of erased people, and those that have expired.

The right to list objects is not needed: where no row says under which name a file was stored, each name that it can
have is deleted.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.ingest.media.file_store import FileStore, object_key
from services.ingest.store import raises_unavailable
from shared.clients.file_types import ACCEPTED_TYPES
from shared.contracts.ids import PersonId, TenantId
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool, load_queries
from shared.runtime.telemetry import get_logger

QUERIES = load_queries(__file__, "deletion.sql")
_FILES_AT_ONCE = 100
_log = get_logger()


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """``store`` None: this process has no file store, so what is in one cannot be deleted. All raise Unavailable."""

    pool: Pool
    tenant: TenantId
    store: FileStore | None
    types: Collection[str] = ACCEPTED_TYPES

    async def erase(self, person_id: PersonId) -> int:
        """Delete all files of a person; returns how many must stay for now.

        A file that a process is fetching is deleted when the attempt has ended, since it may still be stored.
        """
        with raises_unavailable():
            await self.pool.execute(QUERIES.stop_fetching, self.tenant, person_id, machine_now())
            rows = await self.pool.fetch(QUERIES.files_of_person, self.tenant, person_id, machine_now())
        for start in range(0, len(rows), _FILES_AT_ONCE):
            await self._delete(rows[start : start + _FILES_AT_ONCE])
        with raises_unavailable():
            return int(await self.pool.fetchval(QUERIES.count_files, self.tenant, person_id))

    async def delete_expired(self, before: datetime) -> int:
        """Delete some of the files that were settled before that instant (business time); returns how many."""
        with raises_unavailable():
            rows = await self.pool.fetch(QUERIES.expired_files, self.tenant, before, _FILES_AT_ONCE)
        return await self._delete(rows)

    async def _delete(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """The objects first: a row that is left leads to an object that is deleted again."""
        chosen = [row for row in rows if self.store is not None or not _may_be_stored(row)]
        if self.store is not None:
            await self.store.delete(key for row in chosen if _may_be_stored(row) for key in self._keys(row))
        if chosen:
            with raises_unavailable():
                await self.pool.execute(QUERIES.delete_files, self.tenant, [row["file_id"] for row in chosen])
            _log.info("media.deleted", files=len(chosen))
        return len(chosen)

    def _keys(self, row: Mapping[str, Any]) -> Iterator[str]:
        if row["object_key"] is not None:
            yield row["object_key"]
            return
        types = {*ACCEPTED_TYPES, *self.types}
        yield from sorted({object_key(self.tenant, row["file_id"], mime) for mime in types})


def _may_be_stored(row: Mapping[str, Any]) -> bool:
    """A file that no attempt was made for is not in the store."""
    return row["object_key"] is not None or row["attempts"] > 0
