"""Caches results by the identity of a value: for values that never change and are costly to compare or hash.

A rulebook, a condition and the data of an event are such values. One thread only.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple

K = TypeVar("K")
V = TypeVar("V")
Ts = TypeVarTuple("Ts")


def cached_by_identity(most: int) -> Callable[[Callable[[K, *Ts], V]], Callable[[K, *Ts], V]]:
    """Keep the ``most`` newest results; the first argument counts by identity, the others by value."""

    def decorate(work: Callable[[K, *Ts], V]) -> Callable[[K, *Ts], V]:
        kept: dict[object, tuple[K, V]] = {}

        @wraps(work)
        def once(first: K, *rest: *Ts) -> V:
            key = (id(first), *rest) if rest else id(first)
            found = kept.get(key)
            if found is None:
                if len(kept) >= most:
                    del kept[next(iter(kept))]
                found = kept[key] = (first, work(first, *rest))  # keeps the value alive, so that its id stays unique
            return found[1]

        return once

    return decorate
