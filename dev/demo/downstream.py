"""What downstream systems hear: the topic of approved metadata, read to its end."""

from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from dev.demo.outside import Json
from shared.contracts.topics import PARTITIONS

TOPIC = "metadata.approved"


class Downstream:
    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def announced(self, work_id: int) -> list[Json]:
        """The data of every announcement about a work, oldest first."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            events = await _all(consumer)
        finally:
            await consumer.stop()
        return [event["data"] for event in events if event["data"].get("work_id") == work_id]


async def _all(consumer: AIOKafkaConsumer) -> list[Any]:
    partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    ends = await consumer.end_offsets(partitions)
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    events = []
    for partition, end in ends.items():
        while await consumer.position(partition) < end:
            for batch in (await consumer.getmany(partition, timeout_ms=200)).values():
                events += [orjson.loads(record.value) for record in batch]
    return events
