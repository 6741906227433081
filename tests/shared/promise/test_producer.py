"""A producer gives up what it has not delivered, whatever the broker does meanwhile."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from dev.kafka import EmbeddedKafka
from shared.contracts.ids import TenantId
from shared.runtime.kafka import Producer
from shared.runtime.settings import ServiceSettings
from tests.shared.promise.testbed import until

pytestmark = pytest.mark.integration
TOPIC = "producer.test"


def settings_for(kafka: EmbeddedKafka) -> ServiceSettings:
    return ServiceSettings(tenant=TenantId("t"), kafka_bootstrap=kafka.bootstrap, postgres_dsn="postgresql://none")


@pytest.mark.timeout(60)
async def test_a_request_under_way_is_given_up_and_the_next_record_leaves(own_kafka: EmbeddedKafka) -> None:
    await create_topic(own_kafka)
    producer = Producer(settings_for(own_kafka))
    await producer.start()
    try:
        await (await producer.send(TOPIC, b"first", b"key"))
        with frozen(own_kafka.child.pid):
            given_up = await producer.send(TOPIC, b"second", b"key")
            await until(lambda: is_under_way(producer))
            renewing = asyncio.create_task(producer.restart())
            with pytest.raises(KafkaError):
                await given_up
            await asyncio.wait([renewing], timeout=5)  # aiokafka waits for the request until it times out
        await renewing
        await (await producer.send(TOPIC, b"third", b"key"))
    finally:
        await producer.stop()


async def create_topic(kafka: EmbeddedKafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def is_under_way(producer: Producer) -> bool:
    return bool(producer._producer._sender._in_flight)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
