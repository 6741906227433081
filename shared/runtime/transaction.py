"""One PostgreSQL transaction with its outbox: what it publishes leaves if, and only if, it commits."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

import orjson

from shared.contracts.envelope import Event, trace_headers
from shared.contracts.errors import Unavailable, Unprocessable
from shared.contracts.topics import Topic, parked_topic
from shared.runtime.clock import Clock, machine_now
from shared.runtime.postgres import Connection, Pool, advisory_lock_key, load_queries

QUERIES = load_queries(__file__, "delivery.sql")
_OUTBOX = ("topic", "key", "value", "headers", "written_at")
_ROW_BYTES = 128  # a topic's name, an instant, and the lengths
_PORTION_BYTES = 400 * 1024  # asyncpg waits once it has half a mebibyte in hand
_Row = tuple[str, bytes | None, bytes, bytes | None, datetime]
_ENVELOPE_BYTES = 2048
"""Room for key, headers and Kafka's own bytes beside a value."""

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RecordOrigin:
    """Where a parked record came from: a place in Kafka, or the name of a door; ``event`` identifies what was read."""

    topic: str
    partition: int | None = None
    offset: int | None = None
    key: bytes | None = None
    headers: Headers = ()
    event: str | None = None


@dataclass(slots=True)
class Transaction:
    """``now`` is business time, the same for everything in it."""

    connection: Connection
    service: str
    now: datetime
    _leaving: list[tuple[str, bytes | None, bytes, bytes | None]] = field(default_factory=list)

    def publish(self, topic: Topic, event: Event) -> None:
        """To leave by outbox, in the order published; its key is the event's. Raises Unprocessable if too large."""
        value = event.to_bytes()
        if len(value) > topic.max_message_bytes - _ENVELOPE_BYTES:
            sentence = f"{event.type} of {len(value)} bytes does not fit into {topic.name}"
            raise Unprocessable(sentence, reason="too_large")
        self._leaving.append((topic.name, event.partitionkey.encode(), value, _packed_trace(event.traceparent)))

    def publish_raw(self, topic: str, key: bytes | None, value: bytes, headers: Headers = ()) -> None:
        self._leaving.append((topic, key, value, pack_headers(headers) if headers else None))

    async def park(self, raw: bytes, reason: str, sentence: str, origin: RecordOrigin) -> None:
        """Keep what could not be handled: a row an operator can replay, and a record on ``parked.<service>``."""
        sentence = sentence.replace("\0", "")
        number = await self.connection.fetchval(
            QUERIES.keep_parked, origin.topic, origin.partition, origin.offset, origin.event, origin.key, raw,
            pack_headers(origin.headers), reason, sentence, machine_now(),
        )  # fmt: skip
        if number is not None:
            told = {
                "parked-id": number, "reason": reason, "sentence": sentence, "topic": origin.topic,
                "partition": origin.partition, "offset": origin.offset,
            }  # fmt: skip
            headers = [(f"stet-{name}", str(value).encode()) for name, value in told.items()]
            self.publish_raw(parked_topic(self.service).name, origin.key, raw, [*origin.headers, *headers])

    async def flush(self) -> None:
        """Write the outbox, in the order published, which wakes the relay; called once, last."""
        now = machine_now()
        rows = [(*leaving, now) for leaving in self._leaving]
        for some in _portions(rows):
            await self.connection.copy_records_to_table("outbox", records=some, columns=_OUTBOX)
        self._leaving.clear()


def _portions(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """What asyncpg sends without waiting for room: neither a timeout nor a lost connection would end that wait."""
    begin, size = 0, 0
    for place, (_, key, value, headers, _) in enumerate(rows):
        more = len(key or b"") + len(value) + len(headers or b"") + _ROW_BYTES
        if place > begin and size + more > _PORTION_BYTES:
            yield rows[begin:place]
            begin, size = place, 0
        size += more
    if rows:
        yield rows[begin:]


def pack_headers(headers: Headers) -> bytes:
    """Kafka's headers as bytes for one column; their values are bytes of any kind."""
    return orjson.dumps([(name, (value or b"").decode("latin-1")) for name, value in headers])


@lru_cache(maxsize=1024)
def _packed_trace(traceparent: str | None) -> bytes | None:
    """What follows from one event has its trace."""
    return pack_headers(trace_headers(traceparent)) if traceparent else None


def unpack_headers(packed: bytes | None) -> list[tuple[str, bytes]]:
    return [(name, value.encode("latin-1")) for name, value in orjson.loads(packed)] if packed else []


class SharedLock(str):
    """The name of a lock that others may hold at the same time, if they share it too."""

    __slots__ = ()


class LocksBusy(Unavailable):
    """Somebody holds one of the locks ``names``: roll back, wait for them before anything else, and do it again."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__("somebody else is at work on one of these")
        self.names = frozenset(names)


async def acquire_locks(connection: Connection, service: str, names: Iterable[str]) -> None:
    """Advisory locks until the transaction ends, in one order for everybody; another service's names are others."""
    if locks := _locks(service, names):
        await connection.execute(QUERIES.lock_names, *zip(*locks, strict=True))


async def try_acquire_locks(connection: Connection, service: str, names: Iterable[str]) -> None:
    """The same, for whoever holds rows already and must not wait. Raises LocksBusy."""
    names = list(names)
    locks = _locks(service, names)
    if locks and not await connection.fetchval(QUERIES.try_names, *zip(*locks, strict=True)):
        raise LocksBusy(names)


def _locks(service: str, names: Iterable[str]) -> list[tuple[int, bool]]:
    """Sorted numbers, and whether each is shared: one that is also asked for alone is not."""
    locks: dict[int, bool] = {}
    for name in names:
        number = advisory_lock_key(f"{service}:{name}")
        locks[number] = isinstance(name, SharedLock) and locks.get(number, True)
    return sorted(locks.items())


@asynccontextmanager
async def transaction(
    pool: Pool, clock: Clock, service: str, *, locks: Iterable[str] = ()
) -> AsyncIterator[Transaction]:
    """For doors, timers and loops: commits on leaving, rolls back on an error."""
    async with pool.acquire() as connection, connection.transaction():
        await acquire_locks(connection, service, locks)
        tx = Transaction(connection, service, clock.now())
        yield tx
        await tx.flush()
