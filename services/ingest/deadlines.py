"""Deadlines for thousands of requests a second, and detached work: tasks that resist cancellation.

``asyncio.timeout`` sets and clears a timer of the event loop for each use; here all deadlines of one length share one
timer. A database that hangs does not answer even a cancellation, so work that needs it is detached when time is up.
"""

import asyncio
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

_TICK_SECONDS = 0.1
"""By so much a deadline may be late."""

_T = TypeVar("_T")
_detached: set[asyncio.Task[Any]] = set()  # kept until they end, or they would be collected while they run


class Deadlines:
    """``with deadlines.enforce():`` raises TimeoutError after ``seconds``, as ``asyncio.timeout`` would."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[Deadline, float] = {}  # in the order they began, so in the order they end
        self._is_armed = False

    def enforce(self) -> "Deadline":
        return Deadline(self)

    def start(self, deadline: "Deadline") -> None:
        self._running[deadline] = time.monotonic() + self._seconds
        if not self._is_armed:
            self._arm()

    def stop(self, deadline: "Deadline") -> None:
        self._running.pop(deadline, None)

    def _arm(self) -> None:
        self._is_armed = True
        asyncio.get_running_loop().call_later(_TICK_SECONDS, self._expire_overdue)

    def _expire_overdue(self) -> None:
        now = time.monotonic()
        overdue = []
        for deadline, until in self._running.items():
            if until > now:
                break
            overdue.append(deadline)
        for deadline in overdue:
            del self._running[deadline]
            deadline.expire()
        self._is_armed = False
        if self._running:
            self._arm()


class Deadline:
    """One use of a ``with`` statement, by the task that it limits."""

    __slots__ = ("_cancellations_before", "_deadlines", "_has_expired", "_task")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._has_expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- code that awaits runs in a task
        self._task, self._cancellations_before = task, task.cancelling()
        self._deadlines.start(self)

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._deadlines.stop(self)
        if not self._has_expired:
            return
        if self._task.uncancel() <= self._cancellations_before and kind is asyncio.CancelledError:
            raise TimeoutError

    def expire(self) -> None:
        self._has_expired = True
        self._task.cancel()


async def run_detachable(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of ``work``, or its error. ``work`` must be safe to repeat.

    When the caller is cancelled this ends at once; ``work`` is cancelled too, and ends detached, in its own time.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        _detach(task)
        raise
    return task.result()


def _detach(task: asyncio.Task[Any]) -> None:
    task.cancel()
    _detached.add(task)
    task.add_done_callback(_discard)


def _discard(task: asyncio.Task[Any]) -> None:
    _detached.discard(task)
    if not task.cancelled():
        task.exception()  # asyncio logs an error that is never read
