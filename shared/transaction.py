"""One PostgreSQL transaction with its outbox: what it publishes leaves if, and only if, it commits."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from shared.clock import Clock, machine_now
from shared.events.envelope import Event
from shared.postgres import Connection, Pool, load_queries, lock_number
from shared.topics import Topic, parked

QUERIES = load_queries(__file__, "delivery.sql")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a parked record came from: a place in Kafka, or the name of a door."""

    topic: str
    partition: int | None = None
    offset: int | None = None
    key: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Transaction:
    """``now`` is business time, the same for everything in it."""

    connection: Connection
    service: str
    now: datetime
    _leaving: list[tuple[str, bytes | None, bytes, str | None]] = field(default_factory=list)

    def publish(self, topic: Topic, event: Event) -> None:
        """To leave by outbox, in the order published; the key is the event's partitionkey."""
        self.publish_raw(topic.name, event.partitionkey.encode(), event.to_bytes())

    def publish_raw(
        self, topic: str, key: bytes | None, value: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self._leaving.append((topic, key, value, orjson.dumps(dict(headers)).decode() if headers else None))

    async def park(self, raw: bytes, reason: str, sentence: str, origin: Origin) -> None:
        """Keep what could not be handled: a row an operator can replay, and a record on ``parked.<service>``."""
        at = machine_now()
        headers = orjson.dumps(dict(origin.headers)).decode()
        number = await self.connection.fetchval(
            QUERIES.keep_parked, origin.topic, origin.partition, origin.offset, origin.key, raw, headers, reason,
            sentence, at,
        )  # fmt: skip
        told = {
            "parked-id": str(number), "reason": reason, "sentence": sentence, "topic": origin.topic,
            "partition": str(origin.partition), "offset": str(origin.offset),
        }  # fmt: skip
        self.publish_raw(parked(self.service).name, origin.key, raw, {**origin.headers, **told})

    async def flush(self) -> None:
        """Write the outbox in one statement and wake the relay; called once, last."""
        if not self._leaving:
            return
        topics, keys, values, headers = map(list, zip(*self._leaving, strict=True))
        await self.connection.execute(QUERIES.leave, topics, keys, values, headers, machine_now())
        await self.connection.execute(QUERIES.wake, channel(self.service))
        self._leaving.clear()


def channel(service: str) -> str:
    """What a relay listens on."""
    return f"stet_outbox_{service}"


async def take_locks(connection: Connection, names: Iterable[str]) -> None:
    numbers = sorted({lock_number(name) for name in names})
    if numbers:
        await connection.execute(QUERIES.lock_names, numbers)


@asynccontextmanager
async def transaction(
    pool: Pool, clock: Clock, service: str, *, locks: Iterable[str] = ()
) -> AsyncIterator[Transaction]:
    """For doors, timers and loops: commits on leaving, rolls back on an error."""
    async with pool.acquire() as connection, connection.transaction():
        await take_locks(connection, locks)
        tx = Transaction(connection, service, clock.now())
        yield tx
        await tx.flush()
