"""Waiting no longer than promised, even for what cannot be cancelled: a hung database answers to nothing."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from shared.errors import Unavailable

_T = TypeVar("_T")
_abandoned: set[asyncio.Task[Any]] = set()  # held until they end, or they would be collected while they run


async def within(seconds: float, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of ``work``. Raises Unavailable when time is up; whatever it still does must be safe to repeat."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise Unavailable(f"not done after {seconds:g} s")
    return task.result()


def _abandon(task: asyncio.Task[Any]) -> None:
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # nobody waits for it any more
