"""Writeback without Kafka: its worker on a real database, with the Consonance simulator behind a socket."""

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
from services.writeback.capabilities import Capabilities
from services.writeback.circuit_breaker import CircuitBreaker
from services.writeback.executor import WriteExecutor
from services.writeback.operation_mapping import load_mapping
from services.writeback.store import SERVICE, WriteStore, enqueue_writes
from services.writeback.worker import WriteWorker
from shared.clients.consonance_graphql import ConsonanceClient
from shared.contracts.envelope import Event
from shared.runtime.clock import SystemClock
from shared.runtime.postgres import Pool, connect, role_name
from tests.dev.consonance.simulator_under_test import KEY, SimulatorUnderTest, running_simulator

MAPPING = Path(services.writeback.__file__).parent / "mapping" / "extended.yaml"


@dataclass
class WritebackUnderTest:
    pool: Pool
    store: WriteStore
    worker: WriteWorker
    breaker: CircuitBreaker
    client: ConsonanceClient
    simulator: SimulatorUnderTest

    async def enqueue(self, *requests: Event) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await enqueue_writes(connection, requests)

    async def outcomes(self) -> list[str]:
        """The outcome in the type of every published event, in order: verified, conflict, … and approved."""
        return [event["type"].split(".")[-2] for event in await self.events()]

    async def events(self) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("select value from outbox order by id")
        return [orjson.loads(row["value"]) for row in rows]

    async def wait_for_outcomes(self, *outcomes: str) -> None:
        """Waits for exactly these; the time limit of the test ends a wait in vain."""
        await self.wait_until(lambda: self._has_published(len(outcomes)))
        assert await self.outcomes() == list(outcomes)

    async def _has_published(self, count: int) -> bool:
        return len(await self.outcomes()) >= count

    async def wait_until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        while not await condition():
            await asyncio.sleep(0.02)

    async def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request to the simulator's own control interface."""
        return await self.simulator.tell(method, path, body)

    async def mutation_log(self, operation: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = await self.control("GET", f"log?operation={operation}")
        return entries

    async def inject_fault(self, kind: str, **options: Any) -> None:
        await self.control("POST", "faults", {"kind": kind, **options})


def consonance_client(url: str, seconds: float) -> ConsonanceClient:
    return ConsonanceClient(url, KEY, timedelta(seconds=seconds), service=SERVICE, meanwhile="the queue is kept")


@asynccontextmanager
async def open_pool(dsn: str) -> AsyncIterator[Pool]:
    session = {"search_path": SERVICE, "role": role_name(SERVICE)}
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=10, server_settings=session)
    try:
        yield pool
    finally:
        pool.terminate()


@asynccontextmanager
async def running_writeback(
    dsn: str,
    *,
    profile: Profile = Profile.EXTENDED,
    request_seconds: float = 10.0,
    effect_window: float = 3.0,
    concurrency: int = 4,
) -> AsyncIterator[WritebackUnderTest]:
    """``effect_window`` is in seconds too."""
    async with (
        running_simulator(profile=profile) as simulator,
        consonance_client(f"{simulator.url}/graphql", request_seconds) as client,
        running_worker(dsn, simulator, client, timedelta(seconds=effect_window), concurrency) as writeback,
    ):
        yield writeback


@asynccontextmanager
async def running_worker(
    dsn: str, simulator: SimulatorUnderTest, client: ConsonanceClient, effect_window: timedelta, concurrency: int = 4
) -> AsyncIterator[WritebackUnderTest]:
    async with open_pool(dsn) as pool:
        store, breaker = WriteStore(pool, SystemClock()), CircuitBreaker(concurrency)
        executor = WriteExecutor(store, client, Capabilities(load_mapping(MAPPING)), effect_window)
        worker = WriteWorker(partial(connect, dsn, SERVICE), executor, breaker)
        running = asyncio.create_task(worker.run())
        try:
            yield WritebackUnderTest(pool, store, worker, breaker, client, simulator)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
