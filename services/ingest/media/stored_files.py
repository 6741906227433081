"""Files with their rows: deletes those of erased people, and those that have expired. Names say nothing about people.

The right to list objects is not needed: where no row says under which name a file was stored, each name that it can
have is deleted.
"""

import mimetypes
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from services.ingest.store import raises_unavailable
from shared.clients.file_types import ACCEPTED_TYPES
from shared.contracts.errors import Unavailable
from shared.contracts.ids import PersonId, TenantId
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool, load_queries
from shared.runtime.telemetry import get_logger

if TYPE_CHECKING:
    from services.ingest.media.file_store import FileStore

QUERIES = load_queries(__file__, "deletion.sql")
_FILES_AT_ONCE = 100
_DELETE_AGAIN_AFTER = timedelta(days=1)
_MOST_IN_A_ROW = 3
"""Deletions that fail one after the other before the store is taken to be away."""
_log = get_logger()


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
            await self.pool.execute(QUERIES.stop_fetching, self.tenant, person_id, machine_now())
            rows = await self.pool.fetch(QUERIES.files_of_person, self.tenant, person_id, machine_now())
        with suppress(Unavailable):  # what is left is counted
            for start in range(0, len(rows), _FILES_AT_ONCE):
                await self._delete(rows[start : start + _FILES_AT_ONCE])
        with raises_unavailable():
            return int(await self.pool.fetchval(QUERIES.count_files, self.tenant, person_id))

    async def delete_expired(self, before: datetime) -> int:
        """Delete some of the files that were settled before that instant (business time); returns how many."""
        with raises_unavailable():
            rows = await self.pool.fetch(QUERIES.expired_files, self.tenant, before, _FILES_AT_ONCE, machine_now())
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
                await self.pool.execute(QUERIES.delete_files, self.tenant, gone)
                _log.info("media.deleted", files=len(gone))
            if kept:
                again = machine_now() + _DELETE_AGAIN_AFTER
                await self.pool.execute(QUERIES.postpone_deletion, self.tenant, kept, again)
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
                _log.warning("deletion.postponed", fault=str(fault))
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
