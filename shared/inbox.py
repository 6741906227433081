"""Forgetting what was seen long ago: the inbox keeps a hundred days, longer than any topic keeps a record."""

import asyncio
from datetime import timedelta

from shared.batch import AWAY
from shared.clock import machine_now
from shared.postgres import Pool
from shared.transaction import QUERIES

KEPT = timedelta(days=100)
_A_FEW = 1000
_EVERY_SECONDS = 600.0


async def forget_old(pool: Pool) -> None:
    """Forever, in small batches, so that nobody waits for it."""
    while True:
        try:
            while (await pool.execute(QUERIES.forget_seen, machine_now() - KEPT, _A_FEW)) == f"DELETE {_A_FEW}":
                await asyncio.sleep(0.1)
        except AWAY:
            pass
        await asyncio.sleep(_EVERY_SECONDS)
