"""Work done once per value, remembered by which value it was rather than by what it holds.

For values that never change and are costly to compare, such as a rulebook or an event's data. One thread only.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple

K = TypeVar("K")
V = TypeVar("V")
Ts = TypeVarTuple("Ts")


def cached_by_identity(most: int) -> Callable[[Callable[[K, *Ts], V]], Callable[[K, *Ts], V]]:
    """Keeps the ``most`` newest results of a function; its first argument counts by identity, the others by value."""

    def decorate(work: Callable[[K, *Ts], V]) -> Callable[[K, *Ts], V]:
        kept: dict[tuple[object, ...], tuple[K, V]] = {}

        @wraps(work)
        def once(first: K, *rest: *Ts) -> V:
            key = (id(first), *rest)
            found = kept.get(key)
            if found is None:
                if len(kept) >= most:
                    del kept[next(iter(kept))]
                found = kept[key] = (first, work(first, *rest))  # while it is kept, nobody else has its id
            return found[1]

        return once

    return decorate
