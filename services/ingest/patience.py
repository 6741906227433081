"""Leaving work behind that does not let itself be cancelled: a hung database does not even answer a cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_left_behind: set[asyncio.Task[Any]] = set()  # held until they end, or they would be collected while they run


async def leavable(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of ``work``; cancelled, it ends at once, and ``work`` on its own. It must be safe to repeat."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        _leave(task)
        raise
    return task.result()


def _leave(task: asyncio.Task[Any]) -> None:
    task.cancel()
    _left_behind.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Any]) -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()  # nobody waits for it any more
