"""Reading Kafka: one FastStream batch subscriber for all topics of a service, placed by PostgreSQL's progress.

The client's own offsets are never relied on: every assignment is paused, placed where progress says, checked against
what the broker still has, and only then read. An outage is waited out in slices shorter than the group's patience.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER

from shared.contracts.errors import Throttled
from shared.runtime import progress
from shared.runtime.batch import BatchProcessor
from shared.runtime.caught_up import LagMonitor, OffsetOutOfRange
from shared.runtime.failures import TRANSIENT_ERRORS, FailureKind, classify_failure
from shared.runtime.kafka import subscriber_security
from shared.runtime.postgres import Pool
from shared.runtime.progress import Fenced, Partition
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import get_logger

log = get_logger()
_MOST_RECORDS = 4000
_SLICE_SECONDS = 25.0
_LONGEST_WAIT = 5.0
_LET_GO_SECONDS = 3.0
_COMMIT_SECONDS = 2.0
_SESSION_MS = 6000  # the least a broker takes unless told otherwise; a killed process is missed after it
_KAFKA_OPTIONS: dict[str, Any] = {
    "auto_offset_reset": "none",
    "batch_timeout_ms": 10,
    "fetch_max_wait_ms": 100,  # a partition just read up waits for the fetch under way
    "fetch_max_bytes": 16 * 1024 * 1024,
    "max_partition_fetch_bytes": 1024 * 1024,
    "max_records": _MOST_RECORDS,
    "session_timeout_ms": _SESSION_MS,
    "heartbeat_interval_ms": _SESSION_MS // 4,
}


class BatchConsumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Runs until stopped; raises what must end the process, or was not foreseen: then it may be run again."""

    def __init__(self, settings: ServiceSettings, batches: BatchProcessor, pool: Pool, watch: LagMonitor) -> None:
        self.batches = batches
        self._settings = settings
        self._pool = pool
        self._watch = watch
        self._prefix = settings.topic_prefix
        self._failures = 0
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._working = asyncio.Lock()
        self._interrupted = asyncio.Event()
        self._fetched: dict[Partition, int] = {}
        self._placing: asyncio.Task[None] | None = None
        self._broker: Any = None
        self._subscriber: Any = None

    async def run(self) -> None:
        self._fatal = asyncio.get_running_loop().create_future()
        self._working, self._interrupted = asyncio.Lock(), asyncio.Event()
        self._broker, self._subscriber = self._subscribed()
        try:
            await self._start()
            await self._fatal
        finally:
            await self._stop()

    async def reads(self) -> bool:
        """Whether it has partitions, and has been placed in them."""
        return bool(self.batches.positions)

    def _subscribed(self) -> tuple[KafkaBroker, Any]:
        settings, service = self._settings, self.batches.service
        broker = KafkaBroker(
            settings.kafka_bootstrap, client_id=f"stet-{service}", security=subscriber_security(settings),
            consumer_only=True, allow_auto_create_topics=False, apply_types=False,
            logger=_quiet(), log_level=logging.DEBUG, graceful_timeout=_LET_GO_SECONDS,
        )  # fmt: skip
        group = f"{self._prefix}stet.{service}"
        instance = f"{group}.{settings.instance}" if settings.instance else None
        subscriber = broker.subscriber(
            *(self._prefix + name for name in self.batches.topics), batch=True, group_id=group,
            group_instance_id=instance, ack_policy=AckPolicy.MANUAL, listener=self, parser=_whole, decoder=_records,
            **_KAFKA_OPTIONS,
        )  # fmt: skip
        subscriber(self._on_batch)
        return broker, subscriber

    async def _start(self) -> None:
        while True:
            try:
                await self._broker.start()
            except (KafkaError, OSError) as error:
                log.warning("dependency.awaited", neighbour="kafka", setting="STET_KAFKA_BOOTSTRAP",
                            error=type(error).__name__)  # fmt: skip
                await self._broker.stop()
                await asyncio.sleep(1)
            else:
                return

    async def _stop(self) -> None:
        """Finish the batch in hand, then leave the group."""
        self._interrupted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LET_GO_SECONDS):
                await self._working.acquire()
        self.batches.positions.clear()
        if self._placing is not None:
            self._placing.cancel()
        await self._broker.stop()

    # -------------------------------------------------------------- assignment

    async def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 -- eager assignors revoke all
        """The batch in hand may finish; one that waits for the world is given up. Progress decides what counts."""
        self._interrupted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LET_GO_SECONDS):
                async with self._working:
                    pass
        self.batches.positions.clear()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Returns at once, since no heartbeat is sent meanwhile; partitions stay paused until they are placed."""
        self._place_soon(assigned)

    def _place_soon(self, assigned: Iterable[TopicPartition]) -> None:
        assigned = list(assigned)
        self._consumer.pause(*assigned)
        for partition in assigned:
            self._consumer.seek(partition, 0)  # else the client looks for a committed offset, and fails without one
        self.batches.positions.clear()
        self._interrupted = asyncio.Event()
        if self._placing is not None:
            self._placing.cancel()
        self._placing = asyncio.ensure_future(self._place(assigned)) if assigned else None

    async def _place(self, assigned: list[TopicPartition]) -> None:
        told = ""
        while True:
            try:
                places = await self._look_up(assigned)
            except OffsetOutOfRange as error:
                return self.halt(error)
            except (KafkaError, *TRANSIENT_ERRORS) as error:
                if told != type(error).__name__:
                    told = type(error).__name__
                    log.warning("assignment.waits", error=told)
                await asyncio.sleep(random.uniform(0.2, 0.5))
            else:
                return self._read_from(places)

    async def _look_up(self, assigned: list[TopicPartition]) -> dict[Partition, int]:
        firsts = await self._watch.firsts([self._place_of(partition) for partition in assigned])
        places = await progress.load_progress(self._pool, firsts)
        for place, offset in places.items():
            if offset < firsts[place]:
                raise OffsetOutOfRange(place, offset, firsts[place])
        return places

    def _read_from(self, places: dict[Partition, int]) -> None:
        for place, offset in places.items():
            self._consumer.seek(self._partition(place), offset)
        self.batches.positions.update(places)
        self._fetched = dict(places)
        self._consumer.resume(*map(self._partition, places))
        log.info("partitions.assigned", partitions=len(places))

    # -------------------------------------------------------------- records

    async def _on_batch(self, records: tuple[ConsumerRecord[bytes, bytes], ...]) -> None:
        async with self._working:
            try:
                await self._work([(record.topic.removeprefix(self._prefix), record) for record in records])
            except Fenced as error:
                log.warning("batch.fenced", sentence=str(error))
                if not self._interrupted.is_set():
                    self._place_soon(self._consumer.assignment())
            except Exception as error:  # noqa: BLE001 -- whatever is left is ours: FastStream would swallow it
                self.halt(error)

    async def _work(self, records: list[tuple[str, Any]]) -> None:
        if not self._follows(records):
            self._read_again()
            return
        until, interrupted = time.monotonic() + _SLICE_SECONDS, self._interrupted
        while not interrupted.is_set():
            try:
                await self.batches.take(records)
            except Fenced:
                raise
            except Exception as error:
                if classify_failure(error) not in {FailureKind.TRANSIENT, FailureKind.RETRYABLE}:
                    raise
                await self._wait_after(error)
                if time.monotonic() > until:
                    self._read_again()
                    return
            else:
                self._failures = 0
                return

    def _follows(self, records: list[tuple[str, Any]]) -> bool:
        """Whether all that was fetched before these was handled: what was given up must be fetched again first."""
        after = {(topic, record.partition): record.offset + 1 for topic, record in records}
        follows = all(self._fetched.get(place) == self.batches.positions.get(place) for place in after)
        if follows:
            self._fetched.update(after)
        return follows

    async def _wait_after(self, error: Exception) -> None:
        """Full jitter; a deadlock's victim comes back at once, a rebalance or the end is not kept waiting."""
        self._failures += 1
        longest = (
            0.05
            if classify_failure(error) is FailureKind.RETRYABLE
            else min(_LONGEST_WAIT, 0.1 * 2 ** min(self._failures, 10))
        )
        wait = min(error.wait.total_seconds(), _SLICE_SECONDS) if isinstance(error, Throttled) else 0
        wait += random.uniform(0, longest)
        log.warning("batch.waits", error=type(error).__name__, seconds=round(wait, 2), attempt=self._failures)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._interrupted.wait()

    def _read_again(self) -> None:
        """Let go of the records in hand: the loop polls, which keeps us in the group, and fetches them anew."""
        assigned = self._consumer.assignment()
        for place, offset in self.batches.positions.items():
            if self._partition(place) in assigned:
                self._consumer.seek(self._partition(place), offset)
        self._fetched = dict(self.batches.positions)

    # -------------------------------------------------------------- between us and Kafka

    async def commit_offsets(self) -> None:
        """Kafka's own offsets only tell its tools how far we are; after a rebalance it is normal that this fails."""
        assigned = self._consumer.assignment() if self._consumer else ()
        offsets = {self._partition(place): offset for place, offset in self.batches.positions.items()}
        offsets = {partition: offset for partition, offset in offsets.items() if partition in assigned}
        if offsets:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(_COMMIT_SECONDS):
                    await self._consumer.commit(offsets)

    def restart(self) -> None:
        """Begin again where the progress in the database says; the batch in hand is given up."""
        if self._consumer is not None:
            self._interrupted.set()
            self._place_soon(self._consumer.assignment())

    def halt(self, error: Exception) -> None:
        """Read nothing more, and end with this error; whether the process ends too, its supervisor knows."""
        log.critical("consumer.halted", exc_info=error)
        self._interrupted.set()
        if self._consumer is not None:
            self._consumer.pause(*self._consumer.assignment())
        self.batches.positions.clear()
        if not self._fatal.done():
            self._fatal.set_exception(error)

    @property
    def _consumer(self) -> Any:
        return self._subscriber.consumer if self._subscriber is not None else None

    def _partition(self, place: Partition) -> TopicPartition:
        return TopicPartition(self._prefix + place[0], place[1])

    def _place_of(self, partition: TopicPartition) -> Partition:
        return partition.topic.removeprefix(self._prefix), partition.partition


def _quiet() -> logging.Logger:
    """FastStream would tell of every batch, on a handler of its own."""
    logger = logging.getLogger("stet.faststream")
    logger.setLevel(logging.ERROR)
    return logger


async def _whole(records: Any) -> KafkaMessage:
    """FastStream's own parser decodes every header of every record, and fails for all on one that is no text."""
    return KafkaMessage(raw_message=records, body=b"", consumer=FAKE_CONSUMER)


async def _records(message: KafkaMessage) -> Any:
    return message.raw_message
