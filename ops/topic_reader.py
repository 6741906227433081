"""Reads the topics beside their consumers: in no consumer group, and committing nothing."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ops.command_line import broker_away
from shared.contracts.topics import CONSUMED, PARTITIONS, Topic
from shared.runtime.connection_settings import KafkaSettings
from shared.runtime.kafka import client_options, connection_fault

_FETCH_MS = 500
_MOST_RECORDS = 4000
_CONNECT_MS = 10_000

Position = tuple[str, int]
"""A topic without the prefix, and a partition."""


@dataclass(frozen=True, slots=True)
class FoundRecord:
    topic: Topic
    partition: int
    offset: int
    value: bytes


@asynccontextmanager
async def reader(settings: KafkaSettings) -> AsyncIterator[Any]:
    """A consumer without a group. Raises Misconfigured where no broker takes it or answers."""
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        client_id="stet-operator",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=_CONNECT_MS,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    try:
        await consumer.start()
    except KafkaError as error:
        await consumer.stop()
        raise await connection_fault(settings) or broker_away(error, settings.kafka_bootstrap) from error
    try:
        yield consumer
    finally:
        await consumer.stop()


async def end_offsets(settings: KafkaSettings) -> Mapping[Position, int]:
    """The end of each partition that some service reads."""
    topics = {topic.name for consumed in CONSUMED.values() for topic in consumed}
    async with reader(settings) as consumer:
        partitions = [TopicPartition(settings.topic_prefix + name, p) for name in topics for p in range(PARTITIONS)]
        ends = await consumer.end_offsets(partitions)
    return {(place.topic.removeprefix(settings.topic_prefix), place.partition): end for place, end in ends.items()}


class TopicScan:
    """Looks through topics for records that hold one of some texts. ``read`` counts what was looked at."""

    def __init__(self, settings: KafkaSettings, topics: Sequence[Topic]) -> None:
        self._settings = settings
        self._topics = {settings.topic_prefix + topic.name: topic for topic in topics}
        self.read = 0
        self.seconds = 0.0

    async def find(self, texts: Iterable[str], since_ms: int | None = None) -> list[FoundRecord]:
        """Records from ``since_ms`` (machine time, epoch) on, else from the first kept one, up to the end of now."""
        needles = [text.encode() for text in texts]
        began = time.monotonic()
        found: list[FoundRecord] = []
        async with reader(self._settings) as consumer:
            left = await self._position(consumer, since_ms)
            while left:
                batches = await consumer.getmany(timeout_ms=_FETCH_MS, max_records=_MOST_RECORDS)
                for place, records in batches.items():
                    self.read += len(records)
                    topic = self._topics[place.topic]
                    found += [
                        FoundRecord(topic, place.partition, record.offset, record.value)
                        for record in records
                        if record.value is not None and any(needle in record.value for needle in needles)
                    ]
                left = {place: end for place, end in left.items() if await consumer.position(place) < end}
        self.seconds += time.monotonic() - began
        return found

    async def _position(self, consumer: Any, since_ms: int | None) -> dict[TopicPartition, int]:
        """Start every partition; returns the ends of those that have anything to read."""
        places = [TopicPartition(name, partition) for name in self._topics for partition in range(PARTITIONS)]
        consumer.assign(places)
        ends, firsts = await consumer.end_offsets(places), await consumer.beginning_offsets(places)
        if since_ms is not None:
            later = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
            firsts = {place: later[place].offset if later.get(place) else ends[place] for place in places}
        for place in places:
            consumer.seek(place, firsts[place])
        return {place: end for place, end in ends.items() if firsts[place] < end}
