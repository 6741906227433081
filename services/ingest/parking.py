"""Keeps what cannot be handled, with its reason, for an operator; the same bytes once, however often they come."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.ingest.database import writing
from services.ingest.updates import Bad
from shared.contracts.ids import TenantId, derive_id
from shared.runtime.clock import Clock, machine_now
from shared.runtime.postgres import Pool, load_queries
from shared.runtime.telemetry import get_logger, parked_counter
from shared.runtime.transaction import RecordOrigin, Transaction

queries = load_queries(__file__, "intake.sql")
_log = get_logger()
_SOURCE = "parked"


class Parks(Protocol):
    async def park(self, bad: Sequence[Bad], door: str) -> None:
        """Return once they are kept. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Parking:
    pool: Pool
    clock: Clock
    tenant: TenantId

    async def park(self, bad: Sequence[Bad], door: str) -> None:
        """``door`` is the path they came to."""
        by_id = {derive_id(door, one.raw.hex()): one for one in bad}
        async with writing(self.pool, self.clock, [f"{self.tenant}/{_SOURCE}"]) as tx:
            ids = list(by_id)
            new = await tx.connection.fetch(
                queries.remember_pushed, self.tenant, [_SOURCE] * len(ids), ids, machine_now()
            )
            await park_all(tx, [by_id[row["id"]] for row in new], door)


async def park_all(tx: Transaction, bad: Iterable[Bad], door: str) -> None:
    """Whether or not the same bytes were parked before."""
    parked = parked_counter("ingest")
    for one in bad:
        parked.labels(one.reason).inc()
        await tx.park(one.raw, one.reason, one.sentence, RecordOrigin(door))
        _log.warning("update.parked", reason=one.reason, sentence=one.sentence)
