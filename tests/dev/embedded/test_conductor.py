from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from dev.conductor import Conductor, Unsettled
from dev.ports import LOOPBACK, free_ports
from shared.runtime.clock import DevelopmentClock

Report = Callable[[], dict[str, object]]

START = datetime(2027, 3, 3, 9, tzinfo=UTC)


@pytest.fixture
def clock(tmp_path: Path) -> DevelopmentClock:
    return DevelopmentClock.create(tmp_path / "clock", START)


@dataclass
class Participant:
    """Does one thing at each of its due instants, some looks later than it could have."""

    clock: DevelopmentClock
    due: list[datetime] = field(default_factory=list)
    done_at: list[datetime] = field(default_factory=list)
    looks_busy: int = 0
    busy: int = 0

    def report(self) -> dict[str, object]:
        if self.due and self.due[0] <= self.clock.now() and not self.busy:
            self.due.pop(0)
            self.busy = self.looks_busy + 1
        if self.busy:
            self.busy -= 1
            if not self.busy:
                self.done_at.append(self.clock.now())
        working = ["outbox"] if self.busy else []
        next_due = self.due[0].isoformat() if self.due else None
        return {"busy": working, "next_due": next_due, "counter": len(self.done_at)}


@asynccontextmanager
async def served(**participants: Report) -> AsyncIterator[dict[str, str]]:
    app = web.Application()
    for name, report in participants.items():
        app.router.add_get(f"/{name}", _answering(report))
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, LOOPBACK, port).start()
    try:
        yield {name: f"http://{LOOPBACK}:{port}/{name}" for name in participants}
    finally:
        await runner.cleanup()


def _answering(report: Report) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(report())

    return answer


def saying(busy: list[str], next_due: datetime | None = None) -> Report:
    return lambda: {"busy": busy, "next_due": next_due and next_due.isoformat(), "counter": 1}


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


async def test_time_stops_at_everything_due_and_waits_until_it_is_done(clock: DevelopmentClock) -> None:
    rules = Participant(clock, [at(10), at(30)], looks_busy=3)
    dispatcher = Participant(clock, [at(20)], looks_busy=1)
    async with served(rules=rules.report, dispatcher=dispatcher.report) as addresses:
        await Conductor(clock, addresses).run_until(at(60))
    assert (rules.done_at, dispatcher.done_at) == ([at(10), at(30)], [at(20)])
    assert clock.now() == at(60)


async def test_it_does_not_run_past_the_instant_asked_for(clock: DevelopmentClock) -> None:
    rules = Participant(clock, [at(10), at(90)])
    async with served(rules=rules.report) as addresses:
        await Conductor(clock, addresses).run_for(timedelta(minutes=60))
    assert rules.done_at == [at(10)]
    assert clock.now() == at(60)


async def test_settling_moves_no_time(clock: DevelopmentClock) -> None:
    rules = Participant(clock, [START, at(10)], looks_busy=2)
    async with served(rules=rules.report) as addresses:
        await Conductor(clock, addresses).settle()
    assert rules.done_at == [START]
    assert clock.now() == START


async def test_a_counter_that_moves_is_work_though_nobody_is_busy(clock: DevelopmentClock) -> None:
    counters = iter([1, 2, 3, *[4] * 100])
    async with served(rules=lambda: {"busy": [], "next_due": None, "counter": next(counters)}) as addresses:
        await Conductor(clock, addresses).settle()
    assert next(counters) == 4


async def test_who_is_busy_with_what_is_named(clock: DevelopmentClock) -> None:
    async with served(rules=saying(["outbox"]), ingest=saying([])) as addresses:
        with pytest.raises(Unsettled, match=r"not idle after 0 s at 2027-03-03 09:00:00: rules: outbox$"):
            await Conductor(clock, addresses).settle(within=0.2)


async def test_what_is_due_and_never_done_is_named(clock: DevelopmentClock) -> None:
    async with served(rules=saying([], next_due=START)) as addresses:
        with pytest.raises(Unsettled, match="rules: due at 2027-03-03 09:00:00"):
            await Conductor(clock, addresses).settle(within=0.2)


async def test_a_participant_that_does_not_answer_is_not_idle(clock: DevelopmentClock) -> None:
    (port,) = free_ports(1)
    with pytest.raises(Unsettled, match="writeback: no answer"):
        await Conductor(clock, {"writeback": f"http://{LOOPBACK}:{port}/idle"}).settle(within=0.2)


async def test_a_process_that_died_is_told_at_once(clock: DevelopmentClock) -> None:
    def check() -> None:
        raise RuntimeError("rules ended")

    with pytest.raises(RuntimeError, match="rules ended"):
        await Conductor(clock, {}, check).settle()
