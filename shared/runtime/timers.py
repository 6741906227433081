"""Timers that wait until caught up: a guard names a partition that must be read up to a due instant before it fires."""

from shared.contracts.topics import Topic
from shared.runtime.kafka import partition_for_key


def partition_guards(key: str, *topics: Topic) -> list[str]:
    """``consonance.events:7``: the partitions of these topics in which everything about ``key`` arrives."""
    partition = partition_for_key(key)
    return [f"{topic.name}:{partition}" for topic in topics]
