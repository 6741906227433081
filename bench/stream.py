"""Filling a topic before those who read it are let go."""

from collections.abc import Iterable

from aiokafka import AIOKafkaProducer

from bench.people import Record
from shared.contracts.topics import Topic


async def fill(kafka: str, topic: Topic, records: Iterable[Record]) -> int:
    """How many records were written; all are when it returns."""
    count = 0
    producer = AIOKafkaProducer(bootstrap_servers=kafka, max_batch_size=256 * 1024, linger_ms=5)
    async with producer:
        for key, value in records:
            await producer.send(topic.name, value, key.encode())
            count += 1
        await producer.flush()
    return count
