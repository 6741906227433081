"""Which pushed CloudEvents were taken before, in PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.ingest.database import reachable
from shared.contracts.envelope import Event
from shared.contracts.ids import TenantId
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool, load_queries

KEPT = timedelta(days=100)
"""As long as consumers remember them; machine time."""

queries = load_queries(__file__, "intake.sql")


@dataclass(frozen=True, slots=True)
class SeenBefore:
    pool: Pool
    tenant: TenantId

    async def among(self, events: Sequence[Event]) -> set[tuple[str, str]]:
        with reachable():
            rows = await self.pool.fetch(queries.already_pushed, self.tenant, *_names(events))
        return {(row["source"], row["id"]) for row in rows}

    async def remember(self, events: Sequence[Event]) -> None:
        with reachable():
            await self.pool.execute(queries.remember_pushed, self.tenant, *_names(events), machine_now())

    async def forget_old(self) -> None:
        """Some of those nobody will repeat any more."""
        with reachable():
            await self.pool.execute(queries.forget_pushed, machine_now() - KEPT)


def _names(events: Sequence[Event]) -> tuple[list[str], list[str]]:
    return [event.source for event in events], [event.id for event in events]
