"""Which partition a key belongs to, as every Kafka client of the Java tradition has it, at under half aiokafka's price.

https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/utils/Utils.java (murmur2)
"""

import random
import struct
from collections.abc import Sequence
from functools import cache, lru_cache

_SEED, _MULTIPLIER = 0x9747B28C, 0x5BD1E995
_WORD, _POSITIVE = 0xFFFFFFFF, 0x7FFFFFFF


@lru_cache(maxsize=16_384)
def murmur2(key: bytes) -> int:
    """32 bits, unsigned. The same people and works come again and again."""
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
    """As aiokafka asks: the key's among ``every`` partition; without a key any that is available."""
    if key is None:
        return random.choice(available or every)
    return every[(murmur2(key) & _POSITIVE) % len(every)]


@cache
def _words(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")
