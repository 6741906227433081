"""Runs stories side by side on one business time: each acts until it waits for an instant; the earliest comes next.

Time moves only when every story waits, and everything due on the way happens at its own instant.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shared.runtime.clock import Clock

_SETTLE_SECONDS = 60.0  # of machine time; a process that is not idle by then hangs


class ClockDriver(Protocol):
    """Moves business time: a stack's virtual clock, or a test that also kills processes on the way."""

    async def run_until(self, instant: datetime, within: float) -> None:
        """Let business time reach ``instant`` and all processes become idle, in ``within`` seconds for each stop."""


Refresh = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class _Waiting:
    until: datetime
    reached: asyncio.Event = field(default_factory=asyncio.Event)


class Timeline:
    """``refresh`` is called at each instant, when all processes are idle and before a story goes on."""

    def __init__(self, clock: Clock, driver: ClockDriver, refresh: Refresh) -> None:
        self._clock = clock
        self._driver = driver
        self._refresh = refresh
        self._acting = 0
        self._all_wait = asyncio.Event()
        self._waiting: list[_Waiting] = []

    @property
    def now(self) -> datetime:
        return self._clock.now()

    async def until(self, instant: datetime) -> None:
        """Wait for ``instant``, and until everything that was started by then has ended."""
        waiting = _Waiting(instant)
        self._waiting.append(waiting)
        self._stop_acting()
        await waiting.reached.wait()

    async def settled(self) -> None:
        await self.until(self.now)

    async def play(self, stories: Sequence[Coroutine[object, object, None]]) -> None:
        """Return when all stories have ended. Raises what the driver raises; a story keeps its own failure."""
        self._acting = len(stories)
        try:
            async with asyncio.TaskGroup() as group:
                for story in stories:
                    group.create_task(story).add_done_callback(lambda _: self._stop_acting())
                await self._move()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _move(self) -> None:
        while await self._any_waits():
            await self._driver.run_until(max(self._earliest(), self.now), _SETTLE_SECONDS)
            await self._refresh()
            self._resume()

    def _stop_acting(self) -> None:
        self._acting -= 1
        if self._acting == 0:
            self._all_wait.set()

    async def _any_waits(self) -> bool:
        await self._all_wait.wait()
        return bool(self._waiting)

    def _earliest(self) -> datetime:
        return min(waiting.until for waiting in self._waiting)

    def _resume(self) -> None:
        ready = [waiting for waiting in self._waiting if waiting.until <= self.now]
        self._waiting = [waiting for waiting in self._waiting if waiting.until > self.now]
        self._acting = len(ready)
        self._all_wait.clear()
        for waiting in ready:
            waiting.reached.set()
