"""Reading Kafka: one FastStream batch subscriber for all topics of a service, placed by PostgreSQL's progress.

The client's reset policy is never relied on: every assignment is paused, placed where progress says, checked against
what the broker still has, and only then read. An outage is waited out in slices shorter than the group's patience.
"""

import asyncio
import random
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaRoute, KafkaRouter

from shared import progress
from shared.batch import AWAY, Batches
from shared.clock import Clock
from shared.kafka import subscriber_security
from shared.postgres import Pool
from shared.progress import Fenced
from shared.settings import ServiceSettings
from shared.telemetry import gauge, get_logger

log = get_logger()
_MOST_RECORDS = 500
_LONGEST_WAIT = 25.0
_COMMIT_EVERY = 1.0


class OutOfRange(RuntimeError):
    """The broker no longer has what progress expects next: something was lost, and a person must look."""


class BatchConsumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Runs until stopped. ``fatal`` is set with the error that must end the process."""

    def __init__(self, settings: ServiceSettings, batches: Batches, pool: Pool, clock: Clock) -> None:
        self.batches = batches
        self.fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._prefix = settings.topic_prefix
        self._failures = 0
        self._committed_at = 0.0
        self._caught_up = gauge(f"stet_{batches.service}_lag_records", "Records not read yet, over all partitions")
        self._broker = KafkaBroker(
            settings.kafka_bootstrap, logger=None, consumer_only=True, security=subscriber_security(settings)
        )
        router = KafkaRouter(handlers=(self._route(),))
        self._broker.include_router(router)

    def _route(self) -> KafkaRoute:
        return KafkaRoute(
            self._on_batch, *(self._prefix + name for name in self.batches.topics), batch=True,
            group_id=f"{self._prefix}stet.{self.batches.service}", auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL, batch_timeout_ms=10, max_records=_MOST_RECORDS, listener=self,
            decoder=_undecoded, fetch_max_bytes=16 * 1024 * 1024, max_partition_fetch_bytes=4 * 1024 * 1024,
        )  # fmt: skip

    async def run(self) -> None:
        await self._broker.start()
        try:
            await self.fatal
        finally:
            await self._broker.stop()

    @property
    def consumer(self) -> Any:
        subscriber = self._broker.subscribers[0]
        return getattr(subscriber, "consumer", None)

    # -------------------------------------------------------------- assignment

    async def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 -- eager assignors revoke all
        self.batches.positions.clear()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self.consumer.pause(*assigned)
        self.batches.positions.clear()
        while True:
            try:
                await self._place(set(assigned))
            except (KafkaError, *AWAY) as error:
                log.warning("assignment.waits", error=type(error).__name__)
                await asyncio.sleep(1)
            except OutOfRange as error:
                self._halt(error)
                return
            else:
                return

    async def _place(self, assigned: set[TopicPartition]) -> None:
        kept = await progress.read(self._pool, self.batches.topics)
        first = await self.consumer.beginning_offsets(list(assigned))
        places = {}
        for tp in assigned:
            place = (self._name(tp.topic), tp.partition)
            places[place] = kept.get(place, first[tp])
            if places[place] < first[tp]:
                raise OutOfRange(f"{place[0]}:{place[1]} begins at {first[tp]}, expected {places[place]}")
            self.consumer.seek(tp, places[place])
        self.batches.positions.update(places)
        self.consumer.resume(*assigned)
        log.info("partitions.assigned", partitions=len(assigned))

    def _name(self, topic: str) -> str:
        return topic.removeprefix(self._prefix)

    # -------------------------------------------------------------- records

    async def _on_batch(self, message: KafkaMessage) -> None:
        raw: Any = message.raw_message  # of a batch: a tuple of consumer records
        named = ((self._name(record.topic), record) for record in raw)
        records = [(topic, record) for topic, record in named if self.batches.fresh(topic, record)]
        if not records:
            return
        try:
            await self.batches.take(records)
        except Fenced as error:
            log.warning("batch.fenced", where=str(error))
            await self.on_partitions_assigned(self.consumer.assignment())
        except AWAY as error:
            await self._back_off(error)
        except Exception as error:  # noqa: BLE001 -- what is left is ours: stop the process and say why
            self._halt(error)
        else:
            self._failures = 0
            await self._commit_for_lag()

    async def _back_off(self, error: BaseException) -> None:
        """Wait, then read the same records again; memory stays as it is, since nothing new is fetched meanwhile."""
        self._failures += 1
        wait = min(_LONGEST_WAIT, 0.1 * 2 ** min(self._failures, 8)) * random.uniform(0.7, 1.0)
        log.warning("batch.waits", error=type(error).__name__, seconds=round(wait, 1), attempt=self._failures)
        await asyncio.sleep(wait)
        for (topic, partition), offset in self.batches.positions.items():
            tp = TopicPartition(self._prefix + topic, partition)
            if tp in self.consumer.assignment():
                self.consumer.seek(tp, offset)

    async def _commit_for_lag(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._committed_at < _COMMIT_EVERY:
            return
        self._committed_at = now
        assigned = self.consumer.assignment()
        offsets = {tp: o for (t, p), o in self.batches.positions.items() if (tp := self._partition(t, p)) in assigned}
        try:
            await self.consumer.commit(offsets)
        except KafkaError as error:  # after a rebalance this is normal
            log.info("offsets.not_committed", error=type(error).__name__)

    def _partition(self, topic: str, partition: int) -> TopicPartition:
        return TopicPartition(self._prefix + topic, partition)

    def _halt(self, error: Exception) -> None:
        log.critical("consumer.halted", error=type(error).__name__, sentence=str(error))
        self.consumer.pause(*self.consumer.assignment())
        if not self.fatal.done():
            self.fatal.set_exception(error)

    # -------------------------------------------------------------- caught up

    async def catch_up(self) -> None:
        """Forever: business ``now`` first, then the ends; what is read to its end is caught up to that now."""
        driven = self._settings.development_clock is not None
        while True:
            await asyncio.sleep(0.05 if driven else 1.0)
            try:
                now = self._clock.now()
                read_to_end, lag = await self._read_to_end()
                self._caught_up.set(lag)
                await progress.catch_up(self._pool, read_to_end, now)
            except (KafkaError, *AWAY) as error:
                log.warning("catching_up.waits", error=type(error).__name__)
                await asyncio.sleep(1)

    async def _read_to_end(self) -> tuple[dict[progress.Place, int], int]:
        positions = dict(self.batches.positions)
        if not positions or self.consumer is None:
            return {}, 0
        ends = await self.consumer.end_offsets([self._partition(t, p) for t, p in positions])
        behind = {place: ends[self._partition(*place)] - at for place, at in positions.items()}
        at_end = {place: positions[place] for place, records in behind.items() if records <= 0}
        return at_end, sum(max(0, records) for records in behind.values())

    async def behind(self) -> bool:
        """Whether anything is left to read, or nothing is assigned yet."""
        if not self.batches.positions:
            return True
        return (await self._read_to_end())[1] > 0

    @property
    def assigned(self) -> bool:
        return bool(self.batches.positions)


async def _undecoded(message: Any) -> Any:
    return message.body
