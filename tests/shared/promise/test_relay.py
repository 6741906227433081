"""A record the broker never takes is parked, and a topic it refuses waits: the outbox goes on with everything else."""

from collections import Counter

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.contracts.topics import CONTACTS, MESSAGES_REQUESTED, PARTITIONS
from tests.shared.promise.testbed import DeliveryTestbed, event, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
TOO_LARGE = bytes(1_500_000)
FILL = "insert into rules.outbox (topic, key, value, headers, written_at) values ($1, $2, $3, $4, now())"


async def fill(testbed: DeliveryTestbed, *rows: tuple[str, bytes | None, bytes, bytes | None]) -> None:
    connection = await asyncpg.connect(testbed.dsn)
    try:
        await connection.executemany(FILL, rows)
    finally:
        await connection.close()


async def only_waits(testbed: DeliveryTestbed, topic: str) -> bool:
    return {row["topic"] for row in await testbed.rows("select topic from rules.outbox")} <= {topic}


async def values(testbed: DeliveryTestbed, topic: str, key: bytes) -> list[bytes]:
    return [record.value for record in await testbed.read(topic) if record.key == key]


async def create(testbed: DeliveryTestbed, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=testbed.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(testbed.prefix + topic, num_partitions=PARTITIONS, replication_factor=1)])
    finally:
        await admin.close()


async def test_records_that_the_broker_refuses_delay_no_others(testbed: DeliveryTestbed) -> None:
    small = [(MESSAGES_REQUESTED.name, f"k{number % 7}".encode(), b"%d" % number, None) for number in range(40)]
    bad = (
        (MESSAGES_REQUESTED.name, b"k1", TOO_LARGE, None),
        (CONTACTS.name, None, b"a compacted topic wants a key", None),
        (MESSAGES_REQUESTED.name, b"k2", b"x", b"no JSON"),
        ("no.such.topic", b"k3", b"early", None),
    )
    await fill(testbed, *small[:20], *bad, *small[20:])
    sample = await testbed.sample()
    await until(lambda: only_waits(testbed, "no.such.topic"), 100)
    for key in {row[1] for row in small}:
        assert await values(testbed, MESSAGES_REQUESTED.name, key) == [row[2] for row in small if row[1] == key]
    parked = await testbed.rows("select topic, reason, octet_length(value) as bytes from rules.parked")
    assert Counter((row["topic"], row["reason"]) for row in parked) == {
        (MESSAGES_REQUESTED.name, "refused_by_broker"): 2,
        (CONTACTS.name, "refused_by_broker"): 1,
    }
    assert len(TOO_LARGE) in {row["bytes"] for row in parked}, "whole, so that nothing is lost"
    await create(testbed, "no.such.topic")
    await until(lambda: only_waits(testbed, ""), 60)
    assert await values(testbed, "no.such.topic", b"k3") == [b"early"]
    await testbed.produce([event("person-1", 1)])
    await until(lambda: testbed.reached(1))
    assert sample.alive
