"""Commits of offsets to Kafka, which only its own tools read, around a rebalance."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import CommitFailedError

from shared.runtime import consumer as consumer_module
from shared.runtime.aiokafka_faults import mend_consumers
from shared.runtime.consumer import BatchConsumer
from shared.runtime.progress import Partition

PLACE = TopicPartition("writes.requested", 0)


class RecordingConsumer:
    """A client that has one partition, and records what it is told."""

    def __init__(self) -> None:
        self.committed: list[dict[TopicPartition, int]] = []
        self.resumed: list[TopicPartition] = []

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset({PLACE})

    def pause(self, *_: TopicPartition) -> None: ...

    def seek(self, _: TopicPartition, __: int) -> None: ...

    def resume(self, *places: TopicPartition) -> None:
        self.resumed += places

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.committed.append(offsets)


class WaitingLookup:
    """The first offsets of partitions, which are found when the test lets them be found."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def topic_ids(self, topics: set[str]) -> dict[str, UUID]:
        self.asked.set()
        await self.may_answer.wait()
        return dict.fromkeys(topics, UUID(int=1))

    async def first_offsets(self, partitions: list[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 0)


async def test_an_assignment_that_ends_while_its_positions_are_looked_up_is_neither_read_nor_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a group that rebalances at once commits an ended generation in each round."""

    async def progress(_: object, firsts: dict[Partition, int], __: object) -> dict[Partition, int]:
        return dict.fromkeys(firsts, 5)

    monkeypatch.setattr(consumer_module, "load_progress", progress)
    client, lookup, processor = RecordingConsumer(), WaitingLookup(), SimpleNamespace(positions={})
    others: Any = (SimpleNamespace(topic_prefix=""), processor, None, lookup)
    consumer = BatchConsumer(*others)
    consumer._subscriber = SimpleNamespace(consumer=client)
    await consumer.on_partitions_assigned([PLACE])
    await lookup.asked.wait()
    positioning = consumer._positioning
    assert positioning is not None
    await consumer.on_partitions_revoked([PLACE])
    lookup.may_answer.set()
    await asyncio.wait({positioning})
    await consumer.commit_offsets()
    assert (processor.positions, client.resumed, client.committed) == ({}, [], [])
    await consumer.on_partitions_assigned([PLACE])
    assert consumer._positioning is not None
    await consumer._positioning
    await consumer.commit_offsets()
    assert (client.resumed, client.committed) == ([PLACE], [{PLACE: 5}])


class Member(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """A client of a group of two."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.client = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, group_id=f"group-{topic}", enable_auto_commit=False,
            session_timeout_ms=6000, heartbeat_interval_ms=1000,
        )  # fmt: skip
        self.client.subscribe([topic], listener=self)
        self.may_join = asyncio.Event()
        self.may_join.set()

    async def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 -- whatever is revoked
        await self.may_join.wait()

    async def on_partitions_assigned(self, assigned: Any) -> None: ...

    @property
    def generation(self) -> int:
        return int(self.client._coordinator.generation)

    @property
    def is_joining(self) -> bool:
        return bool(self.client._coordinator._performed_join_prepare)

    async def commit(self) -> None:
        await self.client.commit(dict.fromkeys(self.client.assignment(), 0))

    async def commit_when_joined(self) -> None:
        while True:
            try:
                return await self.commit()
            except CommitFailedError:
                await asyncio.sleep(0.02)


@pytest.mark.integration
async def test_a_commit_during_a_join_does_not_begin_the_join_anew(kafka_bootstrap: str, unique_suffix: str) -> None:
    mend_consumers()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"joined-{unique_suffix}", 2, 1)])
    await admin.close()
    one, other = (Member(kafka_bootstrap, f"joined-{unique_suffix}") for _ in range(2))
    try:
        async with asyncio.timeout(40):
            await one.client.start()  # first, and so the leader: the broker answers another's request to join at once
            await other.client.start()
            while not len(one.client.assignment()) == len(other.client.assignment()) == 1:
                await asyncio.sleep(0.05)
            await asyncio.gather(one.commit_when_joined(), other.commit_when_joined())
            before = one.generation
            other.may_join.clear()
            one.client._coordinator.request_rejoin()
            while not one.is_joining:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # the request to join is with the broker, and waits for the other member
            commit = asyncio.ensure_future(one.commit())
            await asyncio.wait({commit}, timeout=0.5)
            other.may_join.set()
            with pytest.raises(CommitFailedError):
                await commit
            await one.commit_when_joined()
            assert one.generation == before + 1
    finally:
        await asyncio.gather(one.client.stop(), other.client.stop())
