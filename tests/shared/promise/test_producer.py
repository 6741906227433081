"""A producer delivers what is sent together, and gives up what it has not delivered, whatever the broker does."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from dev.kafka import EmbeddedKafka
from shared.contracts.ids import TenantId
from shared.contracts.topics import CONTACTS
from shared.runtime.batch import Tombstone, parse_record
from shared.runtime.kafka import BATCH_BYTES, OutgoingRecord, Producer
from shared.runtime.settings import ServiceSettings
from tests.frozen_processes import frozen
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
        await send_one(producer, b"first")
        with frozen(own_kafka.child.pid):
            given_up = asyncio.ensure_future(send_one(producer, b"second"))
            await until(lambda: is_under_way(producer))
            renewing = asyncio.create_task(producer.restart())
            with pytest.raises(KafkaError):
                await given_up
            await asyncio.wait([renewing], timeout=5)  # aiokafka waits for the request until it times out
        await renewing
        await send_one(producer, b"third")
    finally:
        await producer.stop()


@pytest.mark.timeout(60)
async def test_records_sent_together_arrive_in_order_also_where_they_need_several_batches(
    own_kafka: EmbeddedKafka,
) -> None:
    await create_topic(own_kafka, partitions=3)
    producer = Producer(settings_for(own_kafka))
    await producer.start()
    size, keys = BATCH_BYTES // 10, [f"key-{number}".encode() for number in range(8)]
    try:
        sent = [OutgoingRecord(TOPIC, keys[number % 8], b"%04d" % number + bytes(size), []) for number in range(120)]
        acknowledged = [*await producer.send_together(sent[:50]), *await producer.send_together(sent[50:])]
        await asyncio.gather(*acknowledged)
    finally:
        await producer.stop()
    arrived = await read_values(own_kafka, len(sent), partitions=3)
    for key in keys:
        assert arrived[key] == [(record.value or b"")[:4] for record in sent if record.key == key]


@pytest.mark.timeout(60)
async def test_a_record_without_a_value_is_a_tombstone(own_kafka: EmbeddedKafka) -> None:
    await create_topic(own_kafka)
    producer = Producer(settings_for(own_kafka))
    await producer.start()
    try:
        await asyncio.gather(
            *await producer.send_together([OutgoingRecord(TOPIC, b"key", value, []) for value in (b"value", None)])
        )
    finally:
        await producer.stop()
    async with AIOKafkaConsumer(bootstrap_servers=own_kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(TOPIC, 0)])
        records = [await consumer.getone() for _ in range(2)]
    assert [(record.key, record.value) for record in records] == [(b"key", b"value"), (b"key", None)]
    assert isinstance(parse_record(CONTACTS, records[1]), Tombstone)


@pytest.mark.timeout(60)
async def test_a_sender_that_gives_up_leaves_the_records_of_others_in_the_same_batch(own_kafka: EmbeddedKafka) -> None:
    await create_topic(own_kafka)
    producer = Producer(settings_for(own_kafka))
    await producer.start()
    record = OutgoingRecord(TOPIC, b"key", b"value", [])
    try:
        (given_up,) = await producer.send_together([record, record])
        (awaited,) = await producer.send_together([record])
        given_up.cancel()
        acknowledged = await awaited
    finally:
        await producer.stop()
    assert acknowledged.offset == 2


@pytest.mark.timeout(60)
async def test_a_producer_that_has_failed_takes_no_record_into_a_batch_that_it_will_never_send(
    own_kafka: EmbeddedKafka,
) -> None:
    await create_topic(own_kafka)
    producer = Producer(settings_for(own_kafka))
    await producer.start()
    try:
        with frozen(own_kafka.child.pid):
            sent = [asyncio.ensure_future(send_one(producer, b"under way"))]
            await until(lambda: is_under_way(producer))
            sent.append(asyncio.ensure_future(send_one(producer, b"waiting")))
            await asyncio.sleep(0)
            producer._producer._message_accumulator.fail_all(KafkaError())
            with pytest.raises(KafkaError):
                await asyncio.wait_for(send_one(producer, b"late"), 1)
        assert all(isinstance(result, KafkaError) for result in await asyncio.gather(*sent, return_exceptions=True))
    finally:
        await producer.stop()


async def send_one(producer: Producer, value: bytes) -> None:
    (acknowledged,) = await producer.send_together([OutgoingRecord(TOPIC, b"key", value, [])])
    await acknowledged


async def create_topic(kafka: EmbeddedKafka, partitions: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=partitions, replication_factor=1)])
    finally:
        await admin.close()


async def read_values(kafka: EmbeddedKafka, count: int, partitions: int) -> dict[bytes, list[bytes]]:
    """The first four bytes of each value, by key."""
    found: dict[bytes, list[bytes]] = {}
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(TOPIC, number) for number in range(partitions)])
        for _ in range(count):
            record = await consumer.getone()
            found.setdefault(record.key, []).append(record.value[:4])
    return found


async def is_under_way(producer: Producer) -> bool:
    return bool(producer._producer._sender._in_flight)
