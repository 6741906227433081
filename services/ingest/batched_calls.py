"""Joins the database calls of concurrent requests into batches: a group commit, and the same for reading.

Most of the cost of a small query or transaction is fixed: its planning, its way to the database and back, its commit.
So the requests that come while batches run are called together in the next batch. A request that comes alone does not
wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, Generic, NamedTuple, TypeVar

from services.ingest.deadlines import run_detachable
from shared.contracts.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 2
"""Batches: while one waits for a lock of another process, the other goes on."""


class _Waiting(NamedTuple, Generic[T, R]):
    request: T
    result: "asyncio.Future[R]"


class BatchedCalls(Generic[T, R]):
    """``call`` does what several requests ask for, and gives the result of each, in order.

    It must be safe to repeat. ``size`` returns the size of a request; the requests of one batch have a total size of at
    most ``most``. Where a batch fails or takes longer than ``seconds``, its requests are called each alone, so that
    none fails for the fault of another.
    """

    def __init__(
        self,
        call: Callable[[Sequence[T]], Coroutine[Any, Any, Sequence[R]]],
        *,
        size: Callable[[T], int],
        most: int,
        seconds: float,
    ) -> None:
        self._call = call
        self._size = size
        self._most = most
        self._seconds = seconds
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def result(self, request: T) -> R:
        """Raises what ``call`` raises for this request, and Unavailable when it takes too long.

        A caller that is cancelled waits no longer; its request may be done all the same.
        """
        loop = asyncio.get_running_loop()
        waiting: _Waiting[T, R] = _Waiting(request, loop.create_future())
        self._waiting.append(waiting)
        if len(self._running) < _AT_ONCE:
            task = loop.create_task(self._run(), context=Context())  # a batch is part of no caller's trace
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await waiting.result

    async def _run(self) -> None:
        while batch := self._take():
            await self._call_together(batch)

    def _take(self) -> list[_Waiting[T, R]]:
        """The requests that wait longest, without those whose callers have gone."""
        taken: list[_Waiting[T, R]] = []
        size = 0
        while self._waiting and (not taken or size + self._size(self._waiting[0].request) <= self._most):
            waiting = self._waiting.popleft()
            if not waiting.result.done():
                taken.append(waiting)
                size += self._size(waiting.request)
        return taken

    async def _call_together(self, batch: Sequence[_Waiting[T, R]]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                results = await run_detachable(self._call([waiting.request for waiting in batch]))
        except Exception as fault:  # noqa: BLE001 -- each caller gets the fault of its own request
            still_waiting = [waiting for waiting in batch if not waiting.result.done()]
            if len(batch) > 1:
                await asyncio.gather(*(self._call_together([waiting]) for waiting in still_waiting))
            else:
                error = Unavailable("PostgreSQL: too slow") if isinstance(fault, TimeoutError) else fault
                for waiting in still_waiting:
                    waiting.result.set_exception(error)
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.result.done():
                waiting.result.set_result(result)
