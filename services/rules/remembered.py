"""Work done once per value, remembered by which value it was rather than by what it holds.

For values that never change and are costly to compare, such as a rulebook or an event's data. One thread only.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

K = TypeVar("K")
V = TypeVar("V")
P = ParamSpec("P")


def remembered(most: int) -> Callable[[Callable[Concatenate[K, P], V]], Callable[Concatenate[K, P], V]]:
    """Keeps the ``most`` newest results of a function; its first argument counts by identity, the others by value."""

    def decorate(work: Callable[Concatenate[K, P], V]) -> Callable[Concatenate[K, P], V]:
        kept: dict[tuple[object, ...], tuple[K, V]] = {}

        @wraps(work)
        def once(first: K, /, *rest: P.args, **named: P.kwargs) -> V:
            key = (id(first), *rest, *named.items())
            found = kept.get(key)
            if found is None:
                if len(kept) >= most:
                    del kept[next(iter(kept))]
                found = kept[key] = (first, work(first, *rest, **named))  # while it is kept, nobody else has its id
            return found[1]

        return once

    return decorate
