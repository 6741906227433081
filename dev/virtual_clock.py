"""Moves business time for a stack on a development clock: to the next due instant, once every process is idle.

Each process answers a GET on its idle address: ``{"busy": [task…], "next_due": instant or null, "counter": n}``; the
counter rises with every piece of work. All are idle when two polls in a row find none busy, nothing due and the same
counters: a record on its way from one process to the next between the polls would have raised one.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import aiohttp
from pydantic import AwareDatetime, BaseModel, ValidationError

from shared.contracts.errors import StetError

_POLL_SECONDS = 0.03  # longer than a record takes from one process through Kafka to the next
_SETTLE_SECONDS = 30.0
_ANSWER_SECONDS = 2.0


class WritableClock(Protocol):
    def now(self) -> datetime:
        """Business time, in UTC."""

    def set(self, instant: datetime) -> None:
        """Move business time forward."""


class NotIdle(StetError):
    """A process still has work when the time is up; the sentence names the process and the work."""


class IdleReport(BaseModel):
    """The answer of one process."""

    busy: list[str]
    next_due: AwareDatetime | None
    counter: int


@dataclass(frozen=True)
class _Poll:
    """The answers of all processes at one moment; ``silent`` did not answer."""

    reports: Mapping[str, IdleReport]
    silent: tuple[str, ...]
    now: datetime

    @property
    def counters(self) -> dict[str, int]:
        return {name: report.counter for name, report in self.reports.items()}

    @property
    def next_due(self) -> datetime | None:
        return min((report.next_due for report in self.reports.values() if report.next_due), default=None)

    def work(self) -> dict[str, list[str]]:
        """The work left for each process; empty when all are idle."""
        busy = {name: self._work_of(report) for name, report in self.reports.items()}
        return {name: tasks for name, tasks in busy.items() if tasks} | {name: ["no answer"] for name in self.silent}

    def _work_of(self, report: IdleReport) -> list[str]:
        due = report.next_due is not None and report.next_due <= self.now
        return [*report.busy, *([f"due at {report.next_due:%Y-%m-%d %H:%M:%S}"] if due else [])]


class VirtualClock:
    """``addresses`` maps the name of each process to its idle address; ``check`` may raise when a process has died."""

    def __init__(
        self, clock: WritableClock, addresses: Mapping[str, str], check: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self._addresses = dict(addresses)
        self._check = check

    async def work(self) -> dict[str, list[str]]:
        """The work left for each process at this moment."""
        async with aiohttp.ClientSession() as session:
            return (await self._poll(session)).work()

    async def settle(self, within: float = _SETTLE_SECONDS) -> None:
        """Return when all are idle; business time stands still. Raises NotIdle after ``within`` seconds."""
        async with aiohttp.ClientSession() as session:
            await self._settled(session, within)

    async def run_until(
        self, instant: datetime, within: float = _SETTLE_SECONDS, at_least: timedelta = timedelta(0)
    ) -> None:
        """Let business time reach ``instant``, stopping at everything due on the way.

        Each step is ``at_least`` so long: what falls due within it is done at its end, as by a process that was busy
        until then. Raises NotIdle where the processes need more than ``within`` seconds of machine time at one stop.
        """
        async with aiohttp.ClientSession() as session:
            poll = await self._settled(session, within)
            while self._clock.now() < instant:
                now = self._clock.now()
                self._clock.set(min(max(poll.next_due or instant, now + at_least), instant))
                poll = await self._settled(session, within)

    async def run_for(self, span: timedelta) -> None:
        """Like ``run_until``, for a span from now."""
        await self.run_until(self._clock.now() + span)

    async def _settled(self, session: aiohttp.ClientSession, within: float) -> _Poll:
        deadline = time.monotonic() + within
        before = await self._poll(session)
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            poll = await self._poll(session)
            if not before.work() and not poll.work() and poll.counters == before.counters:
                return poll
            if time.monotonic() > deadline:
                raise NotIdle(_sentence(before, poll, within))
            before = poll

    async def _poll(self, session: aiohttp.ClientSession) -> _Poll:
        self._check()
        answers = await asyncio.gather(*(_ask(session, address) for address in self._addresses.values()))
        reports = {name: answer for name, answer in zip(self._addresses, answers, strict=True) if answer is not None}
        return _Poll(reports, tuple(self._addresses.keys() - reports.keys()), self._clock.now())


async def _ask(session: aiohttp.ClientSession, address: str) -> IdleReport | None:
    limit = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    with suppress(aiohttp.ClientError, TimeoutError, ValidationError):
        async with session.get(address, timeout=limit) as response:
            response.raise_for_status()
            return IdleReport.model_validate_json(await response.read())
    return None


def _sentence(before: _Poll, poll: _Poll, within: float) -> str:
    work = poll.work() or before.work()
    moved = [name for name, counter in poll.counters.items() if before.counters.get(name) != counter]
    busy = "; ".join(f"{name}: {', '.join(tasks)}" for name, tasks in sorted(work.items()))
    return f"not idle after {within:.0f} s at {poll.now:%Y-%m-%d %H:%M:%S}: {busy or 'counting: ' + ', '.join(moved)}"
