"""A stack that a real Prometheus scrapes while the stories of the demo are played on it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dev.demo.runner import POLLED_ON_REQUEST, DemoResult, play_stories
from dev.demo.story import STARTS_AT, DemoStory
from dev.layout import SERVICES
from dev.observability.durations import TimeScale
from dev.observability.prometheus import Prometheus
from dev.stack import Stack, StackOptions

TIME_SCALE = TimeScale(1 / 60)
"""Alerts that hold for minutes fire after seconds, so that a test sees them."""

_SCRAPES_SECONDS = 3.0


@dataclass
class ObservedStack:
    """``began`` and ``elapsed`` are machine time in seconds, for queries over the whole run."""

    stack: Stack
    prometheus: Prometheus
    began: float = field(default_factory=time.time)

    @staticmethod
    @asynccontextmanager
    async def open(name: str, options: StackOptions = POLLED_ON_REQUEST) -> AsyncIterator["ObservedStack"]:
        async with Stack.open(name, STARTS_AT, options) as stack:
            targets = {service: stack.layout.health_url(service) for service in SERVICES}
            async with Prometheus.open(stack.layout.folder / "data" / "prometheus", targets, TIME_SCALE) as prometheus:
                await asyncio.sleep(_SCRAPES_SECONDS)  # a rate needs a value from before the first event
                yield ObservedStack(stack, prometheus)

    async def play(self, stories: Sequence[DemoStory]) -> DemoResult:
        """Return once Prometheus has scraped what the stories left."""
        result = await play_stories(self.stack, stories)
        await asyncio.sleep(_SCRAPES_SECONDS)
        return result

    @property
    def elapsed(self) -> int:
        return int(time.time() - self.began) + 1
