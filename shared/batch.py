"""The batch consumer: the one way a service turns Kafka records into state, exactly once in effect.

Parse, park the unfit, then one transaction of progress, locks, inbox, state and outbox; Kafka's offsets only show lag.
A record that is refused is found by halving the batch, parked, and the rest goes on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from shared import progress
from shared.clock import Clock, machine_now
from shared.errors import Unavailable, Unfit
from shared.events.envelope import Event, parse
from shared.ids import EventId
from shared.postgres import CONNECTION_LOST, REPEAT, Connection, Pool
from shared.progress import Fenced, Place, Span
from shared.telemetry import batch_span, counter, get_logger, histogram
from shared.topics import Topic
from shared.transaction import QUERIES, Origin, Transaction, take_locks

log = get_logger()

AWAY = (
    Unavailable,
    *CONNECTION_LOST,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    TimeoutError,
)
"""Errors of the world, not of a record."""


@dataclass(frozen=True, slots=True)
class Received:
    """A record that parsed: never seen before when it reaches a handler."""

    event: Event
    topic: Topic
    partition: int
    offset: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Misfit:
    """A record that does not parse."""

    raw: bytes
    reason: str
    sentence: str
    origin: Origin


class Handler(Protocol):
    def locks(self, batch: Sequence[Received]) -> Iterable[str]:
        """Names of the subjects and people the batch touches."""

    async def handle(self, tx: Transaction, batch: Sequence[Received]) -> None:
        """Put a batch of new events into state and outbox. Unfit blames a record, Unavailable the world."""


class Halted(RuntimeError):
    """So many records in a row were refused that the fault is ours: the process stops, loudly."""


class Batches:
    """Applies records to a service's state. ``positions`` is what this replica believes it reads next."""

    def __init__(
        self,
        service: str,
        topics: Sequence[Topic],
        handler: Handler,
        *,
        pool: Pool,
        clock: Clock,
        most_refused: int = 20,
    ) -> None:
        self.service = service
        self.topics = {topic.name: topic for topic in topics}
        self.positions: dict[Place, int] = {}
        self.handled = 0
        self._handler = handler
        self._pool = pool
        self._clock = clock
        self._most_refused = most_refused
        self._refused_in_a_row = 0
        self._seconds = histogram(f"stet_{service}_batch_seconds", "From a batch's records to its commit")
        self._records = counter(f"stet_{service}_records_total", "Records read, by topic", "topic")
        self._parked = counter(f"stet_{service}_parked_total", "Records parked, by reason", "reason")

    def fresh(self, topic: str, record: Any) -> bool:
        """Whether a record is one this replica should read now: assigned, and not read before."""
        position = self.positions.get((topic, record.partition))
        return position is not None and record.offset >= position

    async def take(self, records: Sequence[tuple[str, Any]]) -> None:
        """Apply records of (topic, consumer record) in order. Raises what is not a record's fault."""
        try:
            with self._seconds.time():
                await self._apply(records)
        except REPEAT:
            log.info("batch.repeated", records=len(records))
            await self.take(records)
        except (Fenced, *AWAY):
            raise
        except Exception as error:  # noqa: BLE001 -- whatever a record does to us, it is parked and the rest goes on
            await self._halve(records, error)
        else:
            self._refused_in_a_row = 0

    async def _halve(self, records: Sequence[tuple[str, Any]], error: Exception) -> None:
        if len(records) > 1:
            middle = len(records) // 2
            await self.take(records[:middle])
            await self.take(records[middle:])
            return
        self._refused_in_a_row += 1
        topic, record = records[0]
        reason = error.reason if isinstance(error, Unfit) else type(error).__name__
        if self._refused_in_a_row > self._most_refused:
            raise Halted(f"{self._most_refused} records in a row were refused, the last by {reason}") from error
        log.error("record.parked", topic=topic, partition=record.partition, offset=record.offset, reason=reason,
                  where=_where(error))  # fmt: skip
        sentence = str(error) if isinstance(error, Unfit) else f"refused by {reason} at {_where(error)}"
        await self._commit(records, [Misfit(record.value, reason, sentence, origin_of(topic, record))], [])

    async def _apply(self, records: Sequence[tuple[str, Any]]) -> None:
        misfits: list[Misfit] = []
        received: list[Received] = []
        for topic, record in records:
            self._sort(topic, record, received, misfits)
        for misfit in misfits:
            log.warning("record.parked", reason=misfit.reason, topic=misfit.origin.topic, offset=misfit.origin.offset)
        traces = [one.event.traceparent for one in received[:64]]
        with batch_span(f"{self.service}.batch", traces, records=len(records)):
            await self._commit(records, misfits, received)

    def _sort(self, topic: str, record: Any, received: list[Received], misfits: list[Misfit]) -> None:
        if record.value is None:
            return
        known = self.topics[topic]
        try:
            event = parse(record.value, known.kinds)
        except Unfit as error:
            misfits.append(Misfit(record.value, error.reason, str(error), origin_of(topic, record)))
        else:
            received.append(Received(event, known, record.partition, record.offset, record.value))

    async def _commit(
        self, records: Sequence[tuple[str, Any]], misfits: Sequence[Misfit], received: Sequence[Received]
    ) -> None:
        spans = self._spans(records)
        async with self._pool.acquire() as connection, connection.transaction():
            await progress.lock(connection, spans)
            tx = Transaction(connection, self.service, self._clock.now())
            for misfit in misfits:
                await tx.park(misfit.raw, misfit.reason, misfit.sentence, misfit.origin)
            if received:
                await take_locks(connection, self._handler.locks(received))
                new = await unseen(connection, received)
                if new:
                    await self._handler.handle(tx, new)
            await tx.flush()
            await progress.move(connection, spans)
        self.positions.update({place: span.after for place, span in spans.items()})
        self._count(records, misfits)

    def _spans(self, records: Sequence[tuple[str, Any]]) -> dict[Place, Span]:
        spans: dict[Place, Span] = {}
        for topic, record in records:
            place = (topic, record.partition)
            spans[place] = Span(self.positions[place], record.offset + 1)
        return spans

    def _count(self, records: Sequence[tuple[str, Any]], misfits: Sequence[Misfit]) -> None:
        self.handled += len(records)
        for topic in {topic for topic, _ in records}:
            self._records.labels(topic).inc(sum(1 for t, _ in records if t == topic))
        for misfit in misfits:
            self._parked.labels(misfit.reason).inc()


async def unseen(connection: Connection, received: Sequence[Received]) -> list[Received]:
    """Those the inbox has not seen, in order, each once even where the batch holds it twice."""
    by_id = {(one.event.source, one.event.id): one for one in reversed(received)}
    sources = [source for source, _ in by_id]
    ids = [event_id for _, event_id in by_id]
    tenants = [one.event.tenantid for one in by_id.values()]
    rows = await connection.fetch(QUERIES.see, tenants, sources, ids, machine_now())
    new = {(row["source"], row["id"]) for row in rows}
    return [one for one in received if _first_of(one, by_id) and (one.event.source, one.event.id) in new]


def _first_of(one: Received, by_id: dict[tuple[str, EventId], Received]) -> bool:
    return by_id[(one.event.source, one.event.id)] is one


def origin_of(topic: str, record: Any) -> Origin:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    return Origin(topic, record.partition, record.offset, record.key, headers)


def _where(error: Exception) -> str:
    """The innermost place of ours an error passed: a name and a line, never a value."""
    place = "unknown"
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "site-packages" not in code.co_filename:
            place = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
