"""When passes are made: one after another, a pause of machine time between them, longer while Consonance is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from services.ingest.measures import Measures
from shared.errors import Unavailable, Unfit
from shared.telemetry import get_logger

_LONGEST_PAUSE = 60.0  # seconds, while Consonance cannot be read

_log = get_logger()

PassRun = Callable[[], Awaitable[int]]


class Polling:
    """``passes``: name → one pass, run in this order. Only one runs at a time, whoever asks for it."""

    def __init__(self, passes: dict[str, PassRun], pause: float, measures: Measures) -> None:
        self._passes = passes
        self._pause = pause
        self._measures = measures
        self._turn = asyncio.Lock()
        self._seen_whole_at = time.monotonic()
        self.completed = 0
        self.told = 0
        measures.watch_age(self.age)

    def age(self) -> float:
        """Seconds of machine time since the last complete pass, or since this process began to try."""
        return time.monotonic() - self._seen_whole_at

    async def once(self) -> int:
        """A pass that begins now; returns how many events it told. Raises Unavailable."""
        async with self._turn:
            told = 0
            for name, run in self._passes.items():
                count = await run()
                told += count
                if count:
                    _log.info("poll.told", pass_over=name, events=count)
            self.completed += 1
            self.told += told
            self._seen_whole_at = time.monotonic()
            self._measures.polled(told)
            return told

    async def forever(self) -> None:
        pause = self._pause
        while True:
            try:
                await self.once()
            except (Unavailable, Unfit) as fault:
                self._measures.poll_failed()
                pause = min(max(pause * 2, 1.0), _LONGEST_PAUSE)
                _log.warning("poll.failed", fault=str(fault), next_in=pause)
            else:
                pause = self._pause
            await asyncio.sleep(pause)
