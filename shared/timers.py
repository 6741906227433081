"""Timers that wait until caught up: a guard names a partition that must be read up to a due instant before it fires."""

from shared.kafka import partition_of
from shared.topics import Topic


def guard(topic: Topic, key: str) -> str:
    """``consonance.events:7``: the partition of ``topic`` in which everything about ``key`` arrives."""
    return f"{topic.name}:{partition_of(key)}"
