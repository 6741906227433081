"""What Consonance last said, and how far a pass over it has come: kept in PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from services.ingest.progress import Pass
from shared.contracts.ids import TenantId
from shared.contracts.values import DECODE_ERRORS, Value, decode
from shared.runtime.postgres import Connection, load_queries

queries = load_queries(__file__, "snapshots.sql")
V = TypeVar("V", bound=Value)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``view`` is JSON; ``version`` rises with every difference."""

    id: int
    version: int
    view: str


def view_of(of: type[V], snapshot: Snapshot | None) -> V | None:
    """The view that was kept; one that another version kept, and that is not understood, is none."""
    try:
        return None if snapshot is None else decode(of, snapshot.view)
    except DECODE_ERRORS:
        return None


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Of one tenant and one kind of record; every call is inside somebody's transaction."""

    tenant: TenantId
    entity: str

    async def load(self, connection: Connection, ids: Collection[int]) -> Mapping[int, Snapshot]:
        rows = await connection.fetch(queries.load, self.tenant, self.entity, list(ids))
        return {row["id"]: Snapshot(row["id"], row["version"], row["view"]) for row in rows}

    async def save(self, connection: Connection, changed: Sequence[Snapshot], now: datetime) -> None:
        ids, versions, views = ([getattr(one, name) for one in changed] for name in ("id", "version", "view"))
        await connection.execute(queries.save, self.tenant, self.entity, now, ids, versions, views)

    async def last_pass(self, connection: Connection) -> Pass | None:
        row = await connection.fetchrow(queries.pass_of, self.tenant, self.entity)
        if row is None:
            return None
        return Pass(**{**row, "fields": frozenset(row["fields"])})

    async def begin(self, connection: Connection, new: Pass) -> None:
        await connection.execute(queries.begin_pass, self.tenant, self.entity, new.started_at, new.changed_since)

    async def advance(self, connection: Connection, after: int) -> None:
        await connection.execute(queries.advance_pass, self.tenant, self.entity, after)

    async def complete(self, connection: Connection, at: datetime, fields: Collection[str]) -> None:
        """``at`` is machine time."""
        await connection.execute(queries.complete_pass, self.tenant, self.entity, at, list(fields))
