"""Publishes records to Kafka; they count only when all in-sync replicas have acknowledged all records of a request."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from aiokafka.errors import KafkaError

from services.ingest.records import KafkaRecord
from shared.contracts.errors import Unavailable
from shared.contracts.topics import Topic
from shared.runtime.kafka import OutgoingRecord, Producer
from shared.runtime.tracing import is_recorded_here, publish_span, traceparent_in

_METADATA_SECONDS = 2.0


class KafkaPublisher:
    """Uses the process's only producer: idempotent, ``acks=all``. ``prefix`` is put before the name of each topic."""

    def __init__(self, producer: Producer, prefix: str) -> None:
        self._producer = producer
        self._prefix = prefix

    async def publish(self, records: Sequence[KafkaRecord]) -> None:
        """Return when the broker has all of them. Raises Unavailable; the broker may then have some of them."""
        if records:
            with _publish_span(records):
                await self._publish(records)

    async def forget(self, topic: Topic, keys: Sequence[str]) -> None:
        """Return when the broker has a tombstone for each of these keys: a compacted topic drops both in time.

        Raises Unavailable.
        """
        await self._send([OutgoingRecord(self._prefix + topic.name, key.encode(), None, []) for key in keys])

    async def _publish(self, records: Sequence[KafkaRecord]) -> None:
        name = self._prefix
        await self._send([OutgoingRecord(name + one.topic.name, one.key, one.value, one.headers) for one in records])

    async def _send(self, outgoing: Sequence[OutgoingRecord]) -> None:
        try:
            acknowledged = await self._producer.send_together(outgoing)
            if len(acknowledged) == 1:
                await acknowledged[0]
            else:
                await asyncio.gather(*acknowledged)
        except KafkaError as error:
            raise Unavailable(f"Kafka: {type(error).__name__}") from error

    async def is_reachable(self) -> bool:
        try:
            async with asyncio.timeout(_METADATA_SECONDS):
                await self._producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError):
            return False
        return True


def _publish_span(records: Sequence[KafkaRecord]) -> AbstractContextManager[object]:
    """All records of a request have its trace."""
    if not is_recorded_here():
        return nullcontext()
    return publish_span({one.topic.name for one in records}, [traceparent_in(records[0].headers)], len(records))
