"""Keeps in PostgreSQL how far a service has read, together with the state that came of it, and measures its lag.

Kafka's own committed offsets only serve Kafka's tools. A partition read to its end is "caught up" to the business time
at which its end was looked up; timers wait for that.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.contracts.errors import Unavailable
from shared.contracts.topics import CONSUMED, PARTITIONS
from shared.runtime.clock import FAR_AHEAD, Clock
from shared.runtime.failures import TRANSIENT_ERRORS, FailureLog
from shared.runtime.kafka import READ_BACKOFF_MS, client_options
from shared.runtime.metrics import TOPIC, Metrics, Replicas
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import get_logger
from shared.runtime.topic_ids import fetch_topic_ids

log = get_logger()
QUERIES = load_queries(__file__, "delivery.sql")

Partition = tuple[str, int]
"""A topic (without prefix) and the number of a partition."""

TopicIds = Mapping[str, UUID]
"""The id that the broker gave a topic when it was created, by its name without prefix, as far as it knows ids."""


# ------------------------------------------------------------------ progress


class Fenced(Unavailable):
    """Another replica reads this partition now, so the batch of this replica does not count. No record is at fault."""


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The offsets of a batch in one partition: from the ``expected`` next one, up to and without ``after``."""

    expected: int
    after: int


async def load_progress(
    pool: Pool, first_offsets: Mapping[Partition, int], topic_ids: TopicIds | None = None
) -> dict[Partition, int]:
    """The next offset of each partition; one never read before starts at its ``first_offsets``, the oldest record.

    Raises TopicRecreated where progress is about another topic of the same name than ``topic_ids`` has.
    """
    partitions, ids = sorted(first_offsets), topic_ids or {}
    columns = [*_columns(partitions), [ids.get(topic) for topic, _ in partitions]]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(QUERIES.begin_progress, *columns, [first_offsets[p] for p in partitions])
        await connection.execute(QUERIES.adopt_topic_ids, *columns)
        rows = await connection.fetch(QUERIES.read_progress, *_columns(partitions))
    _check_topics(rows, ids)
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


def _check_topics(rows: Iterable[Mapping[str, Any]], ids: TopicIds) -> None:
    """Raises TopicRecreated, also for a partition of which nothing was read yet: its row is of the earlier topic.

    A row without an id, of before topics had one, is given that of its topic when it is loaded.
    """
    other = [row for row in rows if row["topic_id"] not in {None, ids.get(row["topic"], row["topic_id"])}]
    if other:
        raise TopicRecreated({(row["topic"], row["partition"]): row["next_offset"] for row in other})


async def read_progress(pool: Pool, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The next offset of each partition that has a row of progress."""
    rows = await pool.fetch(QUERIES.read_progress, *_columns(sorted(partitions)))
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def advance_progress(connection: Connection, ranges: Mapping[Partition, OffsetRange]) -> None:
    """Move these partitions on, as the first statement of a batch's transaction, and lock them until it ends.

    Raises Fenced unless each partition is where this replica expects it.
    """
    partitions = sorted(ranges)
    expected, after = [ranges[p].expected for p in partitions], [ranges[p].after for p in partitions]
    done = await connection.execute(QUERIES.claim_progress, *_columns(partitions), expected, after)
    if done != f"UPDATE {len(partitions)}":
        raise Fenced("a partition was read by another replica")


async def record_caught_up(pool: Pool, read_to_end: Mapping[Partition, int], now: datetime) -> set[Partition]:
    """Record that these partitions hold nothing beyond what was read; ``now`` was read before their ends.

    Returns the partitions that are caught up to ``now``.
    """
    partitions = sorted(read_to_end)
    if not partitions:
        return set()
    rows = await pool.fetch(QUERIES.catch_up, *_columns(partitions), [read_to_end[p] for p in partitions], now)
    return {(row["topic"], row["partition"]) for row in rows}


def _columns(partitions: Iterable[Partition]) -> tuple[list[str], list[int]]:
    partitions = list(partitions)
    return [topic for topic, _ in partitions], [partition for _, partition in partitions]


# ------------------------------------------------------------------ lag

_REFRESH_SECONDS = 1.0
_REFRESH_SECONDS_ON_VIRTUAL_CLOCK = 0.02
_RANGE_CHECK_SECONDS = 10.0
_LOST_END_SECONDS = 30.0  # a broker that comes back may report an old end for a while
_AWAY_SECONDS = 60.0  # a rebalance is over sooner; what was away for longer was read by another replica
_STUCK_SECONDS = 300.0
_STALLED_OBSERVATIONS = 6
"""A consumer that reads nothing at so many observations, ten seconds apart, is replaced; no transaction is as long."""

_STALLED_PARTITION_OBSERVATIONS = 30  # the same for one partition, while the consumer reads others
_metrics = Metrics.of(*(service for service, topics in CONSUMED.items() if topics))
_LAG_RECORDS = _metrics.gauge(
    "stet_consumer_lag_records",
    "Records not read yet, of the partitions of this replica.",
    TOPIC,
    replicas=Replicas.SUM,
)
_LAG_SECONDS = _metrics.gauge(
    "stet_consumer_lag_seconds", "Machine time since all of the topic was last read, of these partitions.", TOPIC
)
_NEVER = datetime.min.replace(tzinfo=UTC)


class OffsetOutOfRange(RuntimeError):
    """The broker no longer has the next offset to read: records were lost, and a person must look."""

    def __init__(self, partition: Partition, expected: int, has: int) -> None:
        self.sentence = (
            f"{partition[0]}:{partition[1]} is to be read from {expected}, but the broker has it only from or up to "
            f"{has}; once the loss is accounted for (docs/runbook.md, “a topic was lost”), stet topics reread "
            f"{partition[0]} --partition {partition[1]} begins at its oldest record"
        )
        super().__init__(self.sentence)


class TopicRecreated(RuntimeError):
    """A topic was deleted and created again: its records have the offsets of others, which were read."""

    def __init__(self, read_to: Mapping[Partition, int]) -> None:
        topics = sorted({topic for topic, _ in read_to})
        places = ", ".join(f"{topic}:{partition} (read to {at})" for (topic, partition), at in sorted(read_to.items()))
        self.sentence = (
            f"{', '.join(topics)} was deleted and created again: {places}; once what was not read of the old one is "
            f"accounted for (docs/runbook.md, “a topic was lost”), stet topics reread {topics[0]} begins at the oldest "
            "record of the new one"
        )
        super().__init__(self.sentence)


class ConsumerStalled(RuntimeError):
    """The consumer reads nothing although there are records, and broker and database answer: it is to be replaced."""

    def __init__(self) -> None:
        self.sentence = f"records were not read for {_STALLED_OBSERVATIONS * _RANGE_CHECK_SECONDS:.0f} seconds or more"
        super().__init__(self.sentence)


class MonitoredConsumer(Protocol):
    """The consumer whose lag is measured."""

    @property
    def is_waiting(self) -> bool:
        """Whether it reads nothing for a known reason: a dependency is away, or it is looking for its positions."""

    async def commit_offsets(self) -> None:
        """Commit the offsets of handled records; called each second."""

    def restart(self) -> None:
        """Begin again from the progress in the database."""

    def halt(self, error: Exception) -> None:
        """End the consumer with this error."""


@dataclass(slots=True)
class StallDetector:
    """Decides from repeated observations of a service's partitions whether its consumer in this process reads at all.

    The client library may stop reading without a visible error. The caller leaves out an observation that failed.
    """

    _positions: dict[Partition, int] = field(default_factory=dict)
    _unread: dict[Partition, int] = field(default_factory=dict)
    _moved: dict[Partition, int] = field(default_factory=dict)
    _observations: int = 0

    def observe(self, ends: Mapping[Partition, int], progress: Mapping[Partition, int]) -> None:
        """Count for each partition how many observations in a row found unread records and the same next offset."""
        self._observations += 1
        for partition, end in ends.items():
            at = progress.get(partition, 0)
            before = self._positions.get(partition)
            if before is not None and at != before:
                self._moved[partition] = self._observations
            self._unread[partition] = self._unread.get(partition, 0) + 1 if at < end and at == before else 0
            self._positions[partition] = at

    def is_stalled(self, own: Collection[Partition]) -> bool:
        """``own`` are the partitions that this process reads; where it has none, it may have to take over others'."""
        judged = own or self._unread
        waited = max((self._unread.get(partition, 0) for partition in judged), default=0)
        if own and any(
            self._observations - self._moved.get(partition, -_STALLED_OBSERVATIONS) < _STALLED_OBSERVATIONS
            for partition in own
        ):
            return waited >= _STALLED_PARTITION_OBSERVATIONS
        return waited >= _STALLED_OBSERVATIONS

    def reset(self) -> None:
        """Count from the next observation on."""
        self._unread.clear()


class LagMonitor:
    """Compares a consumer's ``positions`` with the ends of its partitions; ``refresh`` may be called at any time.

    It has a connection of its own to the broker: a request on the consumer's connection would wait for its long poll.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        topics: Iterable[str],
        positions: Mapping[Partition, int],
        *,
        pool: Pool,
        clock: Clock,
    ) -> None:
        self.lag = 0
        self._settings = settings
        self._topics = list(topics)
        self._positions = positions
        self._pool = pool
        self._clock = clock
        self._client: Any = None
        self._failures = FailureLog("lag_monitor.retried")
        self._connecting = asyncio.Lock()
        self._refreshing = asyncio.Lock()
        self._caught_up: dict[Partition, datetime] = {}
        self._last_at_end: dict[Partition, float] = {}
        self._seen: dict[Partition, float] = {}
        self._ahead_since: dict[Partition, float] = {}
        self._reported_stuck: set[Partition] = set()
        self._stalls = StallDetector()

    async def run(self, consumer: MonitoredConsumer) -> None:
        """Refresh for ever; check every ten seconds that neither records nor progress were lost, and that it reads."""
        on_virtual_clock = self._settings.development_clock is not None
        refreshed, checked = 0.0, 0.0
        while True:
            now = time.monotonic()
            try:
                if now - refreshed >= _REFRESH_SECONDS or (on_virtual_clock and not self.is_caught_up):
                    await self.refresh()
                if now - refreshed >= _REFRESH_SECONDS:
                    refreshed = now
                    await consumer.commit_offsets()
                if now - checked >= _RANGE_CHECK_SECONDS:
                    checked = now
                    await self._check_ranges()
                    await self._check_progress(consumer)
                    await self._check_reading(consumer)
            except (OffsetOutOfRange, TopicRecreated) as error:
                consumer.halt(error)
            except (KafkaError, *TRANSIENT_ERRORS) as error:
                self._failures.warn(error)
                self._show_ages()
                await asyncio.sleep(_REFRESH_SECONDS)
            except Exception:
                await self.stop()  # a client in an unforeseen state is not used again
                raise
            await asyncio.sleep(_REFRESH_SECONDS_ON_VIRTUAL_CLOCK if on_virtual_clock else _REFRESH_SECONDS)

    @property
    def is_caught_up(self) -> bool:
        """Whether at the last refresh every partition was caught up to the present business time."""
        now = self._clock.now()
        return bool(self._positions) and all(self._caught_up.get(p, _NEVER) >= now for p in self._positions)

    async def refresh(self) -> None:
        """Read the business time first, then the ends: a partition read to its end is caught up to that time."""
        async with self._refreshing:
            now = self._clock.now()
            ends = await self.end_offsets(self._positions)
            positions = {partition: at for partition, at in self._positions.items() if partition in ends}
            at_end = {partition: at for partition, at in positions.items() if at == ends[partition]}
            self._measure(positions, ends)
            new = {partition: at for partition, at in at_end.items() if self._is_outdated(partition, now)}
            for partition in await record_caught_up(self._pool, new, now):
                self._caught_up[partition] = now

    def _is_outdated(self, partition: Partition, now: datetime) -> bool:
        """Whether the stored instant is before ``now``, or so far ahead that the clock has been set back since."""
        known = self._caught_up.get(partition, _NEVER)
        return known < now or known > now + FAR_AHEAD

    async def first_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset of the oldest record that the broker has, by partition. Raises KafkaError."""
        asked = [self._to_kafka(partition) for partition in partitions]
        found = await (await self._connected()).beginning_offsets(asked)
        return {self._from_kafka(partition): offset for partition, offset in found.items()}

    async def topic_ids(self, topics: Iterable[str]) -> TopicIds:
        """The ids of topics, by their names without prefix. Raises KafkaError."""
        prefix = self._settings.topic_prefix
        client = (await self._connected())._client  # noqa: SLF001 -- a consumer has no public way to send a request
        found = await fetch_topic_ids(client, [prefix + topic for topic in topics])
        return {name.removeprefix(prefix): topic_id for name, topic_id in found.items()}

    async def end_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset that the next record will have, by partition. Raises KafkaError."""
        asked = [self._to_kafka(partition) for partition in partitions]
        found = await (await self._connected()).end_offsets(asked) if asked else {}
        return {self._from_kafka(partition): offset for partition, offset in found.items()}

    async def stop(self) -> None:
        """Close the connection, also one that is being opened; the next request opens another."""
        async with self._connecting:
            client, self._client = self._client, None
        if client is not None:
            await client.stop()

    async def _check_ranges(self) -> None:
        """Raises OffsetOutOfRange where the broker deleted records that were not read yet, or TopicRecreated.

        The ids of all topics count, also of those of which this replica reads no partition: while a topic was missing,
        the group was assigned the others alone, and the client looks for it again only after minutes.
        """
        positions = dict(self._positions)
        places = [(topic, number) for topic in self._topics for number in range(PARTITIONS)]
        _check_topics(
            await self._pool.fetch(QUERIES.read_progress, *_columns(places)), await self.topic_ids(self._topics)
        )
        firsts = await self.first_offsets(positions) if positions else {}
        for partition, at in positions.items():
            if at < firsts[partition] and self._positions.get(partition, at) < firsts[partition]:
                raise OffsetOutOfRange(partition, at, firsts[partition])

    async def _check_progress(self, consumer: MonitoredConsumer) -> None:
        """Restart where the database has less progress than was committed: a failover to a standby that lacked it.

        The lost part must be read again, and perhaps no new record comes that would show the loss.
        """
        positions = dict(self._positions)
        kept = await read_progress(self._pool, positions)
        lost = [
            partition
            for partition, at in positions.items()
            if kept.get(partition, -1) < at and self._positions.get(partition, -1) >= at
        ]
        for partition in lost:
            topic, number = partition
            found = kept.get(partition)
            log.error("progress.lost", topic=topic, partition=number, read_to=positions[partition], found=found)
        if lost:
            consumer.restart()

    async def _check_reading(self, consumer: MonitoredConsumer) -> None:
        """End a consumer that reads nothing; the supervisor starts a new one, which joins the group again."""
        if consumer.is_waiting:
            self._stalls.reset()
            return
        places = [(topic, number) for topic in self._topics for number in range(PARTITIONS)]
        self._stalls.observe(await self.end_offsets(places), await read_progress(self._pool, places))
        if self._stalls.is_stalled(self._positions):
            self._stalls.reset()
            consumer.halt(ConsumerStalled())

    def _measure(self, positions: Mapping[Partition, int], ends: Mapping[Partition, int]) -> None:
        now = time.monotonic()
        behind: dict[str, int] = dict.fromkeys(self._topics, 0)
        for partition, at in positions.items():
            lag = ends[partition] - at
            if now - self._seen.get(partition, now) > _AWAY_SECONDS:
                self._last_at_end.pop(partition, None)
                self._ahead_since.pop(partition, None)
            if lag == 0:
                self._last_at_end[partition] = now
                self._reported_stuck.discard(partition)
            self._check_end(partition, lag, now)
            self._report(partition, lag, now - self._last_at_end.setdefault(partition, now))
            behind[partition[0]] += max(lag, 0)
        self.lag = sum(behind.values())
        for topic, records in behind.items():
            _LAG_RECORDS.labels(topic).set(records)
        self._show_ages()

    def _show_ages(self) -> None:
        """An age also grows while the broker does not answer, since it is not known then whether all was read."""
        now = time.monotonic()
        ages: dict[str, float] = dict.fromkeys(self._topics, 0.0)
        for partition in self._positions:
            seconds = now - self._last_at_end.get(partition, now)
            ages[partition[0]] = max(ages[partition[0]], seconds)
            self._seen[partition] = now
        for topic, seconds in ages.items():
            _LAG_SECONDS.labels(topic).set(seconds)

    def _check_end(self, partition: Partition, lag: int, now: float) -> None:
        """Raises OffsetOutOfRange for a partition whose end lies, and stays, before what was read of it."""
        if lag >= 0:
            self._ahead_since.pop(partition, None)
        elif now - self._ahead_since.setdefault(partition, now) > _LOST_END_SECONDS:
            at = self._positions.get(partition, 0)
            raise OffsetOutOfRange(partition, at, at + lag)

    def _report(self, partition: Partition, lag: int, seconds: float) -> None:
        if seconds > _STUCK_SECONDS and partition not in self._reported_stuck:
            self._reported_stuck.add(partition)
            log.error(
                "partition.delayed", topic=partition[0], partition=partition[1], records=lag, seconds=round(seconds)
            )

    async def _connected(self) -> Any:
        """One connection for all who ask at once: the checks of ``run``, the consumer's positions, the service."""
        async with self._connecting:
            if self._client is None:
                self._client = await self._new_client()
            return self._client

    async def _new_client(self) -> Any:
        options = client_options(self._settings)
        client = AIOKafkaConsumer(**options, request_timeout_ms=10_000, retry_backoff_ms=READ_BACKOFF_MS)
        try:
            await client.start()
        except BaseException:
            await client.stop()
            raise
        return client

    def _to_kafka(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._settings.topic_prefix + partition[0], partition[1])

    def _from_kafka(self, partition: TopicPartition) -> Partition:
        return partition.topic.removeprefix(self._settings.topic_prefix), partition.partition
