"""When passes are made: one after another, a pause of machine time between them, longer while Consonance is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from services.ingest.measures import Measures
from shared.contracts.errors import Unavailable, Unprocessable
from shared.runtime.failures import describe_failure
from shared.runtime.telemetry import get_logger

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
        """A pass over everything that begins now; returns how many events it told.

        Raises Unavailable after the others were made, where one of them failed.
        """
        async with self._turn:
            told, faults = 0, list[str]()
            for name, run in self._passes.items():
                try:
                    count = await run()
                except Exception as fault:  # noqa: BLE001 -- the boundary of one pass: its surprise must not stop the others
                    faults.append(_failed(name, fault))
                    continue
                told += count
                if count:
                    _log.info("poll.told", pass_over=name, events=count)
            self.told += told
            if faults:
                raise Unavailable("; ".join(faults))
            self.completed += 1
            self._seen_whole_at = time.monotonic()
            self._measures.polled(told)
            return told

    async def forever(self) -> None:
        pause = self._pause
        while True:
            try:
                await self.once()
            except Unavailable as fault:
                self._measures.poll_failed()
                pause = min(max(pause * 2, 1.0), _LONGEST_PAUSE)
                _log.warning("poll.failed", fault=str(fault), next_in=pause)
            else:
                pause = self._pause
            await asyncio.sleep(pause)


def _failed(name: str, fault: Exception) -> str:
    """Also of what nobody foresaw only where it happened: errors of libraries quote the data they failed on."""
    if isinstance(fault, Unavailable | Unprocessable):
        return f"{name}: {fault}"
    return f"{name}: {describe_failure(fault)}"
