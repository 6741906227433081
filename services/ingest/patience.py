"""Waiting no longer than promised: deadlines for thousands of requests a second, and for work that cannot be cancelled.

``asyncio.timeout`` sets and clears a timer of the event loop each time; here those of one length share a single one. A
hung database does not even answer a cancellation, so what needs it is work that can be left behind.
"""

import asyncio
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

_TICK = 0.1  # seconds by which a deadline may be missed
_T = TypeVar("_T")
_left_behind: set[asyncio.Task[Any]] = set()  # held until they end, or they would be collected while they run


class Patience:
    """``with patience.limit():`` raises TimeoutError after ``seconds``, as ``asyncio.timeout`` would."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[Limit, float] = {}  # in the order they began, so in the order they end
        self._armed = False

    def limit(self) -> "Limit":
        return Limit(self)

    def begin(self, limit: "Limit") -> None:
        self._running[limit] = time.monotonic() + self._seconds
        if not self._armed:
            self._arm()

    def end(self, limit: "Limit") -> None:
        self._running.pop(limit, None)

    def _arm(self) -> None:
        self._armed = True
        asyncio.get_running_loop().call_later(_TICK, self._sweep)

    def _sweep(self) -> None:
        now = time.monotonic()
        overdue = []
        for limit, until in self._running.items():
            if until > now:
                break
            overdue.append(limit)
        for limit in overdue:
            del self._running[limit]
            limit.expire()
        self._armed = False
        if self._running:
            self._arm()


class Limit:
    """One stay; entered once, by the task it limits."""

    __slots__ = ("_before", "_expired", "_patience", "_task")

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- code that awaits runs in a task
        self._task, self._before = task, task.cancelling()
        self._patience.begin(self)

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._patience.end(self)
        if self._expired and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()


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
