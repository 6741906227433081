"""Watching how far behind a consumer is: what is read to its end is caught up to the time it was before looking.

It asks the broker by a connection of its own, as a question on the consumer's would queue behind its long poll.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.runtime import progress
from shared.runtime.batch import BatchProcessor
from shared.runtime.clock import Clock
from shared.runtime.failures import TRANSIENT_ERRORS
from shared.runtime.kafka import security
from shared.runtime.postgres import Pool
from shared.runtime.progress import Partition
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import gauge, get_logger

log = get_logger()
_EVERY_SECONDS = 1.0
_DRIVEN_SECONDS = 0.02
_RANGE_SECONDS = 10.0
_PATIENCE_SECONDS = 30.0
_HELD_SECONDS = 300.0


class OffsetOutOfRange(RuntimeError):
    """The broker no longer has what progress expects next: something was lost, and a person must look."""

    def __init__(self, place: Partition, expected: int, has: int) -> None:
        self.sentence = (
            f"{place[0]}:{place[1]} is to be read from {expected}, but the broker has it only from or up to {has}; "
            "once the loss is accounted for, delete the partition's row of progress to begin at its oldest record"
        )
        super().__init__(self.sentence)


class LagMonitor:
    """``look`` may be called by anybody at any time; looks do not overlap."""

    def __init__(self, settings: ServiceSettings, batches: BatchProcessor, pool: Pool, clock: Clock) -> None:
        self.lag = 0
        self._settings = settings
        self._batches = batches
        self._pool = pool
        self._clock = clock
        self._client: Any = None
        self._looking = asyncio.Lock()
        self._caught_up: dict[Partition, datetime] = {}
        self._at_end: dict[Partition, float] = {}
        self._told: set[Partition] = set()
        service = batches.service
        self._records = gauge(f"stet_{service}_lag_records", "Records not read yet, by topic", "topic")
        self._age = gauge(f"stet_{service}_behind_seconds", "Machine time since all of a topic was last read", "topic")

    async def run(
        self,
        each_second: Callable[[], Awaitable[None]],
        restart: Callable[[], None],
        halt: Callable[[Exception], None],
    ) -> None:
        """Run forever: look at the lag, and every ten seconds check that neither records nor progress were lost.

        ``restart`` begins again from the progress in the database, ``halt`` ends the consumer with an error.
        """
        driven = self._settings.development_clock is not None
        seconds, ranges = 0.0, 0.0
        while True:
            now = time.monotonic()
            try:
                if now - seconds >= _EVERY_SECONDS or (driven and not self.settled):
                    await self.look()
                if now - seconds >= _EVERY_SECONDS:
                    seconds = now
                    await each_second()
                if now - ranges >= _RANGE_SECONDS:
                    ranges = now
                    await self._check_ranges()
                    await self._check_progress(restart)
            except OffsetOutOfRange as error:
                halt(error)
            except (KafkaError, *TRANSIENT_ERRORS) as error:
                log.warning("watch.waits", error=type(error).__name__)
                await asyncio.sleep(_EVERY_SECONDS)
            except Exception:
                await self.stop()  # a client that surprises is not asked again
                raise
            await asyncio.sleep(_DRIVEN_SECONDS if driven else _EVERY_SECONDS / 4)

    @property
    def settled(self) -> bool:
        """Whether every partition was caught up to the present business time when last looked at."""
        positions, now = self._batches.positions, self._clock.now()
        return bool(positions) and all(self._caught_up.get(place, _NEVER) >= now for place in positions)

    async def look(self) -> None:
        """Business ``now`` first, then the ends; what is read to its end is caught up to that now."""
        async with self._looking:
            now = self._clock.now()
            ends = await self.ends(self._batches.positions)
            positions = {place: at for place, at in self._batches.positions.items() if place in ends}
            at_end = {place: at for place, at in positions.items() if at == ends[place]}
            self._measure(positions, ends)
            new = {place: at for place, at in at_end.items() if self._caught_up.get(place, _NEVER) < now}
            for place in await progress.record_caught_up(self._pool, new, now):
                self._caught_up[place] = now

    async def firsts(self, places: Iterable[Partition]) -> dict[Partition, int]:
        """The oldest record the broker has of each."""
        partitions = [self._partition(place) for place in places]
        found = await (await self._connected()).beginning_offsets(partitions)
        return {self._place(partition): offset for partition, offset in found.items()}

    async def ends(self, places: Iterable[Partition]) -> dict[Partition, int]:
        """The offset that the next record of each will have."""
        partitions = [self._partition(place) for place in places]
        found = await (await self._connected()).end_offsets(partitions) if partitions else {}
        return {self._place(partition): offset for partition, offset in found.items()}

    async def stop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.stop()

    async def _check_ranges(self) -> None:
        """Raises OutOfRange for records gone before they were read, or a partition that lost its end and stays so."""
        positions = dict(self._batches.positions)
        firsts = await self.firsts(positions) if positions else {}
        for place, at in positions.items():
            if at < firsts[place] and self._batches.positions.get(place, at) < firsts[place]:
                raise OffsetOutOfRange(place, at, firsts[place])

    async def _check_progress(self, restart: Callable[[], None]) -> None:
        """Restart where the database has less progress than was committed: a failover to a standby that lacked it.

        What was lost must be read again, and perhaps no new record comes that would show it.
        """
        positions = dict(self._batches.positions)
        kept = await progress.read_progress(self._pool, positions)
        lost = [
            place for place, at in positions.items()
            if kept.get(place, -1) < at and self._batches.positions.get(place, -1) >= at
        ]  # fmt: skip
        for topic, partition in lost:
            log.error("progress.lost", topic=topic, partition=partition, read_to=positions[topic, partition],
                      found=kept.get((topic, partition)))  # fmt: skip
        if lost:
            restart()

    def _measure(self, positions: Mapping[Partition, int], ends: Mapping[Partition, int]) -> None:
        now = time.monotonic()
        behind: dict[str, int] = dict.fromkeys(self._batches.topics, 0)
        age: dict[str, float] = dict.fromkeys(self._batches.topics, 0.0)
        for place, at in positions.items():
            lag = ends[place] - at
            if lag == 0:
                self._at_end[place] = now
                self._told.discard(place)
            held = now - self._at_end.setdefault(place, now)
            self._tell(place, lag, held)
            behind[place[0]] += max(lag, 0)
            age[place[0]] = max(age[place[0]], held)
        self.lag = sum(behind.values())
        for topic, records in behind.items():
            self._records.labels(topic).set(records)
            self._age.labels(topic).set(age[topic])

    def _tell(self, place: Partition, lag: int, held: float) -> None:
        if lag < 0 and held > _PATIENCE_SECONDS:
            at = self._batches.positions.get(place, 0)
            raise OffsetOutOfRange(place, at, at + lag)
        if held > _HELD_SECONDS and place not in self._told:
            self._told.add(place)
            log.error("partition.behind", topic=place[0], partition=place[1], records=lag, seconds=round(held))

    async def _connected(self) -> Any:
        if self._client is None:
            client = AIOKafkaConsumer(
                bootstrap_servers=self._settings.kafka_bootstrap, request_timeout_ms=10_000, **security(self._settings)
            )
            try:
                await client.start()
            except BaseException:
                await client.stop()
                raise
            self._client = client
        return self._client

    def _partition(self, place: Partition) -> TopicPartition:
        return TopicPartition(self._settings.topic_prefix + place[0], place[1])

    def _place(self, partition: TopicPartition) -> Partition:
        return partition.topic.removeprefix(self._settings.topic_prefix), partition.partition


_NEVER = datetime.min.replace(tzinfo=UTC)
