"""Group commit: what is to be stored while another transaction runs is stored together, in the next one.

Most of the price of a small transaction is its own: its statements' ways to the database and back, its commit. So
messages of many unknown people at once cost a small part of one transaction each.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, NamedTuple, TypeVar

from services.ingest.deadlines import run_detachable
from shared.contracts.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 2
"""Transactions: while one waits for a lock of another process, the other goes on."""


class _Waiting(NamedTuple, Generic[T, R]):
    change: T
    result: "asyncio.Future[R]"


class GroupCommit(Generic[T, R]):
    """``commit`` stores several changes in one transaction, and gives the result of each, in order.

    It must be safe to repeat. ``size`` is the size of a change; those of one transaction have ``most`` together. Where
    a transaction fails or takes longer than ``seconds``, its changes are stored each alone, so that none fails for the
    fault of another.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        size: Callable[[T], int],
        most: int,
        seconds: float,
    ) -> None:
        self._commit = commit
        self._size = size
        self._most = most
        self._seconds = seconds
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def store(self, change: T) -> R:
        """Return when it is committed. Raises what ``commit`` raises for it, and Unavailable when it takes too long.

        A caller that is cancelled waits no longer; its change may be committed all the same.
        """
        loop = asyncio.get_running_loop()
        waiting: _Waiting[T, R] = _Waiting(change, loop.create_future())
        self._waiting.append(waiting)
        if len(self._running) < _AT_ONCE:
            task = loop.create_task(self._run(), context=Context())  # its transactions are part of no caller's trace
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await waiting.result

    async def _run(self) -> None:
        while together := self._take():
            await self._store_together(together)

    def _take(self) -> list[_Waiting[T, R]]:
        """The longest waiting, without those whose callers have gone."""
        taken: list[_Waiting[T, R]] = []
        size = 0
        while self._waiting and (not taken or size + self._size(self._waiting[0].change) <= self._most):
            waiting = self._waiting.popleft()
            if not waiting.result.done():
                taken.append(waiting)
                size += self._size(waiting.change)
        return taken

    async def _store_together(self, together: Sequence[_Waiting[T, R]]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                results = await run_detachable(self._commit_all([waiting.change for waiting in together]))
        except Exception as fault:  # noqa: BLE001 -- each caller gets the fault of its own change
            still_waiting = [waiting for waiting in together if not waiting.result.done()]
            if len(together) > 1:
                await asyncio.gather(*(self._store_together([waiting]) for waiting in still_waiting))
            else:
                told = Unavailable("PostgreSQL: too slow") if isinstance(fault, TimeoutError) else fault
                for waiting in still_waiting:
                    waiting.result.set_exception(told)
            return
        for waiting, result in zip(together, results, strict=True):
            if not waiting.result.done():
                waiting.result.set_result(result)

    async def _commit_all(self, changes: Sequence[T]) -> Sequence[R]:
        return await self._commit(changes)
