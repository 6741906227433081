"""Moves business time for a stack on a development clock: to the next due instant, and only when nobody has work left.

Each participant answers a GET on its idle address: ``{"busy": [what…], "next_due": instant or null, "counter": n}``,
its counter rising with every piece of work. All are idle when two looks in a row find nobody busy, nothing due, and the
same counters: work that was on its way from one to the other between the looks would have moved one.
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

_BETWEEN_LOOKS = 0.03  # seconds; longer than a record takes from one process through Kafka to the next
_SETTLE_SECONDS = 30.0
_ANSWER_SECONDS = 2.0


class WritableClock(Protocol):
    def now(self) -> datetime:
        """Business time, in UTC."""

    def set(self, instant: datetime) -> None:
        """Move business time forward."""


class Unsettled(StetError):
    """Somebody still has work when time is up; the sentence says who, and what."""


class Idle(BaseModel):
    """One participant's answer."""

    busy: list[str]
    next_due: AwareDatetime | None
    counter: int


@dataclass(frozen=True)
class Look:
    """What all participants said at one moment; ``silent`` did not answer."""

    reports: Mapping[str, Idle]
    silent: tuple[str, ...]
    now: datetime

    @property
    def counters(self) -> dict[str, int]:
        return {name: report.counter for name, report in self.reports.items()}

    @property
    def next_due(self) -> datetime | None:
        return min((report.next_due for report in self.reports.values() if report.next_due), default=None)

    def work(self) -> dict[str, list[str]]:
        """Who has what left to do; empty when all are idle."""
        busy = {name: self._of(report) for name, report in self.reports.items()}
        return {name: what for name, what in busy.items() if what} | {name: ["no answer"] for name in self.silent}

    def _of(self, report: Idle) -> list[str]:
        due = report.next_due is not None and report.next_due <= self.now
        return [*report.busy, *([f"due at {report.next_due:%Y-%m-%d %H:%M:%S}"] if due else [])]


class Conductor:
    """``addresses`` maps each participant's name to its idle address; ``check`` may raise when one has died."""

    def __init__(
        self, clock: WritableClock, addresses: Mapping[str, str], check: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self._addresses = dict(addresses)
        self._check = check

    async def work(self) -> dict[str, list[str]]:
        """Who has what left to do at this moment."""
        async with aiohttp.ClientSession() as session:
            return (await self._look(session)).work()

    async def settle(self, within: float = _SETTLE_SECONDS) -> None:
        """Return when all are idle; time does not move. Raises Unsettled after ``within`` seconds of machine time."""
        async with aiohttp.ClientSession() as session:
            await self._settled(session, within)

    async def run_until(self, instant: datetime, within: float = _SETTLE_SECONDS) -> None:
        """Let business time reach ``instant``, stopping at everything due on the way; ``within`` is for each stop."""
        async with aiohttp.ClientSession() as session:
            look = await self._settled(session, within)
            while self._clock.now() < instant:
                self._clock.set(min(look.next_due or instant, instant))
                look = await self._settled(session, within)

    async def run_for(self, span: timedelta, within: float = _SETTLE_SECONDS) -> None:
        await self.run_until(self._clock.now() + span, within)

    async def _settled(self, session: aiohttp.ClientSession, within: float) -> Look:
        deadline = time.monotonic() + within
        before = await self._look(session)
        while True:
            await asyncio.sleep(_BETWEEN_LOOKS)
            look = await self._look(session)
            if not before.work() and not look.work() and look.counters == before.counters:
                return look
            if time.monotonic() > deadline:
                raise Unsettled(_sentence(before, look, within))
            before = look

    async def _look(self, session: aiohttp.ClientSession) -> Look:
        self._check()
        answers = await asyncio.gather(*(_ask(session, address) for address in self._addresses.values()))
        reports = {name: answer for name, answer in zip(self._addresses, answers, strict=True) if answer is not None}
        return Look(reports, tuple(self._addresses.keys() - reports.keys()), self._clock.now())


async def _ask(session: aiohttp.ClientSession, address: str) -> Idle | None:
    limit = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    with suppress(aiohttp.ClientError, TimeoutError, ValidationError):
        async with session.get(address, timeout=limit) as answer:
            answer.raise_for_status()
            return Idle.model_validate_json(await answer.read())
    return None


def _sentence(before: Look, look: Look, within: float) -> str:
    work = look.work() or before.work()
    moved = [name for name, counter in look.counters.items() if before.counters.get(name) != counter]
    busy = "; ".join(f"{name}: {', '.join(what)}" for name, what in sorted(work.items()))
    return (
        f"not idle after {within:.0f} s at {look.now:%Y-%m-%d %H:%M:%S}: {busy or 'counting on: ' + ', '.join(moved)}"
    )
