"""What is due at a business instant. Whoever asks runs it: the pump, or a question whether anything is left to do."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime
from itertools import count

from shared.runtime.clock import Clock

_GLANCE = 0.01  # seconds of machine time between looks at a clock that jumps


class Schedule:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = count()
        self._added = asyncio.Event()

    @property
    def next_due(self) -> datetime | None:
        return self._due[0][0] if self._due else None

    def add(self, at: datetime, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at, next(self._order), action))
        self._added.set()

    def clear(self) -> None:
        self._due.clear()

    def run_due(self) -> None:
        while self._due and self._due[0][0] <= self._clock.now():
            heapq.heappop(self._due)[2]()

    async def pump(self) -> None:
        """Run what falls due until cancelled; idle while nothing is planned."""
        while True:
            await self._added.wait()
            self._added.clear()
            while self._due:
                self.run_due()
                await asyncio.sleep(_GLANCE)
