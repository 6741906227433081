"""Faults of aiokafka that are mended; that of header names is in promise/test_invalid_records.py."""

import asyncio
import logging

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.runtime.aiokafka_faults import mend_consumers

pytestmark = pytest.mark.integration


async def test_a_consumer_of_a_deleted_topic_asks_for_it_some_times_a_second(
    kafka_bootstrap: str, unique_suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    mend_consumers()
    topic = f"deleted-{unique_suffix}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, retry_backoff_ms=100)
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.seek_to_beginning()
    caplog.set_level(logging.ERROR, "aiokafka")
    await admin.delete_topics([topic])

    def asked() -> int:
        return sum(f"{topic} not found" in line for line in caplog.messages)

    async with asyncio.timeout(30):
        while not asked():
            await consumer.getmany(timeout_ms=100)
    before = asked()
    await asyncio.sleep(1)
    again = asked() - before
    await consumer.stop()
    await admin.close()
    assert again <= 15
