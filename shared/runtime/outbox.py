"""The transactional outbox: a ``Transaction`` writes what it publishes into a table, and the ``Relay`` sends it on.

Records of a transaction are sent if, and only if, it commits. The relay sends in the order of ids, decisions last, and
deletes what the broker acknowledged. A record that the broker will never take is parked, and a topic that it refuses is
left alone for a while: neither holds up the others. One process of a service relays at a time. A new leader first waits
until no record of the last one can still arrive: a late copy of an old state must not overtake a newer one.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import asyncpg
import orjson
from aiokafka.errors import KafkaError, KafkaTimeoutError

from shared.contracts.envelope import Event, trace_headers
from shared.contracts.errors import Malformed, Unprocessable
from shared.contracts.topics import DECISIONS, SERVICES, Topic, parked_topic
from shared.runtime.clock import Clock, machine_now
from shared.runtime.failures import TRANSIENT_ERRORS, FailureLog
from shared.runtime.kafka import RECORD_REFUSED, TOPIC_REFUSED, OutgoingRecord, Producer
from shared.runtime.leader import LeaderLease
from shared.runtime.metrics import Metrics, Replicas, label
from shared.runtime.postgres import Connection, Pool, acquire_locks, connect, load_queries, raise_if_read_only
from shared.runtime.retry import Backoff
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import get_logger
from shared.runtime.tracing import database_span, publish_span, traceparent_in

log = get_logger()
QUERIES = load_queries(__file__, "delivery.sql")

_metrics = Metrics.of(*SERVICES)
PARKING_REASON = label(
    "reason", description="why: `malformed`, `newer_kind`, `too_large`, `unexpected` and a few more words of the code"
)
RECORDS_PARKED = _metrics.counter("stet_records_parked_total", "Records parked.", PARKING_REASON)
_RELAYED = _metrics.counter("stet_outbox_records_relayed_total", "Records relayed to Kafka.")
_BLOCKED_TOPICS = _metrics.gauge(
    "stet_outbox_blocked_topics", "Topics that refuse records of the outbox, which wait.", replicas=Replicas.SUM
)
_ROUND_DURATION = _metrics.histogram(
    "stet_outbox_round_duration_seconds", "Time from reading a round of records to deleting it, once Kafka has them."
)

Headers = Sequence[tuple[str, bytes]]


# ------------------------------------------------------------------ write

_Row = tuple[str, bytes | None, bytes, bytes | None, datetime]
_COLUMNS = ("topic", "key", "value", "headers", "written_at")
_ROW_BYTES = 128  # a topic's name, an instant, and the lengths
_COPY_BYTES = 400 * 1024  # asyncpg waits for room once half a mebibyte is unsent
_ENVELOPE_BYTES = 2048
"""Room for key, headers and Kafka's own bytes beside a value."""


@dataclass(frozen=True, slots=True)
class RecordOrigin:
    """Where a parked record came from: a place in Kafka, or the name of an HTTP route; ``event`` is the event's id."""

    topic: str
    partition: int | None = None
    offset: int | None = None
    key: bytes | None = None
    headers: Headers = ()
    event: str | None = None


@dataclass(slots=True)
class Transaction:
    """An open database transaction. ``now`` is business time, the same for everything that it decides.

    Without a ``clock`` it never changes.
    """

    connection: Connection
    service: str
    now: datetime
    clock: Clock | None = None
    _outgoing: list[tuple[str, bytes | None, bytes, bytes | None]] = field(default_factory=list)
    _on_commit: list[Callable[[], None]] = field(default_factory=list)

    def read_clock(self) -> None:
        """Read ``now`` again, once all rows are locked that a decision depends on. After a wait for them, the decision
        is then not earlier than that of the other transaction.
        """
        if self.clock is not None:
            self.now = self.clock.now()

    def on_commit(self, act: Callable[[], None]) -> None:
        """Act once this is committed; for metrics, which must not count what is rolled back and done again."""
        self._on_commit.append(act)

    def committed(self) -> None:
        """Called after the commit by the code that opened the transaction."""
        for act in self._on_commit:
            act()

    def publish(self, topic: Topic, event: Event) -> None:
        """Publish an event, in the order of calls, under its own key. Raises Unprocessable if it is too large."""
        value = event.to_bytes()
        if len(value) > topic.max_message_bytes - _ENVELOPE_BYTES:
            sentence = f"{event.type} of {len(value)} bytes does not fit into {topic.name}"
            raise Unprocessable(sentence, reason="too_large")
        self._outgoing.append((topic.name, event.partitionkey.encode(), value, _packed_trace(event.traceparent)))

    def publish_raw(self, topic: str, key: bytes | None, value: bytes, headers: Headers = ()) -> None:
        self._outgoing.append((topic, key, value, pack_headers(headers) if headers else None))

    async def park(self, raw: bytes, reason: str, sentence: str, origin: RecordOrigin) -> None:
        """Park a record that could not be handled: as a row that an operator can replay, and as a record on
        ``parked.<service>``.
        """
        sentence = sentence.replace("\0", "")
        number = await self.connection.fetchval(
            QUERIES.insert_parked, origin.topic, origin.partition, origin.offset, origin.event, origin.key, raw,
            pack_headers(origin.headers), reason, sentence, machine_now(),
        )  # fmt: skip
        if number is not None:
            fields = {
                "parked-id": number,
                "reason": reason,
                "sentence": sentence,
                "topic": origin.topic,
                "partition": origin.partition,
                "offset": origin.offset,
            }
            headers = [(f"stet-{name}", str(value).encode()) for name, value in fields.items()]
            self.publish_raw(parked_topic(self.service).name, origin.key, raw, [*origin.headers, *headers])

    async def flush(self) -> None:
        """Write the outbox, in the order published, which wakes the relay; called once, last."""
        now = machine_now()
        rows = [(*outgoing, now) for outgoing in self._outgoing]
        for some in _copy_portions(rows):
            await self.connection.copy_records_to_table("outbox", records=some, columns=_COLUMNS)
        self._outgoing.clear()


@asynccontextmanager
async def transaction(
    pool: Pool, clock: Clock, service: str, *, locks: Iterable[str] = ()
) -> AsyncIterator[Transaction]:
    """A transaction of an HTTP route, a timer or a loop; commits at its end, rolls back on an error."""
    with database_span(service):
        async with pool.acquire() as connection, connection.transaction():
            await acquire_locks(connection, service, locks)
            tx = Transaction(connection, service, clock.now(), clock)
            yield tx
            await tx.flush()
    tx.committed()


def pack_headers(headers: Headers) -> bytes:
    """Kafka's headers as bytes for one column; their values are bytes of any kind."""
    return orjson.dumps([(name, (value or b"").decode("latin-1")) for name, value in headers])


def unpack_headers(packed: bytes | None) -> list[tuple[str, bytes]]:
    """Raises ValueError for bytes that ``pack_headers`` did not make."""
    return [(name, value.encode("latin-1")) for name, value in orjson.loads(packed)] if packed else []


@lru_cache(maxsize=1024)
def _packed_trace(traceparent: str | None) -> bytes | None:
    """Cached: all events that follow from one event have its trace."""
    return pack_headers(trace_headers(traceparent)) if traceparent else None


def _copy_portions(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Rows that asyncpg sends without waiting for room: neither a timeout nor a lost connection would end that wait."""
    begin, size = 0, 0
    for index, (_, key, value, headers, _) in enumerate(rows):
        more = len(key or b"") + len(value) + len(headers or b"") + _ROW_BYTES
        if index > begin and size + more > _COPY_BYTES:
            yield rows[begin:index]
            begin, size = index, 0
        size += more
    if rows:
        yield rows[begin:]


# ------------------------------------------------------------------ relay

_ROUND_RECORDS = 1000
_ROUND_BYTES = 384 * 1024  # one batch of the producer per partition, so that no part of a round waits for another
_DELIVERY_WINDOW = timedelta(seconds=3)
_RENEW_SECONDS = 1.0
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_ROUND_SECONDS = 30.0
_TOPIC_BACKOFF = Backoff(first=0.25, longest=10.0, jitter=0.0)
"""Between attempts at a topic that is refused: a broker that comes back from an outage refuses some for a moment."""

_PARKING_REASON = "refused_by_broker"
_RECORD_ERRORS = (*RECORD_REFUSED, Malformed)
_REFUSALS = (*_RECORD_ERRORS, *TOPIC_REFUSED)
_SESSION = {"idle_session_timeout": "10s"}  # a frozen leader loses the lock


class Relay:
    """Sends the outbox of one service to Kafka, in one process of the service at a time."""

    def __init__(self, settings: ServiceSettings, service: str, producer: Producer) -> None:
        self.relayed = 0
        self._topic_prefix = settings.topic_prefix
        self._service = service
        self._producer = producer
        session = partial(connect, settings.dsn, service, **_SESSION)
        self._lease = LeaderLease(f"stet/{service}/relay", session, _POLL_SECONDS, task="relay")
        self._woken = asyncio.Event()
        self._held_until: datetime | None = None
        self._sending = False
        self._blocked_topics: dict[str, float] = {}
        self._refusals: Counter[str] = Counter()
        self._failures = FailureLog("relay.retried")

    async def run(self) -> None:
        """Become the leader and relay, and start again when the database or the broker comes back; for ever."""
        while True:
            await self._discard_unacknowledged()
            try:
                async with self._lease.held() as connection:
                    await self._lead(connection)
            except (KafkaError, asyncpg.PostgresError, *TRANSIENT_ERRORS) as error:
                self._failures.warn(error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _discard_unacknowledged(self) -> None:
        """After any error another process may lead: nothing that this one sent may arrive any more."""
        if self._sending:
            await self._producer.restart()
            self._sending = False

    async def _lead(self, connection: Connection) -> None:
        try:
            await self._await_predecessor(connection)
            await self._relay(connection)
        except asyncio.CancelledError:
            await self._release(connection)
            raise
        finally:
            _BLOCKED_TOPICS.set(0)  # the next leader says which are refused

    async def _await_predecessor(self, connection: Connection) -> None:
        self._held_until = None
        until = await connection.fetchval(QUERIES.relay_held_until)
        left = 0.0 if until is None else min(until - machine_now(), _DELIVERY_WINDOW).total_seconds()
        if left > 0:
            log.info("relay.delayed", seconds=round(left, 1))
            await asyncio.sleep(left)
        await connection.add_listener(outbox_channel(self._service), lambda *_: self._woken.set())

    async def _release(self, connection: Connection) -> None:
        """Record that the next leader has nothing to wait for."""
        if self._held_until is not None and not self._sending:
            with suppress(asyncpg.PostgresError, *TRANSIENT_ERRORS):
                await connection.execute(QUERIES.hold_relay, machine_now(), timeout=_RENEW_SECONDS)

    async def _relay(self, connection: Connection) -> None:
        while True:
            self._woken.clear()
            blocked = self._blocked_now()
            rows = await connection.fetch(QUERIES.fetch_outbox, _ROUND_RECORDS, _ROUND_BYTES, blocked)
            if not rows:
                await self._sleep(connection)
            else:
                await self._send_round(connection, rows)

    async def _sleep(self, connection: Connection) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._woken.wait()
        if connection.is_closed():
            raise asyncpg.InterfaceError("the relay's connection is closed")
        raise_if_read_only(connection)

    async def _renew(self, connection: Connection) -> None:
        """Prove that this process still leads; raises where it does not, or PostgreSQL does not answer in time.

        A remaining time that is longer than the window is no proof: a clock was set back, and the lease would be held
        for ever.
        """
        now = machine_now()
        left = timedelta() if self._held_until is None else self._held_until - now
        if not _DELIVERY_WINDOW - timedelta(seconds=_RENEW_SECONDS) <= left <= _DELIVERY_WINDOW:
            await connection.execute(QUERIES.hold_relay, now + _DELIVERY_WINDOW, timeout=_RENEW_SECONDS)
            self._held_until = now + _DELIVERY_WINDOW

    async def _send_round(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Send all, wait for all, delete what was acknowledged; then send one by one what the broker refused."""
        await self._renew(connection)
        with _ROUND_DURATION.time():
            self._sending = True
            results = _errors_of(await self._send(connection, rows))
            if not any(isinstance(error, _REFUSALS) for error in results):
                _raise_first(results)
            pairs = list(zip(rows, results, strict=True))
            await self._delete(connection, [row["id"] for row, error in pairs if error is None])
            failed = [(row, error) for row, error in pairs if error is not None]
            self._block_topics({row["topic"] for row, error in failed if isinstance(error, TOPIC_REFUSED)})
            for topic in {row["topic"] for row, error in pairs if error is None}:
                self._refusals.pop(topic, None)
            again = [row for row, _ in failed if row["topic"] not in self._blocked_topics]
            if again:
                await self._producer.restart()  # the broker expects the sequence numbers of what it refused
            for row in again:
                await self._send_one(connection, row)
            self._sending = False

    async def _send_one(self, connection: Connection, row: Any) -> None:
        """Alone, so that the record the broker refuses is told from those that were only in its batch."""
        (error,) = _errors_of(await self._send(connection, [row]))
        if error is None:
            await self._delete(connection, [row["id"]])
        elif isinstance(error, _RECORD_ERRORS):
            await self._producer.restart()
            await self._park(connection, row, error)
        else:
            raise error

    async def _delete(self, connection: Connection, ids: Sequence[int]) -> None:
        await connection.execute(QUERIES.delete_relayed, ids)
        self.relayed += len(ids)
        _RELAYED.inc(len(ids))

    async def _park(self, connection: Connection, row: Any, error: BaseException) -> None:
        """Park a record, from where it can be replayed; the others of its key are sent on."""
        sentence = f"{type(error).__name__}: {row['topic']} will never take it"
        async with connection.transaction():
            await connection.fetchval(
                QUERIES.insert_parked, row["topic"], None, None, None, row["key"], row["value"],
                row["headers"] or pack_headers(()), _PARKING_REASON, sentence, machine_now(),
            )  # fmt: skip
            await connection.execute(QUERIES.delete_relayed, [row["id"]])
        RECORDS_PARKED.labels(_PARKING_REASON).inc()
        log.error("relay.parked", topic=row["topic"], error=type(error).__name__, bytes=len(row["value"]))

    def _block_topics(self, topics: set[str]) -> None:
        for topic in topics:
            self._refusals[topic] += 1
            seconds = _TOPIC_BACKOFF.wait(self._refusals[topic])
            log.error("topic.refused", topic=topic, seconds=seconds)
            self._blocked_topics[topic] = time.monotonic() + seconds

    def _blocked_now(self) -> list[str]:
        now = time.monotonic()
        self._blocked_topics = {topic: until for topic, until in self._blocked_topics.items() if until > now}
        _BLOCKED_TOPICS.set(len(self._blocked_topics))
        return list(self._blocked_topics)

    async def _send(self, connection: Connection, rows: Sequence[Any]) -> list[Any]:
        """Send the rows; returns for each its finished future, or the error that kept it back. Decisions go once all
        others have arrived.

        So a reader of a decision finds the commands that it names in their topics already, but for those of a topic
        that the broker refuses.
        """
        results: dict[int, Any] = {}
        for stage in _stages(rows):
            failure = next((each for each in _errors_of(list(results.values())) if _is_general(each)), None)
            found = [failure] * len(stage) if failure is not None else await self._send_together(connection, stage)
            results |= zip((row["id"] for row in stage), found, strict=True)
        return [results[row["id"]] for row in rows]

    async def _send_together(self, connection: Connection, rows: Sequence[Any]) -> list[Any]:
        outgoing = [self._outgoing(row) for row in rows]
        traces = [traceparent_in(one.headers) for one in outgoing if isinstance(one, OutgoingRecord)]
        with publish_span({row["topic"] for row in rows}, traces, len(rows)):
            return await self._send_and_wait(connection, outgoing)

    async def _send_and_wait(self, connection: Connection, outgoing: Sequence[OutgoingRecord | Malformed]) -> list[Any]:
        sent = iter(await self._producer.send_all([one for one in outgoing if isinstance(one, OutgoingRecord)]))
        results = [next(sent) if isinstance(one, OutgoingRecord) else one for one in outgoing]
        pending = {result for result in results if isinstance(result, asyncio.Future)}
        for future in pending:
            future.add_done_callback(_retrieve_exception)
        until = time.monotonic() + _ROUND_SECONDS
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_RENEW_SECONDS)
            if pending:
                await self._renew(connection)
            if pending and time.monotonic() > until:
                raise KafkaTimeoutError("the broker takes nothing, or some topic is gone")
        return results

    def _outgoing(self, row: Any) -> OutgoingRecord | Malformed:
        try:
            headers = unpack_headers(row["headers"])
        except ValueError:
            return Malformed("its headers cannot be read")
        return OutgoingRecord(self._topic_prefix + row["topic"], row["key"], row["value"], headers)


def _stages(rows: Sequence[Any]) -> list[list[Any]]:
    """The rows that are sent together: commands and reports first, then the decisions that name them."""
    decisions = [row for row in rows if row["topic"] == DECISIONS.name]
    others = [row for row in rows if row["topic"] != DECISIONS.name]
    return [stage for stage in (others, decisions) if stage]


def _is_general(error: BaseException | None) -> bool:
    """An error of neither one record nor one topic."""
    return error is not None and not isinstance(error, _REFUSALS)


def outbox_channel(service: str) -> str:
    """The PostgreSQL channel on which a trigger of the outbox notifies the relay."""
    return f"stet_outbox_{service}"


def _retrieve_exception(future: "asyncio.Future[Any]") -> None:
    """Asyncio warns of a future whose exception was never retrieved, as happens where a round is given up."""
    if not future.cancelled():
        future.exception()


def _errors_of(results: Sequence[Any]) -> list[BaseException | None]:
    return [result.exception() if isinstance(result, asyncio.Future) else result for result in results]


def _raise_first(errors: Sequence[BaseException | None]) -> None:
    """An error of neither one record nor one topic is the broker's, or the code's."""
    for error in errors:
        if error is not None:
            raise error
