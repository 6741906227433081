"""The relay: what a transaction left in the outbox goes to Kafka, in order of id, and is deleted once acknowledged.

A record the broker will never take is parked, and a topic it refuses is left for a while: neither holds up the others.

One process of a service relays at a time, by a session lock. A new holder waits out what a lost one may still deliver,
as a late copy of an old state must not overtake a newer one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from aiokafka.errors import KafkaError, KafkaTimeoutError

from shared.contracts.errors import Malformed
from shared.runtime.clock import machine_now
from shared.runtime.failures import TRANSIENT_ERRORS
from shared.runtime.kafka import RECORD_REFUSED, TOPIC_REFUSED, OutgoingRecord, Producer
from shared.runtime.postgres import Connection, advisory_lock_key, connect, raise_if_read_only
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import counter, gauge, get_logger, histogram, parked_counter
from shared.runtime.transaction import QUERIES, pack_headers, unpack_headers

log = get_logger()
_ROUND_RECORDS = 1000
_ROUND_BYTES = 384 * 1024  # one batch of the producer per partition, so nothing of a round waits for the rest of it
_HOLD = timedelta(seconds=3)
_RENEW_SECONDS = 1.0
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_ROUND_SECONDS = 30.0
_TOPIC_SECONDS = 10.0
_REASON = "refused_by_broker"
_OF_A_RECORD = (*RECORD_REFUSED, Malformed)
_REFUSED = (*_OF_A_RECORD, *TOPIC_REFUSED)
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
        self._held_topics: dict[str, float] = {}
        self._left = counter(f"stet_{service}_outbox_relayed_total", "Records relayed to Kafka")
        self._parked = parked_counter(service)
        self._held = gauge(f"stet_{service}_outbox_topics_held", "Topics that refuse records of the outbox, which wait")
        self._seconds = histogram(f"stet_{service}_outbox_round_seconds", "From reading a round to its deletion")

    async def run(self) -> None:
        """Forever: hold the lock, relay, start again when the database or the broker comes back."""
        while True:
            await self._take_back()
            try:
                async with self._connected() as connection:
                    await self._hold(connection)
                    await self._relay(connection)
            except (KafkaError, asyncpg.PostgresError, *TRANSIENT_ERRORS) as error:
                log.warning("relay.waits", error=type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _take_back(self) -> None:
        """After any error the lock may be another's: nothing of ours may arrive any more."""
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
            with suppress(asyncpg.PostgresError, *TRANSIENT_ERRORS):
                await connection.execute(QUERIES.hold_relay, machine_now(), timeout=_RENEW_SECONDS)

    async def _hold(self, connection: Connection) -> None:
        self._held_until = None
        number = advisory_lock_key(f"stet/{self._service}/relay")
        while not await connection.fetchval("select pg_try_advisory_lock($1)", number):
            await asyncio.sleep(_POLL_SECONDS)
        until = await connection.fetchval(QUERIES.relay_held_until)
        left = 0.0 if until is None else min(until - machine_now(), _HOLD).total_seconds()
        if left > 0:
            log.info("relay.waits_out_holder", seconds=round(left, 1))
            await asyncio.sleep(left)
        await connection.add_listener(outbox_channel(self._service), lambda *_: self._woken.set())

    async def _relay(self, connection: Connection) -> None:
        while True:
            self._woken.clear()
            rows = await connection.fetch(QUERIES.next_to_leave, _ROUND_RECORDS, _ROUND_BYTES, self._held_now())
            if not rows:
                await self._sleep(connection)
            else:
                await self._round(connection, rows)

    async def _sleep(self, connection: Connection) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._woken.wait()
        if connection.is_closed():
            raise asyncpg.InterfaceError("the relay's connection is closed")
        raise_if_read_only(connection)

    async def _renew(self, connection: Connection) -> None:
        """Show that we still hold the lock; raises when it is lost, or nobody answers soon enough."""
        now = machine_now()
        if (
            self._held_until is None
            or (self._held_until - now).total_seconds() < _HOLD.total_seconds() - _RENEW_SECONDS
        ):
            await connection.execute(QUERIES.hold_relay, now + _HOLD, timeout=_RENEW_SECONDS)
            self._held_until = now + _HOLD

    async def _round(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Send all, wait for all, delete what was acknowledged; then look one by one at what the broker refused."""
        await self._renew(connection)
        with self._seconds.time():
            self._sending = True
            results = _errors_of(await self._sent(connection, rows))
            if not any(isinstance(error, _REFUSED) for error in results):
                _raise_first(results)
            await self._leave(
                connection, [row["id"] for row, error in zip(rows, results, strict=True) if error is None]
            )
            failed = [(row, error) for row, error in zip(rows, results, strict=True) if error is not None]
            self._hold_topics({row["topic"] for row, error in failed if isinstance(error, TOPIC_REFUSED)})
            again = [row for row, _ in failed if row["topic"] not in self._held_topics]
            if again:
                await self._producer.renew()  # the broker expects the numbers of what it refused
            for row in again:
                await self._one(connection, row)
            self._sending = False

    async def _one(self, connection: Connection, row: Any) -> None:
        """By itself, so that the record the broker refuses is told from those that only travelled with it."""
        (error,) = _errors_of(await self._sent(connection, [row]))
        if error is None:
            await self._leave(connection, [row["id"]])
        elif isinstance(error, _OF_A_RECORD):
            await self._producer.renew()
            await self._park(connection, row, error)
        else:
            raise error

    async def _leave(self, connection: Connection, done: Sequence[int]) -> None:
        await connection.execute(QUERIES.left, done)
        self.relayed += len(done)
        self._left.inc(len(done))

    async def _park(self, connection: Connection, row: Any, error: BaseException) -> None:
        """Among the parked, where it can be replayed; the others of its key go on."""
        sentence = f"{type(error).__name__}: {row['topic']} will never take it"
        async with connection.transaction():
            await connection.fetchval(
                QUERIES.keep_parked, row["topic"], None, None, None, row["key"], row["value"],
                row["headers"] or pack_headers(()), _REASON, sentence, machine_now(),
            )  # fmt: skip
            await connection.execute(QUERIES.left, [row["id"]])
        self._parked.labels(_REASON).inc()
        log.error("relay.parked", topic=row["topic"], error=type(error).__name__, bytes=len(row["value"]))

    def _hold_topics(self, topics: set[str]) -> None:
        for topic in topics:
            log.error("relay.topic_refused", topic=topic, seconds=_TOPIC_SECONDS)
            self._held_topics[topic] = time.monotonic() + _TOPIC_SECONDS

    def _held_now(self) -> list[str]:
        now = time.monotonic()
        self._held_topics = {topic: until for topic, until in self._held_topics.items() if until > now}
        self._held.set(len(self._held_topics))
        return list(self._held_topics)

    async def _sent(self, connection: Connection, rows: Sequence[Any]) -> list[Any]:
        """Per row its future, done, or the error that kept it back."""
        leaving = [self._leaving(row) for row in rows]
        sent = iter(await self._producer.send_all([one for one in leaving if isinstance(one, OutgoingRecord)]))
        results = [next(sent) if isinstance(one, OutgoingRecord) else one for one in leaving]
        pending = {result for result in results if isinstance(result, asyncio.Future)}
        for future in pending:
            future.add_done_callback(_look_at)
        until = time.monotonic() + _ROUND_SECONDS
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_RENEW_SECONDS)
            if pending:
                await self._renew(connection)
            if pending and time.monotonic() > until:
                raise KafkaTimeoutError("the broker takes nothing, or some topic is gone")
        return results

    def _leaving(self, row: Any) -> OutgoingRecord | Malformed:
        try:
            headers = unpack_headers(row["headers"])
        except ValueError:
            return Malformed("its headers cannot be read")
        return OutgoingRecord(self._settings.topic_prefix + row["topic"], row["key"], row["value"], headers)


def outbox_channel(service: str) -> str:
    """What a service's relay listens on; a trigger of its outbox speaks there."""
    return f"stet_outbox_{service}"


def _look_at(future: "asyncio.Future[Any]") -> None:
    """Whoever takes a round back does not ask its futures for their errors."""
    if not future.cancelled():
        future.exception()


def _errors_of(results: Sequence[Any]) -> list[BaseException | None]:
    return [result.exception() if isinstance(result, asyncio.Future) else result for result in results]


def _raise_first(errors: Sequence[BaseException | None]) -> None:
    """What is not one record's or one topic's error is the broker's, or ours."""
    for error in errors:
        if error is not None:
            raise error
