"""Runs the polls one after another, with a pause of machine time between, longer while Consonance is unavailable."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from services.ingest.metrics import IngestMetrics
from shared.contracts.errors import Unavailable, Unprocessable
from shared.runtime.failures import describe_failure
from shared.runtime.telemetry import get_logger

_MAX_PAUSE_SECONDS = 60.0
"""Between attempts while Consonance cannot be read."""

_log = get_logger()

RunPass = Callable[[], Awaitable[int]]


class PollLoop:
    """``passes``: name → one pass, run in this order. Only one poll runs at a time."""

    def __init__(self, passes: dict[str, RunPass], pause: float, metrics: IngestMetrics) -> None:
        self._passes = passes
        self._pause = pause
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._completed_at = time.monotonic()
        self.completed = 0
        self.events_published = 0

    def snapshot_age(self) -> float:
        """Seconds of machine time since the last complete poll, or since this process started."""
        return time.monotonic() - self._completed_at

    async def run_once(self) -> int:
        """A pass over everything that begins now; returns the number of events published.

        All passes run, also after one has failed; then this raises Unavailable.
        """
        async with self._lock:
            published, faults = 0, list[str]()
            for name, run in self._passes.items():
                try:
                    count = await run()
                except Exception as fault:  # noqa: BLE001 -- the boundary of one pass: its surprise must not stop the others
                    faults.append(_describe(name, fault))
                    continue
                published += count
                if count:
                    _log.info("poll.completed", entity=name, events=count)
            self.events_published += published
            if faults:
                raise Unavailable("; ".join(faults))
            self.completed += 1
            self._completed_at = time.monotonic()
            self._metrics.count_poll(published)
            return published

    async def run_forever(self) -> None:
        pause = self._pause
        while True:
            try:
                await self.run_once()
            except Unavailable as fault:
                self._metrics.count_failed_poll()
                pause = min(max(pause * 2, 1.0), _MAX_PAUSE_SECONDS)
                _log.warning("poll.failed", fault=str(fault), next_in=pause)
            else:
                pause = self._pause
            await asyncio.sleep(pause)


def _describe(name: str, fault: Exception) -> str:
    """Of an unexpected error only its type and place: errors of libraries quote the data they failed on."""
    if isinstance(fault, Unavailable | Unprocessable):
        return f"{name}: {fault}"
    return f"{name}: {describe_failure(fault)}"
