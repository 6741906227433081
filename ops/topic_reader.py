"""Reads the topics beside their consumers: in no consumer group, and committing nothing.

Every wait for the broker ends: a command is run in an incident, when the broker may stand still at any moment.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ops.command_settings import broker_away, cause_of
from ops.rules.output import counted
from shared.contracts.errors import Misconfigured
from shared.contracts.topics import CONSUMED, PARTITIONS, Topic
from shared.runtime.aiokafka_faults import mend_consumers
from shared.runtime.connection_settings import KafkaSettings
from shared.runtime.kafka import client_options, connection_fault

_FETCH_MS = 500
_MOST_RECORDS = 4000
_CONNECT_MS = 10_000
_ANSWER_SECONDS = 10.0
"""The time without a step forward after which the broker counts as standing still."""

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
    mend_consumers()
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        client_id="stet-operator",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=_CONNECT_MS,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    try:
        await _start(consumer, settings)
        yield consumer
    finally:
        await consumer.stop()


async def _start(consumer: Any, settings: KafkaSettings) -> None:
    try:
        await consumer.start()
    except KafkaError as error:
        raise await connection_fault(settings) or broker_away(error, settings.kafka_bootstrap) from error


async def kept_ranges(settings: KafkaSettings) -> Mapping[Position, range]:
    """The offsets of the records that each partition has, of those that some service reads.

    Raises Misconfigured where no broker answers, or a topic is not there.
    """
    topics = {settings.topic_prefix + topic.name for consumed in CONSUMED.values() for topic in consumed}
    async with reader(settings) as consumer:
        partitions = [TopicPartition(name, p) for name in topics for p in range(PARTITIONS)]
        if absent := topics - await _topics_there(consumer, settings):
            raise Misconfigured("STET_KAFKA_BOOTSTRAP", _absent_topics(absent))
        try:
            async with asyncio.timeout(3 * _ANSWER_SECONDS):
                firsts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        except (KafkaError, TimeoutError) as error:
            raise broker_away(error, settings.kafka_bootstrap) from error
    return {
        (place.topic.removeprefix(settings.topic_prefix), place.partition): range(firsts[place], end)
        for place, end in ends.items()
    }


async def _topics_there(consumer: Any, settings: KafkaSettings) -> set[str]:
    """Raises Misconfigured where no broker answers."""
    try:
        async with asyncio.timeout(3 * _ANSWER_SECONDS):
            return set(await consumer.topics())
    except (KafkaError, TimeoutError) as error:
        raise broker_away(error, settings.kafka_bootstrap) from error


def _absent_topics(names: Iterable[str]) -> str:
    return f"the broker has no topic {', '.join(sorted(names))}, or does not show it; see stet topics check"


class TopicScan:
    """Looks through topics for records that hold one of some texts. ``read`` counts what was looked at.

    ``missing`` says what could not be read: a topic that is not there, or what was left where the broker stopped
    answering on the way; else it is empty.
    """

    def __init__(self, settings: KafkaSettings, topics: Sequence[Topic]) -> None:
        self._settings = settings
        self._topics = {settings.topic_prefix + topic.name: topic for topic in topics}
        self.read = 0
        self.seconds = 0.0
        self.missing = ""

    async def find_all(self, texts: Iterable[str], since_ms: int | None = None) -> list[FoundRecord]:
        """As ``find``. Raises Misconfigured where the topics were not read to their end."""
        found = await self.find(texts, since_ms)
        if self.missing:
            raise Misconfigured("STET_KAFKA_BOOTSTRAP", self.missing)
        return found

    async def find(self, texts: Iterable[str], since_ms: int | None = None) -> list[FoundRecord]:
        """Records from ``since_ms`` (machine time, epoch) on, else from the first kept one, up to the end of now.

        Raises Misconfigured where no broker answers from the start.
        """
        needles = [text.encode() for text in texts]
        began = time.monotonic()
        found: list[FoundRecord] = []
        async with reader(self._settings) as consumer:
            there = self._topics.keys() & await _topics_there(consumer, self._settings)
            if absent := self._topics.keys() - there:
                self._note_missing(_absent_topics(absent))
            try:
                async with asyncio.timeout(3 * _ANSWER_SECONDS):
                    left = await self._position(consumer, there, since_ms)
            except (KafkaError, TimeoutError) as error:
                raise broker_away(error, self._settings.kafka_bootstrap) from error
            found += [record async for record in self._records(consumer, left, needles)]
        self.seconds += time.monotonic() - began
        return found

    async def _records(
        self, consumer: Any, left: dict[TopicPartition, int], needles: Sequence[bytes]
    ) -> AsyncIterator[FoundRecord]:
        """Read what is left; where nothing comes any more, say in ``missing`` what remains."""
        positions: dict[TopicPartition, int] = {}
        moved = time.monotonic()
        while left:
            try:
                batches = await consumer.getmany(timeout_ms=_FETCH_MS, max_records=_MOST_RECORDS)
                now_at = {place: await consumer.position(place) for place in left}
            except KafkaError as error:
                self._note_missing(self._sentence(left, cause_of(error)))
                return
            for place, records in batches.items():
                self.read += len(records)
                topic = self._topics[place.topic]
                for record in records:
                    if record.value is not None and any(needle in record.value for needle in needles):
                        yield FoundRecord(topic, place.partition, record.offset, record.value)
            if now_at != positions:
                positions, moved = now_at, time.monotonic()
            elif time.monotonic() - moved > _ANSWER_SECONDS:
                self._note_missing(self._sentence(left, f"nothing came for {_ANSWER_SECONDS:.0f} s"))
                return
            left = {place: end for place, end in left.items() if now_at[place] < end}

    def _note_missing(self, sentence: str) -> None:
        """Note a sentence in ``missing`` once: a second search of the same topics misses the same."""
        if sentence not in self.missing:
            self.missing = "; ".join(filter(None, (self.missing, sentence)))

    def _sentence(self, left: Iterable[TopicPartition], why: str) -> str:
        counts = Counter(self._topics[place.topic].name for place in left)
        listed = ", ".join(f"{name} ({count} of {PARTITIONS} partitions)" for name, count in sorted(counts.items()))
        return (
            f"the broker stopped answering after {counted(self.read, 'record')} ({why}); not read to the end: {listed}"
        )

    @staticmethod
    async def _position(consumer: Any, there: Iterable[str], since_ms: int | None) -> dict[TopicPartition, int]:
        """Start every partition of the topics that are there; returns the ends of those that have anything to read."""
        places = [TopicPartition(name, partition) for name in there for partition in range(PARTITIONS)]
        consumer.assign(places)
        ends, firsts = await consumer.end_offsets(places), await consumer.beginning_offsets(places)
        if since_ms is not None:
            later = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
            firsts = {place: later[place].offset if later.get(place) else ends[place] for place in places}
        for place in places:
            consumer.seek(place, firsts[place])
        return {place: end for place, end in ends.items() if firsts[place] < end}
