"""Applies a batch of Kafka records to a service's state, exactly once in effect, in one transaction per batch.

One batch: parse, advance the progress, take the locks, park invalid records, enter the inbox, call the handler, write
the outbox, commit. A record that the handler or the database refuses is found by bisection and parked. The inbox has
the ids of events already handled: an event enters once, and is deleted when it cannot come again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
import orjson

from shared.contracts.envelope import Event, parse_event
from shared.contracts.errors import Malformed, Unprocessable
from shared.contracts.ids import derive_id
from shared.contracts.topics import CONSUMED, PARTITIONS, WHATSAPP_STATUSES, Topic
from shared.runtime.aiokafka_faults import has_unreadable_name
from shared.runtime.clock import Clock, machine_now
from shared.runtime.failures import FailureKind, classify_failure, describe_failure, parking_reason
from shared.runtime.metrics import TOPIC, Metrics, current_exemplar
from shared.runtime.outbox import RECORDS_PARKED, Headers, RecordOrigin, Transaction
from shared.runtime.postgres import Connection, Pool, acquire_locks, load_queries
from shared.runtime.progress import Fenced, OffsetRange, Partition, advance_progress
from shared.runtime.retention import Expiry, deletion
from shared.runtime.telemetry import error_location, get_logger
from shared.runtime.tracing import batch_span, database_span

log = get_logger()
T = TypeVar("T")

_MIN_RECORDS_PER_PART = 64
_MAX_CONCURRENT_PARTS = 4

_metrics = Metrics.of(*(service for service, topics in CONSUMED.items() if topics))
_RECORDS_READ = _metrics.counter("stet_records_read_total", "Records read.", TOPIC)
_BATCH_DURATION = _metrics.histogram(
    "stet_batch_duration_seconds", "Time from the records of a batch to its commit.", exemplars=True
)


# ------------------------------------------------------------------ parse


class ReceivedEvent(msgspec.Struct, frozen=True, gc=False):
    """A record that parsed. ``record`` is the client's: key, headers, timestamp; its header values are bytes."""

    event: Event
    topic: Topic
    partition: int
    offset: int
    record: Any

    @property
    def raw(self) -> bytes:
        return bytes(self.record.value)

    @property
    def headers(self) -> Headers:
        return tuple(self.record.headers)


@dataclass(frozen=True, slots=True)
class InvalidRecord:
    """A record to park."""

    raw: bytes
    reason: str
    sentence: str
    origin: RecordOrigin
    topic: Topic
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A record without a value: a compacted topic deletes a key."""

    topic: Topic
    partition: int
    offset: int


ParsedRecord = ReceivedEvent | InvalidRecord | Tombstone


def parse_record(topic: Topic, record: Any) -> ParsedRecord:
    if record.value is None:
        return Tombstone(topic, record.partition, record.offset)
    if has_unreadable_name(record.headers):
        return invalid_record(topic, record, Malformed.reason, "the name of a header is not UTF-8")
    try:
        event = parse_event(record.value, topic.kinds)
    except Unprocessable as error:
        return invalid_record(topic, record, error.reason, str(error))
    return ReceivedEvent(event, topic, record.partition, record.offset, record)


def invalid_record(topic: Topic, record: Any, reason: str, sentence: str, event: Event | None = None) -> InvalidRecord:
    identity = None if event is None else derive_id(event.tenantid, event.source, event.id)
    origin = RecordOrigin(topic.name, record.partition, record.offset, record.key, record.headers, identity)
    return InvalidRecord(record.value, reason, sentence, origin, topic, record.partition, record.offset)


def offset_ranges(items: Iterable[ParsedRecord], positions: dict[Partition, int]) -> dict[Partition, OffsetRange]:
    """The offsets these records cover, by partition. Raises KeyError for a partition this replica no longer has."""
    last = {(item.topic.name, item.partition): item.offset for item in items}
    return {partition: OffsetRange(positions[partition], offset + 1) for partition, offset in last.items()}


# ------------------------------------------------------------------ bisect


async def bisect(
    items: Sequence[T],
    attempt: Callable[[Sequence[T]], Awaitable[None]],
    refuse: Callable[[T, Exception], Awaitable[None]],
) -> None:
    """Attempt all items in order; where that fails, halve them until the failing item stands alone, and ``refuse`` it.

    One failing item among n costs about log2(n) more attempts; parts that succeeded are not attempted again.
    Raises every error that is not of the kind ``record``.
    """
    pending = [items] if items else []
    while pending:
        part = pending.pop()
        try:
            await attempt(part)
        except Exception as error:
            if classify_failure(error) is not FailureKind.RECORD:
                raise
            if len(part) == 1:
                await refuse(part[0], error)
            else:
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]


# ------------------------------------------------------------------ inbox

QUERIES = load_queries(__file__, "delivery.sql")
DAYS_KEPT_BRIEFLY = 14
"""For statuses, which their rank makes harmless a second time."""

BRIEF_TOPICS = frozenset({WHATSAPP_STATUSES.name})


async def enter_inbox(connection: Connection, received: Sequence[ReceivedEvent]) -> list[ReceivedEvent]:
    """Enter all events; return those that are new, in order, each once even where the batch holds it twice."""
    new: dict[tuple[str, str, str], ReceivedEvent] = {}
    for one in received:
        event = one.event
        new.setdefault((event.tenantid, event.source, event.id), one)
    now = machine_now()
    groups: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for (tenant, source, event_id), one in new.items():
        groups.setdefault((tenant, one.topic.name in BRIEF_TOPICS), []).append((source, event_id))
    for (tenant, brief), names in groups.items():
        sources, ids = (orjson.dumps(column).decode() for column in zip(*names, strict=True))
        for row in await connection.fetch(QUERIES.insert_inbox, tenant, sources, ids, brief, now):
            del new[tenant, *names[row["place"] - 1]]
    return list(new.values())


def inbox_expiries(pool: Pool, inbox_days: int, parked_days: int) -> tuple[Expiry, ...]:
    """When ids of events and settled parked records expire, by machine time."""
    classes = ((False, inbox_days), (True, min(inbox_days, DAYS_KEPT_BRIEFLY)))
    return (
        *(Expiry(deletion(pool, QUERIES.delete_old_inbox, is_brief), days) for is_brief, days in classes),
        Expiry(deletion(pool, QUERIES.delete_old_parked), parked_days),
    )


# ------------------------------------------------------------------ apply


class Handler(Protocol):
    """A service's reaction to its events."""

    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        """Names of the subjects and people that the batch touches."""

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        """Apply new events to state and outbox. Raises Unprocessable for a record at fault, Unavailable otherwise."""


class ConsumerHalted(RuntimeError):
    """So many records in a row were refused that the code must be at fault: the process stops.

    ``sentence`` may be logged; the text of other errors may not.
    """

    def __init__(self, records: int, reason: str) -> None:
        self.sentence = f"{records} records in a row were refused, the last as {reason}; the others are parked"
        super().__init__(self.sentence)


class BatchProcessor:
    """Applies records to a service's state. ``positions`` holds the next offset of each partition of this replica."""

    def __init__(
        self,
        service: str,
        topics: Sequence[Topic],
        handler: Handler,
        *,
        pool: Pool,
        clock: Clock,
        max_consecutive_failures: int = 20,
    ) -> None:
        self.service = service
        self.topics = {topic.name: topic for topic in topics}
        self.positions: dict[Partition, int] = {}
        self.handled = 0
        self._handler = handler
        self._pool = pool
        self._clock = clock
        self._max_consecutive_failures = max_consecutive_failures
        self._consecutive_failures = 0
        self._part_slots = asyncio.Semaphore(_MAX_CONCURRENT_PARTS)

    def is_unread(self, topic: str, record: Any) -> bool:
        """Whether this replica should read the record now: its partition is assigned and it was not read before."""
        position = self.positions.get((topic, record.partition))
        return position is not None and record.offset >= position

    async def process(self, records: Sequence[tuple[str, Any]]) -> None:
        """Apply (topic, consumer record) pairs in order.

        Called again with the same records after an error, it continues where it stopped. Many records are split into
        parts that run a few at a time, so that some are parsed while others wait for PostgreSQL. Records of one key
        have one partition number in every topic, so they are always in the same part.
        Raises Fenced, ConsumerHalted, and every error that is not of the kind ``record``.
        """
        unread = [(topic, record) for topic, record in records if self.is_unread(topic, record)]
        count = max(1, min(PARTITIONS, len(unread) // _MIN_RECORDS_PER_PART))
        parts: list[list[tuple[str, Any]]] = [[] for _ in range(count)]
        for one in unread:
            parts[one[1].partition % count].append(one)
        results = await asyncio.gather(*map(self._process_part, filter(None, parts)), return_exceptions=True)
        errors = [error for error in results if isinstance(error, BaseException)]
        if errors:
            raise min(errors, key=_retry_rank)

    async def _process_part(self, records: Sequence[tuple[str, Any]]) -> None:
        async with self._part_slots:
            items = [parse_record(self.topics[topic], record) for topic, record in records]
            traces = [item.event.traceparent for item in items if isinstance(item, ReceivedEvent)]
            topics = {item.topic.name for item in items}
            began = time.perf_counter()
            with batch_span(self.service, topics, traces, len(items)):
                await bisect(items, self._attempt, self._refuse)
                _BATCH_DURATION.observe(time.perf_counter() - began, current_exemplar())

    async def _attempt(self, items: Sequence[ParsedRecord]) -> None:
        try:
            ranges = offset_ranges(items, self.positions)
        except KeyError:
            raise Fenced("a partition was assigned to another replica") from None
        received = [item for item in items if isinstance(item, ReceivedEvent)]
        with database_span(self.service):
            async with self._pool.acquire() as connection, connection.transaction():
                await advance_progress(connection, ranges)
                tx = Transaction(connection, self.service, self._clock.now(), self._clock)
                handled_any = await self._apply(tx, items, received)
        tx.committed()
        for partition, offsets in ranges.items():
            if self.positions.get(partition) == offsets.expected:
                self.positions[partition] = offsets.after
        if handled_any:
            self._consecutive_failures = 0
        self._count(items)

    async def _apply(self, tx: Transaction, items: Sequence[ParsedRecord], received: Sequence[ReceivedEvent]) -> bool:
        """Whether any event was new to the handler."""
        if received:
            await acquire_locks(tx.connection, self.service, self._handler.locks(received))
            tx.read_clock()
        if len(received) < len(items):
            await _park(tx, items)
        new = await enter_inbox(tx.connection, received) if received else []
        if new:
            await self._handler.handle(tx, new)
        await tx.flush()
        return bool(new)

    async def _refuse(self, item: ParsedRecord, error: Exception) -> None:
        if not isinstance(item, ReceivedEvent):
            raise error  # an unparsed record that cannot be parked is no fault of the record
        self._consecutive_failures += 1
        reason = parking_reason(error)
        log.error(
            "record.refused",
            topic=item.topic.name,
            partition=item.partition,
            offset=item.offset,
            reason=reason,
            error=type(error).__name__,
            where=error_location(error),
        )
        if self._consecutive_failures > self._max_consecutive_failures:
            raise ConsumerHalted(self._consecutive_failures, reason) from error
        await self._attempt([invalid_record(item.topic, item.record, reason, describe_failure(error), item.event)])

    def _count(self, items: Sequence[ParsedRecord]) -> None:
        self.handled += len(items)
        for topic, records in Counter(item.topic.name for item in items).items():
            _RECORDS_READ.labels(topic).inc(records)
        for item in items:
            if isinstance(item, InvalidRecord):
                RECORDS_PARKED.labels(item.reason).inc()
                fields = {"topic": item.topic.name, "partition": item.partition, "offset": item.offset}
                log.warning("record.parked", **fields, reason=item.reason)


async def _park(tx: Transaction, items: Sequence[ParsedRecord]) -> None:
    for item in items:
        if isinstance(item, InvalidRecord):
            await tx.park(item.raw, item.reason, item.sentence, item.origin)


def _retry_rank(error: BaseException) -> int:
    """Ranks errors of one batch: an error that waiting does not remedy is raised first."""
    if isinstance(error, Fenced):
        return 1
    return 2 if classify_failure(error) in {FailureKind.TRANSIENT, FailureKind.RETRYABLE} else 0
