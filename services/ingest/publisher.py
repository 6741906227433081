"""Records to Kafka, acknowledged by every replica in sync; part of a body never counts as the body."""

import asyncio
from collections.abc import Sequence

from aiokafka.errors import KafkaError

from services.ingest.records import Record
from shared.contracts.errors import Unavailable
from shared.runtime.kafka import Producer

_ASK_SECONDS = 2.0


class Publisher:
    """Around the process's one producer: idempotent, ``acks=all``. ``prefix`` stands before every topic's name."""

    def __init__(self, producer: Producer, prefix: str) -> None:
        self._producer = producer
        self._prefix = prefix

    async def publish(self, records: Sequence[Record]) -> None:
        """Return once the broker has all of them. Raises Unavailable; some may have arrived then, and will again."""
        send, prefix = self._producer.send, self._prefix
        try:
            acknowledged = [await send(prefix + one.topic.name, one.value, one.key, one.headers) for one in records]
            if len(acknowledged) == 1:
                await acknowledged[0]
            else:
                await asyncio.gather(*acknowledged)
        except KafkaError as error:
            raise Unavailable(f"Kafka: {type(error).__name__}") from error

    async def reachable(self) -> bool:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await self._producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError):
            return False
        return True
