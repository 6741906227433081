"""The relay: what a transaction left in the outbox goes to Kafka, in order of id, and is deleted once acknowledged.

One process of a service relays at a time, by a session lock. A new holder waits out what a lost one may still deliver.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.batch import AWAY
from shared.clock import machine_now
from shared.kafka import DELIVERY_SECONDS
from shared.postgres import Connection, lock_number, role_of
from shared.settings import ServiceSettings
from shared.telemetry import counter, gauge, get_logger
from shared.transaction import QUERIES, channel

log = get_logger()
_ROUND = 500
_HOLD = timedelta(seconds=DELIVERY_SECONDS + 1)
_RENEW = timedelta(seconds=DELIVERY_SECONDS / 2)
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 0.5


class Relay:
    def __init__(self, settings: ServiceSettings, service: str, producer: AIOKafkaProducer) -> None:
        self.relayed = 0
        self._settings = settings
        self._service = service
        self._producer = producer
        self._woken = asyncio.Event()
        self._held_until: datetime | None = None
        self._left = counter(f"stet_{service}_outbox_relayed_total", "Records relayed to Kafka")
        self._depth = gauge(f"stet_{service}_outbox_rows", "Records waiting to leave")
        self._age = gauge(f"stet_{service}_outbox_oldest_seconds", "Age of the oldest record waiting to leave")

    async def run(self) -> None:
        """Forever: hold the lock, relay, start again when the database or the broker comes back."""
        while True:
            try:
                async with self._connected() as connection:
                    await self._hold(connection)
                    await self._relay(connection)
            except (KafkaError, asyncpg.PostgresError, *AWAY) as error:
                log.warning("relay.waits", error=type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        connection = await asyncpg.connect(
            self._settings.postgres_dsn.get_secret_value(),
            command_timeout=30,
            server_settings={"search_path": self._service, "role": role_of(self._service)},
        )
        try:
            yield connection
            await connection.execute(QUERIES.hold_relay, machine_now())
        except asyncio.CancelledError:
            with suppress(Exception):
                await asyncio.shield(connection.execute(QUERIES.hold_relay, machine_now()))
            raise
        finally:
            connection.terminate()

    async def _hold(self, connection: Connection) -> None:
        number = lock_number(f"stet/{self._service}/relay")
        while not await connection.fetchval("select pg_try_advisory_lock($1)", number):
            await asyncio.sleep(_POLL_SECONDS)
        until = await connection.fetchval(QUERIES.relay_held_until)
        left = (until - machine_now()).total_seconds() if until is not None else 0.0
        if left > 0:
            log.info("relay.waits_out_holder", seconds=round(left, 1))
            await asyncio.sleep(min(left, _HOLD.total_seconds()))
        self._held_until = None
        await connection.add_listener(channel(self._service), lambda *_: self._woken.set())

    async def _relay(self, connection: Connection) -> None:
        while True:
            self._woken.clear()
            rows = await connection.fetch(QUERIES.next_to_leave, _ROUND)
            if rows:
                await self._renew(connection)
                await self._round(connection, rows)
            else:
                await self._idle(connection)

    async def _idle(self, connection: Connection) -> None:
        self._depth.set(0)
        self._age.set(0)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), _POLL_SECONDS)
        if connection.is_closed():
            raise asyncpg.InterfaceError("the relay's connection is closed")

    async def _renew(self, connection: Connection) -> None:
        now = machine_now()
        if self._held_until is None or self._held_until - now < _RENEW + timedelta(seconds=DELIVERY_SECONDS / 2):
            self._held_until = now + _HOLD
            await connection.execute(QUERIES.hold_relay, self._held_until)

    async def _round(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Send all, wait for all, delete what was acknowledged and has nothing unacknowledged of its key before it."""
        futures = [await self._send(row) for row in rows]
        results = await asyncio.gather(*futures, return_exceptions=True)
        failed = {row["key"] for row, result in zip(rows, results, strict=True) if isinstance(result, BaseException)}
        errors = {type(result).__name__ for result in results if isinstance(result, BaseException)}
        done = [row["id"] for row in rows if row["key"] not in failed]
        if done:
            await connection.execute(QUERIES.left, done)
            self.relayed += len(done)
            self._left.inc(len(done))
        if failed:
            log.warning("relay.unacknowledged", records=len(rows) - len(done), errors=sorted(errors))
            await self._measure(connection)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _send(self, row: Any) -> Any:
        headers = [(name, value.encode()) for name, value in orjson.loads(row["headers"] or "{}").items()]
        return await self._producer.send(
            self._settings.topic_prefix + row["topic"], value=row["value"], key=row["key"], headers=headers
        )

    async def _measure(self, connection: Connection) -> None:
        state = await connection.fetchrow(QUERIES.outbox_state)
        self._depth.set(state["waiting"])
        oldest = state["oldest"]
        self._age.set((machine_now() - oldest).total_seconds() if oldest else 0)
