"""Stories side by side on one business time: each acts until it waits for an instant; the earliest is reached next.

Time moves only when every story waits, and everything due on the way happens at its own instant.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shared.runtime.clock import Clock

_WITHIN = 60.0  # seconds of machine time for everybody to come to rest, after which somebody hangs


class Pace(Protocol):
    """Who moves business time: a stack's conductor, or somebody who makes trouble on the way."""

    async def run_until(self, instant: datetime, within: float) -> None:
        """Let it reach ``instant`` and all come to rest there; ``within`` seconds of machine time for each stop."""


Look = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class _Waiting:
    until: datetime
    reached: asyncio.Event = field(default_factory=asyncio.Event)


class Timeline:
    """``look`` is called whenever time has come to an instant and all is at rest there, before any story goes on."""

    def __init__(self, clock: Clock, pace: Pace, look: Look) -> None:
        self._clock = clock
        self._pace = pace
        self._look = look
        self._acting = 0
        self._all_wait = asyncio.Event()
        self._waiting: list[_Waiting] = []

    @property
    def now(self) -> datetime:
        return self._clock.now()

    async def until(self, instant: datetime) -> None:
        """Wait for ``instant``, and for everything that has been started by then to come to rest."""
        waiting = _Waiting(instant)
        self._waiting.append(waiting)
        self._rest()
        await waiting.reached.wait()

    async def settled(self) -> None:
        await self.until(self.now)

    async def play(self, stories: Sequence[Coroutine[object, object, None]]) -> None:
        """Until all have ended. Raises what the conductor raises; a story's own failure is its own business."""
        self._acting = len(stories)
        try:
            async with asyncio.TaskGroup() as group:
                for story in stories:
                    group.create_task(story).add_done_callback(lambda _: self._rest())
                await self._move()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _move(self) -> None:
        while await self._anybody_waits():
            await self._pace.run_until(max(self._earliest(), self.now), _WITHIN)
            await self._look()
            self._go_on()

    def _rest(self) -> None:
        self._acting -= 1
        if self._acting == 0:
            self._all_wait.set()

    async def _anybody_waits(self) -> bool:
        await self._all_wait.wait()
        return bool(self._waiting)

    def _earliest(self) -> datetime:
        return min(waiting.until for waiting in self._waiting)

    def _go_on(self) -> None:
        ready = [waiting for waiting in self._waiting if waiting.until <= self.now]
        self._waiting = [waiting for waiting in self._waiting if waiting.until > self.now]
        self._acting = len(ready)
        self._all_wait.clear()
        for waiting in ready:
            waiting.reached.set()
