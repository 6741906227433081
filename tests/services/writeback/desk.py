"""Writeback without Kafka: its queue on a real database, before a Consonance that answers over a socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import orjson

import services.writeback
from dev.consonance.schema import Profile
from services.writeback import intake
from services.writeback.abilities import Abilities
from services.writeback.carry import Carrier
from services.writeback.gate import Gate
from services.writeback.ledger import SERVICE, Ledger
from services.writeback.mapping_file import read_mapping
from services.writeback.queue import Queue
from shared.clients.consonance_graphql import ConsonanceClient
from shared.contracts.envelope import Event
from shared.contracts.writes import APPROVED_KINDS, EVENT_KINDS
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import Pool, connect, role_name
from tests.dev.consonance.stand import KEY, Stand, standing

MAPPING = Path(services.writeback.__file__).parent / "mapping" / "extended.yaml"
KINDS = {**EVENT_KINDS, **APPROVED_KINDS}


@dataclass
class Desk:
    pool: Pool
    ledger: Ledger
    queue: Queue
    gate: Gate
    stand: Stand
    consonance: ConsonanceClient

    async def ask(self, *asked: Event) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await intake.enqueue(connection, asked)

    async def said(self) -> list[str]:
        """The last word of every event that left, in order: verified, conflict, … and approved."""
        return [event["type"].split(".")[-2] for event in await self.events()]

    async def events(self) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("select value from outbox order by id")
        return [orjson.loads(row["value"]) for row in rows]

    async def heard(self, *words: str) -> None:
        """Waits for exactly these; the test's own time limit ends a wait in vain."""
        await self.until(lambda: self._has_said(words))
        assert await self.said() == list(words)

    async def _has_said(self, words: tuple[str, ...]) -> bool:
        return len(await self.said()) >= len(words)

    async def until(self, true: Callable[[], Awaitable[bool]]) -> None:
        while not await true():
            await asyncio.sleep(0.02)

    async def log(self, operation: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = await self.stand.tell("GET", f"log?operation={operation}")
        return entries

    async def fault(self, kind: str, **said: Any) -> None:
        await self.stand.tell("POST", "faults", {"kind": kind, **said})


def client(url: str, seconds: float) -> ConsonanceClient:
    return ConsonanceClient(url, KEY, timedelta(seconds=seconds), service=SERVICE, meanwhile="the queue is kept")


@asynccontextmanager
async def pool_on(dsn: str) -> AsyncIterator[Pool]:
    where = {"search_path": SERVICE, "role": role_name(SERVICE)}
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=10, server_settings=where)
    try:
        yield pool
    finally:
        pool.terminate()


@asynccontextmanager
async def at_desk(
    dsn: str, *, profile: Profile = Profile.EXTENDED, patience: float = 1.0, may_land: float = 3.0, width: int = 4
) -> AsyncIterator[Desk]:
    async with (
        pool_on(dsn) as pool,
        standing(profile=profile) as stand,
        client(f"{stand.url}/graphql", patience) as consonance,
    ):
        ledger, gate = Ledger(pool, SystemClock()), Gate(width)
        carrier = Carrier(ledger, consonance, Abilities(read_mapping(MAPPING)), timedelta(seconds=may_land))
        queue = Queue(partial(connect, dsn, SERVICE), ledger, carrier, consonance, gate)
        running = asyncio.create_task(queue.run())
        try:
            yield Desk(pool, ledger, queue, gate, stand, consonance)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
