"""Which partition a key belongs to: murmur2, as Java's clients have it, at under half the cost of aiokafka's own.

https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/utils/Utils.java (murmur2)
"""

import random
import struct
from collections.abc import Sequence
from functools import cache, lru_cache

from shared.contracts.topics import PARTITIONS, Topic

_SEED, _MULTIPLIER = 0x9747B28C, 0x5BD1E995
_WORD, _POSITIVE = 0xFFFFFFFF, 0x7FFFFFFF


@lru_cache(maxsize=16_384)
def murmur2(key: bytes) -> int:
    """32 bits, unsigned. Cached: the same people and works recur."""
    tail = len(key) & 3
    mixed = _SEED ^ len(key)
    for word in _words(len(key) >> 2).unpack_from(key):
        scattered = word * _MULTIPLIER & _WORD
        mixed = (mixed * _MULTIPLIER & _WORD) ^ ((scattered ^ scattered >> 24) * _MULTIPLIER & _WORD)
    if tail:
        mixed = (mixed ^ int.from_bytes(key[-tail:], "little")) * _MULTIPLIER & _WORD
    mixed = (mixed ^ mixed >> 13) * _MULTIPLIER & _WORD
    return mixed ^ mixed >> 15


def partition(key: bytes | None, every: Sequence[int], available: Sequence[int]) -> int:
    """Aiokafka's partitioner: the key's among ``every`` partition; without a key a random one of the available."""
    if key is None:
        return random.choice(available or every)
    return every[(murmur2(key) & _POSITIVE) % len(every)]


def partition_for_key(key: str) -> int:
    """The partition of one of Stet's topics that a record with this key goes to."""
    return (murmur2(key.encode()) & _POSITIVE) % PARTITIONS


def partition_guards(key: str, *topics: Topic) -> list[str]:
    """``consonance.events:7``: the partitions of these topics in which everything about ``key`` arrives.

    A timer with these guards fires only when each of them is caught up to the timer's due instant.
    """
    number = partition_for_key(key)
    return [f"{topic.name}:{number}" for topic in topics]


@cache
def _words(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")
