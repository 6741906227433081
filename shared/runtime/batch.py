"""The batch consumer's heart: how records become state, exactly once in effect, in one transaction per batch.

Parse, claim the progress, lock, park the unfit, enter the inbox, let the handler act, fill the outbox, commit. A record
the handler or the database refuses is found by halving the batch and parked; the rest goes on.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from shared.contracts.topics import PARTITIONS, Topic
from shared.runtime.bisect import work_off
from shared.runtime.clock import Clock
from shared.runtime.error_location import where
from shared.runtime.failures import AWAY, Blame, blame, reason_of, sentence_of
from shared.runtime.inbox import unseen
from shared.runtime.postgres import Pool
from shared.runtime.progress import Fenced, Place, claim
from shared.runtime.received import Handler, Item, Misfit, Received, misfit, read, spans
from shared.runtime.telemetry import batch_span, counter, get_logger, histogram, parked_counter
from shared.runtime.transaction import Transaction, take_locks

__all__ = ["AWAY", "Batches", "Halted", "Handler", "Received"]

log = get_logger()


class Halted(RuntimeError):
    """So many records in a row were refused that the fault is ours: the process stops, loudly.

    ``sentence`` may be logged; the text of an error in general may not.
    """

    def __init__(self, records: int, reason: str) -> None:
        self.sentence = f"{records} records in a row were refused, the last as {reason}; the others are parked"
        super().__init__(self.sentence)


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
            raise min(errors, key=_patience_with)

    async def _take_part(self, records: Sequence[tuple[str, Any]]) -> None:
        async with self._at_once:
            items = [read(self.topics[topic], record) for topic, record in records]
            traces = [item.event.traceparent for item in items[:_LINKED] if isinstance(item, Received)]
            with self._seconds.time(), batch_span(f"{self.service}.batch", traces, records=len(items)):
                await work_off(items, self._attempt, self._refuse)
            self._size.observe(len(items))

    async def _attempt(self, items: Sequence[Item]) -> None:
        try:
            claimed = spans(items, self.positions)
        except KeyError:
            raise Fenced("a partition was assigned to another replica") from None
        received = [item for item in items if isinstance(item, Received)]
        async with self._pool.acquire() as connection, connection.transaction():
            await claim(connection, claimed)
            acted = await self._act(Transaction(connection, self.service, self._clock.now()), items, received)
        for place, span in claimed.items():
            if self.positions.get(place) == span.expected:
                self.positions[place] = span.after
        if acted:
            self._refused_in_a_row = 0
        self._count(items)

    async def _act(self, tx: Transaction, items: Sequence[Item], received: Sequence[Received]) -> bool:
        """Whether there was anything new for the handler."""
        if received:
            await take_locks(tx.connection, self.service, self._handler.locks(received))
            tx.now = self._clock.now()
        if len(received) < len(items):
            await _park(tx, items)
        new = await unseen(tx.connection, received) if received else []
        if new:
            await self._handler.handle(tx, new)
        await tx.flush()
        return bool(new)

    async def _refuse(self, item: Item, error: Exception) -> None:
        if not isinstance(item, Received):
            raise error  # what was parked without being read could not be parked: our fault
        self._refused_in_a_row += 1
        reason = reason_of(error)
        log.error(
            "record.refused", topic=item.topic.name, partition=item.partition, offset=item.offset, reason=reason,
            error=type(error).__name__, where=where(error),
        )  # fmt: skip
        if self._refused_in_a_row > self._most_refused:
            raise Halted(self._refused_in_a_row, reason) from error
        await self._attempt([misfit(item.topic, item.record, reason, sentence_of(error), item.event)])

    def _count(self, items: Sequence[Item]) -> None:
        self.handled += len(items)
        for topic, records in Counter(item.topic.name for item in items).items():
            self._records.labels(topic).inc(records)
        for item in items:
            if isinstance(item, Misfit):
                self._parked.labels(item.reason).inc()
                log.warning("record.parked", topic=item.topic.name, partition=item.partition, offset=item.offset,
                            reason=item.reason)  # fmt: skip


async def _park(tx: Transaction, items: Sequence[Item]) -> None:
    for item in items:
        if isinstance(item, Misfit):
            await tx.park(item.raw, item.reason, item.sentence, item.origin)


def _patience_with(error: BaseException) -> int:
    """Of two errors the one that must not be waited out is told."""
    if isinstance(error, Fenced):
        return 1
    return 2 if blame(error) in {Blame.WORLD, Blame.NOBODY} else 0


_LINKED = 32
_WORTH_A_PART = 64
_PARTS_AT_ONCE = 4
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 4000)
