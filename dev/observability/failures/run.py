"""Causes failures in a running stack, and watches Prometheus for the alerts that must fire.

Failures come in rounds: those of a round are caused one after the other and last side by side.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field

import aiohttp

from dev.demo.simulators import Simulators
from dev.observability.failures.actions import FailureContext
from dev.observability.observed_stack import ObservedStack
from dev.observability.prometheus import Firing, Prometheus

_OVER_SECONDS = 60.0
_POLL_SECONDS = 0.25

CauseOfFailure = Callable[[FailureContext], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class CausedFailure:
    """``expected`` are the alerts that must fire while it lasts."""

    name: str
    cause: CauseOfFailure
    expected: frozenset[Firing]


@dataclass(frozen=True)
class FailureRound:
    """``lasts``: its failures last into the next round. ``over``: alerts that must end once its causes are gone.
    ``within`` is how many seconds its alerts have: some scrapes, and gauges that are set every five seconds.
    """

    failures: Sequence[CausedFailure]
    lasts: bool = False
    within: float = 45.0
    over: frozenset[Firing] = frozenset()


@dataclass(frozen=True)
class FailureResult:
    """``seconds`` passed from the cause to each alert that fired; ``before`` are expected ones that fired already."""

    failure: CausedFailure
    seconds: dict[Firing, float]
    before: frozenset[Firing]

    @property
    def missing(self) -> frozenset[Firing]:
        return self.failure.expected - self.seconds.keys()


@dataclass
class FailureReport:
    """``lingering`` are alerts that still fired a minute after their cause was gone."""

    results: list[FailureResult] = field(default_factory=list)
    lingering: set[Firing] = field(default_factory=set)

    @property
    def passed(self) -> bool:
        return not self.lingering and not any(result.missing or result.before for result in self.results)


async def cause_failures(observed: ObservedStack, rounds: Iterable[FailureRound]) -> FailureReport:
    """Cause the failures, one round after the other."""
    report = FailureReport()
    lasting = AsyncExitStack()
    async with aiohttp.ClientSession() as session:
        context = FailureContext(observed, Simulators.of(observed.stack.layout, session))
        try:
            for one in rounds:
                # the round before may have delayed a service that has not caught up: its retries are seconds apart
                await _still_firing(observed.prometheus, frozenset().union(*(each.expected for each in one.failures)))
                report.results += await _cause_round(context, one, lasting)
                if not one.lasts:
                    await lasting.aclose()
                report.lingering |= await _still_firing(observed.prometheus, one.over)
        finally:
            await lasting.aclose()
    return report


async def _cause_round(context: FailureContext, one: FailureRound, lasting: AsyncExitStack) -> list[FailureResult]:
    watch = _AlertWatch(context.observed.prometheus)
    task = asyncio.create_task(watch.run())
    caused = []
    try:
        for failure in one.failures:
            before = frozenset(await context.observed.prometheus.firing() & failure.expected)
            began = time.monotonic()
            await lasting.enter_async_context(failure.cause(context))
            caused.append((failure, before, began))
        await watch.until({alert for failure in one.failures for alert in failure.expected}, one.within)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return [FailureResult(failure, watch.since(failure.expected, began), before) for failure, before, began in caused]


async def _still_firing(prometheus: Prometheus, alerts: frozenset[Firing]) -> set[Firing]:
    deadline = time.monotonic() + _OVER_SECONDS
    while (lingering := alerts & await prometheus.firing()) and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
    return set(lingering)


@dataclass
class _AlertWatch:
    """``seen`` is when each alert was first seen to fire (machine time)."""

    prometheus: Prometheus
    seen: dict[Firing, float] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            for alert in await self.prometheus.firing():
                self.seen.setdefault(alert, time.monotonic())
            await asyncio.sleep(_POLL_SECONDS)

    async def until(self, expected: set[Firing], seconds: float) -> None:
        """Return when all have fired, or not in time."""
        deadline = time.monotonic() + seconds
        while not expected <= self.seen.keys() and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)

    def since(self, expected: frozenset[Firing], began: float) -> dict[Firing, float]:
        return {alert: max(self.seen[alert] - began, 0.0) for alert in expected if alert in self.seen}
