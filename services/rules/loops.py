"""What rules does without being told: runs what is due, and judges what has waited. Machine time only polls."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from services.rules import store, waiting
from services.rules.handlers import Rules
from shared.batch import AWAY
from shared.clock import Clock
from shared.health import Idle
from shared.postgres import REPEAT, Pool, load_queries
from shared.telemetry import counter, gauge, get_logger
from shared.transaction import transaction

log = get_logger()
_STORE = load_queries(__file__, "store.sql")
_WAITING = load_queries(__file__, "waiting.sql")
_AT_ONCE = 200


@dataclass(slots=True)
class Loops:
    """``tick`` is how long an idle loop sleeps, in seconds."""

    rules: Rules
    pool: Pool
    clock: Clock
    tick: float
    ran: int = 0

    async def run_due(self) -> None:
        """Forever: chains whose next instant has come and whose partitions are read up to it."""
        while True:
            if not await self._turn(self._run_due_once):
                await asyncio.sleep(self.tick)

    async def release_waiting(self) -> None:
        """Forever: events whose facts have arrived, or whose patience is over."""
        while True:
            if not await self._turn(self._release_once):
                await asyncio.sleep(self.tick)

    async def _turn(self, once: Callable[[], Awaitable[int]]) -> int:
        try:
            done = await once()
        except REPEAT:
            return 1
        except AWAY as error:
            log.warning("loop.waits", error=type(error).__name__)
            await asyncio.sleep(1)
            return 0
        self.ran += done
        return done

    async def _run_due_once(self) -> int:
        async with self.pool.acquire() as connection:
            due = await store.due_chains(connection, self.clock.now(), _AT_ONCE)
        if due:
            locks = {key for _, key in due}
            async with transaction(self.pool, self.clock, "rules", locks=locks) as tx:
                await self.rules.due(tx, (chain for chain, _ in due))
        return len(due)

    async def _release_once(self) -> int:
        async with self.pool.acquire() as connection:
            keys = await waiting.ready_keys(connection, self.clock.now())
        released = 0
        for key in keys:
            async with transaction(self.pool, self.clock, "rules", locks=[key]) as tx:
                released += await self.rules.released(tx, key)
        return released

    async def idle(self) -> Idle:
        now = self.clock.now()
        due = await self.pool.fetchrow(_STORE.oldest_due, now)
        queued = await self.pool.fetchrow(_WAITING.queue_state)
        busy = ["due"] if due["due"] else []
        if queued["waiting"] and await self._ready(now):
            busy.append("waiting")
        dues = [at for at in (due["next_due"], queued["next_due"]) if at is not None]
        return Idle(tuple(busy), min(dues, default=None), self.ran)

    async def _ready(self, now: datetime) -> bool:
        async with self.pool.acquire() as connection:
            return bool(await waiting.ready_keys(connection, now))

    async def measure(self) -> None:
        """Forever: what an operator asks first, as gauges; and whether the two condition engines ever differ."""
        differing = counter("stet_rules_disagreements_total", "Judgements in which engine and reference differed")
        seen = 0
        late = gauge("stet_rules_due_late_seconds", "How long the chain longest due has been due")
        oldest = gauge("stet_rules_waiting_oldest_seconds", "Age of the oldest event waiting for a fact")
        while True:
            await asyncio.sleep(5)
            disagreements = self.rules.shelf.engine.disagreements
            differing.inc(disagreements - seen)
            seen = disagreements
            try:
                now = self.clock.now()
                due = (await self.pool.fetchrow(_STORE.oldest_due, now))["next_due"]
                since = (await self.pool.fetchrow(_WAITING.queue_state))["oldest"]
            except AWAY:
                continue
            late.set(max(0.0, (now - due).total_seconds()) if due else 0)
            oldest.set((now - since).total_seconds() if since else 0)
