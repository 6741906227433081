"""Deletes what has been kept for as long as its class is kept: in small batches, by tasks of each service.

The clock that is given says by which time a class expires: business time, or the machine's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from shared.contracts.errors import Unavailable
from shared.runtime.clock import Clock
from shared.runtime.failures import TRANSIENT_ERRORS, record_loop_error
from shared.runtime.postgres import Pool
from shared.runtime.telemetry import get_logger

log = get_logger()
_ROWS = 1000
_PAUSE_SECONDS = 0.1
_EVERY = timedelta(minutes=10)
_POLL_SECONDS = 5.0

Delete = Callable[[datetime], Awaitable[int]]
"""Deletes a batch of what is older than an instant; returns how many, 0 where nothing is left."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """``delete`` removes rows or files that are older than ``days``."""

    delete: Delete
    days: int


def deletion(pool: Pool, query: str, *arguments: object) -> Delete:
    """Deletes by a query: at most $2 rows older than $1, returning how many. ``arguments`` are $3 and following."""

    async def delete(before: datetime) -> int:
        return int(await pool.fetchval(query, before, _ROWS, *arguments))

    return delete


async def delete_expired(clock: Clock, expiries: Sequence[Expiry]) -> None:
    """Delete what has expired, every ten minutes of this clock, for ever. A failure is tried again then."""
    last: datetime | None = None
    while True:
        now = clock.now()
        if last is None or now - last >= _EVERY:
            last = now
            await delete_expired_once(now, expiries)
        await asyncio.sleep(_POLL_SECONDS)


async def delete_expired_once(now: datetime, expiries: Sequence[Expiry]) -> int:
    """Delete everything that has expired at ``now``, a batch a transaction; returns how much.

    A class that cannot be deleted now is left for the next time, and does not delay the others.
    """
    deleted = 0
    for expiry in expiries:
        before = now - timedelta(days=expiry.days)
        try:
            while count := await expiry.delete(before):
                deleted += count
                await asyncio.sleep(_PAUSE_SECONDS)
        except (*TRANSIENT_ERRORS, asyncpg.PostgresError, Unavailable) as error:
            log.info("deletion.delayed", error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 -- the boundary of one class of data
            record_loop_error("retention", error)
    return deleted
