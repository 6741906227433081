"""Commits of offsets to Kafka, which only its own tools read."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from shared.runtime import consumer as consumer_module
from shared.runtime.consumer import BatchConsumer

PLACE = TopicPartition("writes.requested", 0)


class RefusingConsumer:
    """Its group has another generation already: each commit fails, and makes the client join again."""

    def __init__(self) -> None:
        self.commits = 0

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset({PLACE})

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        assert offsets == {PLACE: 5}
        self.commits += 1
        raise CommitFailedError


async def test_after_a_failed_commit_the_group_has_time_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a commit in each rebalance begins the next one, for ever."""
    client, settings, processor = RefusingConsumer(), SimpleNamespace(topic_prefix=""), SimpleNamespace()
    processor.positions = {("writes.requested", 0): 5}
    others: Any = (settings, processor, None, None)
    consumer = BatchConsumer(*others)
    consumer._subscriber = SimpleNamespace(consumer=client)
    for _ in range(3):
        await consumer.commit_offsets()
    assert client.commits == 1
    monkeypatch.setattr(consumer_module, "_SECONDS_AFTER_FAILED_COMMIT", -1.0)
    consumer._no_commit_before = 0.0
    for _ in range(3):
        await consumer.commit_offsets()
    assert client.commits == 4
