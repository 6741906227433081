"""Finding the record that spoils a batch: halve, try each half in order, until it stands alone."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from shared.runtime.failures import FailureKind, classify_failure

T = TypeVar("T")


async def bisect(
    items: Sequence[T],
    attempt: Callable[[Sequence[T]], Awaitable[None]],
    refuse: Callable[[T, Exception], Awaitable[None]],
) -> None:
    """Attempt all, in order. An item that alone is to blame goes to ``refuse``; what is not an item's fault is raised.

    A culprit among n costs about log2(n) attempts more; parts that succeeded are never attempted again.
    """
    waiting = [items] if items else []
    while waiting:
        part = waiting.pop()
        try:
            await attempt(part)
        except Exception as error:
            if classify_failure(error) is not FailureKind.RECORD:
                raise
            if len(part) == 1:
                await refuse(part[0], error)
            else:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
