"""The relay: what a transaction left in the outbox goes to Kafka, in order of id, and is deleted once acknowledged.

One process of a service relays at a time, by a session lock. A new holder waits out what a lost one may still deliver,
as a late copy of an old state must not overtake a newer one.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from aiokafka.errors import KafkaError

from shared.blame import AWAY
from shared.clock import machine_now
from shared.kafka import REFUSED, Leaving, Producer
from shared.postgres import Connection, connect, leave_read_only, lock_number
from shared.settings import ServiceSettings
from shared.telemetry import counter, get_logger, histogram
from shared.transaction import QUERIES, unpack

log = get_logger()
_ROUND_RECORDS = 1000
_ROUND_BYTES = 384 * 1024  # one batch of the producer per partition, so nothing of a round waits for the rest of it
_HOLD = timedelta(seconds=3)
_RENEW_SECONDS = 1.0
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_SESSION = {"idle_session_timeout": "10s"}  # a frozen holder loses the lock


class Relay:
    def __init__(self, settings: ServiceSettings, service: str, producer: Producer) -> None:
        self.relayed = 0
        self._settings = settings
        self._service = service
        self._producer = producer
        self._woken = asyncio.Event()
        self._held_until: datetime | None = None
        self._sending = False
        self._left = counter(f"stet_{service}_outbox_relayed_total", "Records relayed to Kafka")
        self._seconds = histogram(f"stet_{service}_outbox_round_seconds", "From reading a round to its deletion")

    async def run(self) -> None:
        """Forever: hold the lock, relay, start again when the database or the broker comes back."""
        while True:
            try:
                async with self._connected() as connection:
                    await self._hold(connection)
                    await self._relay(connection)
            except (KafkaError, asyncpg.PostgresError, *AWAY) as error:
                log.warning("relay.waits", error=type(error).__name__)
                await self._take_back()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _take_back(self) -> None:
        """The lock may be another's by now: nothing of ours may arrive any more."""
        if self._sending:
            await self._producer.renew()
            self._sending = False

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        connection = await connect(self._settings.postgres_dsn.get_secret_value(), self._service, **_SESSION)
        try:
            yield connection
        except asyncio.CancelledError:
            await self._release(connection)
            raise
        finally:
            connection.terminate()

    async def _release(self, connection: Connection) -> None:
        """Tell the next holder that there is nothing to wait for."""
        if self._held_until is not None and not self._sending:
            with suppress(asyncpg.PostgresError, *AWAY):
                await connection.execute(QUERIES.hold_relay, machine_now(), timeout=_RENEW_SECONDS)

    async def _hold(self, connection: Connection) -> None:
        self._held_until = None
        number = lock_number(f"stet/{self._service}/relay")
        while not await connection.fetchval("select pg_try_advisory_lock($1)", number):
            await asyncio.sleep(_POLL_SECONDS)
        until = await connection.fetchval(QUERIES.relay_held_until)
        left = 0.0 if until is None else min(until - machine_now(), _HOLD).total_seconds()
        if left > 0:
            log.info("relay.waits_out_holder", seconds=round(left, 1))
            await asyncio.sleep(left)
        await connection.add_listener(channel(self._service), lambda *_: self._woken.set())

    async def _relay(self, connection: Connection) -> None:
        while True:
            self._woken.clear()
            rows = await connection.fetch(QUERIES.next_to_leave, _ROUND_RECORDS, _ROUND_BYTES)
            if not rows:
                await self._sleep(connection)
            elif not await self._round(connection, rows):
                await asyncio.sleep(_RETRY_SECONDS)

    async def _sleep(self, connection: Connection) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._woken.wait()
        if connection.is_closed():
            raise asyncpg.InterfaceError("the relay's connection is closed")
        leave_read_only(connection)

    async def _renew(self, connection: Connection) -> None:
        """Show that we still hold the lock; raises when it is lost, or nobody answers soon enough."""
        now = machine_now()
        if (
            self._held_until is None
            or (self._held_until - now).total_seconds() < _HOLD.total_seconds() - _RENEW_SECONDS
        ):
            await connection.execute(QUERIES.hold_relay, now + _HOLD, timeout=_RENEW_SECONDS)
            self._held_until = now + _HOLD

    async def _round(self, connection: Connection, rows: Sequence[Any]) -> bool:
        """Send all, wait for all, delete what was acknowledged; whether that was all."""
        await self._renew(connection)
        with self._seconds.time():
            self._sending = True
            done, errors = _acknowledged(rows, await self._sent(connection, rows))
            self._sending = False
            await connection.execute(QUERIES.left, done)
        self.relayed += len(done)
        self._left.inc(len(done))
        if errors:
            log.error("relay.refused", records=len(rows) - len(done), errors=sorted({type(e).__name__ for e in errors}))
        return not errors

    async def _sent(self, connection: Connection, rows: Sequence[Any]) -> list[Any]:
        """Per row its future, done, or the error that kept it back."""
        prefix = self._settings.topic_prefix
        leaving = [Leaving(prefix + row["topic"], row["key"], row["value"], unpack(row["headers"])) for row in rows]
        results = await self._producer.send_all(leaving)
        pending = {result for result in results if isinstance(result, asyncio.Future)}
        for future in pending:
            future.add_done_callback(_look_at)
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_RENEW_SECONDS)
            if pending:
                await self._renew(connection)
        return results


def channel(service: str) -> str:
    """What a service's relay listens on; a trigger of its outbox speaks there."""
    return f"stet_outbox_{service}"


def _look_at(future: "asyncio.Future[Any]") -> None:
    """Whoever takes a round back does not ask its futures for their errors."""
    if not future.cancelled():
        future.exception()


def _acknowledged(rows: Sequence[Any], results: Sequence[Any]) -> tuple[list[int], list[BaseException]]:
    """The ids to delete: acknowledged, as is all of their key before them. Raises what is not one record's error."""
    done, errors, blocked = [], [], set()
    for row, result in zip(rows, results, strict=True):
        error = result.exception() if isinstance(result, asyncio.Future) else result
        if error is not None and not isinstance(error, REFUSED):
            raise error
        if error is not None:
            errors.append(error)
            blocked.add((row["topic"], row["key"]))
        elif (row["topic"], row["key"]) not in blocked:
            done.append(row["id"])
    return done, errors
