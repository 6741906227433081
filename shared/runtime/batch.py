"""The batch consumer's heart: how records become state, exactly once in effect, in one transaction per batch.

Parse, claim the progress, lock, park the unfit, enter the inbox, let the handler act, fill the outbox, commit. A record
the handler or the database refuses is found by halving the batch and parked; the rest goes on.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from shared.contracts.topics import PARTITIONS, Topic
from shared.runtime.bisect import bisect
from shared.runtime.clock import Clock
from shared.runtime.error_location import error_location
from shared.runtime.failures import TRANSIENT_ERRORS, FailureKind, classify_failure, describe_failure, parking_reason
from shared.runtime.inbox import enter_inbox
from shared.runtime.postgres import Pool
from shared.runtime.progress import Fenced, Partition, advance_progress
from shared.runtime.received import (
    Handler,
    InvalidRecord,
    ParsedRecord,
    ReceivedEvent,
    invalid_record,
    offset_ranges,
    parse_record,
)
from shared.runtime.telemetry import batch_span, counter, get_logger, histogram, parked_counter
from shared.runtime.transaction import Transaction, acquire_locks

__all__ = ["TRANSIENT_ERRORS", "BatchProcessor", "ConsumerHalted", "Handler", "ReceivedEvent"]

log = get_logger()


class ConsumerHalted(RuntimeError):
    """So many records in a row were refused that the fault is ours: the process stops, loudly.

    ``sentence`` may be logged; the text of an error in general may not.
    """

    def __init__(self, records: int, reason: str) -> None:
        self.sentence = f"{records} records in a row were refused, the last as {reason}; the others are parked"
        super().__init__(self.sentence)


class BatchProcessor:
    """Applies records to a service's state. ``positions`` is what this replica believes it reads next."""

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
        self._most_refused = max_consecutive_failures
        self._refused_in_a_row = 0
        self._at_once = asyncio.Semaphore(_PARTS_AT_ONCE)
        self._seconds = histogram(f"stet_{service}_batch_seconds", "From a batch's records to its commit")
        self._size = histogram(f"stet_{service}_batch_records", "Records in a batch", buckets=_SIZES)
        self._records = counter(f"stet_{service}_records_total", "Records read, by topic", "topic")
        self._parked = parked_counter(service)

    def fresh(self, topic: str, record: Any) -> bool:
        """Whether a record is one this replica should read now: assigned, and not read before."""
        position = self.positions.get((topic, record.partition))
        return position is not None and record.offset >= position

    async def take(self, records: Sequence[tuple[str, Any]]) -> None:
        """Apply (topic, consumer record) pairs in order. Raises Fenced, Halted, and what is not a record's fault.

        Called again with the same records after an error, it goes on where it was. Many records go in parts, a few at
        once: some are read and acted on while others wait for PostgreSQL. Records of a key are in partitions of one
        number whatever their topic, so never in two parts.
        """
        fresh = [(topic, record) for topic, record in records if self.fresh(topic, record)]
        count = max(1, min(PARTITIONS, len(fresh) // _WORTH_A_PART))
        parts: list[list[tuple[str, Any]]] = [[] for _ in range(count)]
        for one in fresh:
            parts[one[1].partition % count].append(one)
        ended = await asyncio.gather(*map(self._take_part, filter(None, parts)), return_exceptions=True)
        errors = [error for error in ended if isinstance(error, BaseException)]
        if errors:
            raise min(errors, key=_retry_rank)

    async def _take_part(self, records: Sequence[tuple[str, Any]]) -> None:
        async with self._at_once:
            items = [parse_record(self.topics[topic], record) for topic, record in records]
            traces = [item.event.traceparent for item in items[:_LINKED] if isinstance(item, ReceivedEvent)]
            with self._seconds.time(), batch_span(f"{self.service}.batch", traces, records=len(items)):
                await bisect(items, self._attempt, self._refuse)
            self._size.observe(len(items))

    async def _attempt(self, items: Sequence[ParsedRecord]) -> None:
        try:
            claimed = offset_ranges(items, self.positions)
        except KeyError:
            raise Fenced("a partition was assigned to another replica") from None
        received = [item for item in items if isinstance(item, ReceivedEvent)]
        async with self._pool.acquire() as connection, connection.transaction():
            await advance_progress(connection, claimed)
            acted = await self._act(Transaction(connection, self.service, self._clock.now()), items, received)
        for place, span in claimed.items():
            if self.positions.get(place) == span.expected:
                self.positions[place] = span.after
        if acted:
            self._refused_in_a_row = 0
        self._count(items)

    async def _act(self, tx: Transaction, items: Sequence[ParsedRecord], received: Sequence[ReceivedEvent]) -> bool:
        """Whether there was anything new for the handler."""
        if received:
            await acquire_locks(tx.connection, self.service, self._handler.locks(received))
            tx.now = self._clock.now()
        if len(received) < len(items):
            await _park(tx, items)
        new = await enter_inbox(tx.connection, received) if received else []
        if new:
            await self._handler.handle(tx, new)
        await tx.flush()
        return bool(new)

    async def _refuse(self, item: ParsedRecord, error: Exception) -> None:
        if not isinstance(item, ReceivedEvent):
            raise error  # what was parked without being read could not be parked: our fault
        self._refused_in_a_row += 1
        reason = parking_reason(error)
        log.error(
            "record.refused", topic=item.topic.name, partition=item.partition, offset=item.offset, reason=reason,
            error=type(error).__name__, where=error_location(error),
        )  # fmt: skip
        if self._refused_in_a_row > self._most_refused:
            raise ConsumerHalted(self._refused_in_a_row, reason) from error
        await self._attempt([invalid_record(item.topic, item.record, reason, describe_failure(error), item.event)])

    def _count(self, items: Sequence[ParsedRecord]) -> None:
        self.handled += len(items)
        for topic, records in Counter(item.topic.name for item in items).items():
            self._records.labels(topic).inc(records)
        for item in items:
            if isinstance(item, InvalidRecord):
                self._parked.labels(item.reason).inc()
                log.warning("record.parked", topic=item.topic.name, partition=item.partition, offset=item.offset,
                            reason=item.reason)  # fmt: skip


async def _park(tx: Transaction, items: Sequence[ParsedRecord]) -> None:
    for item in items:
        if isinstance(item, InvalidRecord):
            await tx.park(item.raw, item.reason, item.sentence, item.origin)


def _retry_rank(error: BaseException) -> int:
    """Of two errors the one that must not be waited out is told."""
    if isinstance(error, Fenced):
        return 1
    return 2 if classify_failure(error) in {FailureKind.TRANSIENT, FailureKind.RETRYABLE} else 0


_LINKED = 32
_WORTH_A_PART = 64
_PARTS_AT_ONCE = 4
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 4000)
