from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from dev.ports import LOOPBACK, free_ports
from dev.virtual_clock import NotIdle, VirtualClock
from shared.runtime.clock import DevelopmentClock

Report = Callable[[], dict[str, object]]

START = datetime(2027, 3, 3, 9, tzinfo=UTC)


@pytest.fixture
def clock(tmp_path: Path) -> DevelopmentClock:
    return DevelopmentClock.create(tmp_path / "clock", START)


@dataclass
class SimulatedProcess:
    """Does one thing at each of its due instants, some polls after it became due."""

    clock: DevelopmentClock
    due: list[datetime] = field(default_factory=list)
    done_at: list[datetime] = field(default_factory=list)
    polls_busy: int = 0
    busy: int = 0

    def report(self) -> dict[str, object]:
        if self.due and self.due[0] <= self.clock.now() and not self.busy:
            self.due.pop(0)
            self.busy = self.polls_busy + 1
        if self.busy:
            self.busy -= 1
            if not self.busy:
                self.done_at.append(self.clock.now())
        working = ["outbox"] if self.busy else []
        next_due = self.due[0].isoformat() if self.due else None
        return {"busy": working, "next_due": next_due, "counter": len(self.done_at)}


@asynccontextmanager
async def served(**processes: Report) -> AsyncIterator[dict[str, str]]:
    app = web.Application()
    for name, report in processes.items():
        app.router.add_get(f"/{name}", _handler(report))
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, LOOPBACK, port).start()
    try:
        yield {name: f"http://{LOOPBACK}:{port}/{name}" for name in processes}
    finally:
        await runner.cleanup()


def _handler(report: Report) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(report())

    return answer


def reporting(busy: list[str], next_due: datetime | None = None) -> Report:
    return lambda: {"busy": busy, "next_due": next_due and next_due.isoformat(), "counter": 1}


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


async def test_time_stops_at_everything_due_and_waits_until_it_is_done(clock: DevelopmentClock) -> None:
    rules = SimulatedProcess(clock, [at(10), at(30)], polls_busy=3)
    dispatcher = SimulatedProcess(clock, [at(20)], polls_busy=1)
    async with served(rules=rules.report, dispatcher=dispatcher.report) as addresses:
        await VirtualClock(clock, addresses).run_until(at(60))
    assert (rules.done_at, dispatcher.done_at) == ([at(10), at(30)], [at(20)])
    assert clock.now() == at(60)


async def test_steps_may_be_longer_and_then_do_several_things_at_their_end(clock: DevelopmentClock) -> None:
    rules = SimulatedProcess(clock, [at(10), at(20), at(50), at(200)])
    async with served(rules=rules.report) as addresses:
        await VirtualClock(clock, addresses).run_until(at(240), at_least=timedelta(minutes=30))
    assert rules.done_at == [at(30), at(30), at(60), at(200)]
    assert clock.now() == at(240)


async def test_time_does_not_run_past_the_requested_instant(clock: DevelopmentClock) -> None:
    rules = SimulatedProcess(clock, [at(10), at(90)])
    async with served(rules=rules.report) as addresses:
        await VirtualClock(clock, addresses).run_for(timedelta(minutes=60))
    assert rules.done_at == [at(10)]
    assert clock.now() == at(60)


async def test_business_time_stands_still_while_processes_settle(clock: DevelopmentClock) -> None:
    rules = SimulatedProcess(clock, [START, at(10)], polls_busy=2)
    async with served(rules=rules.report) as addresses:
        await VirtualClock(clock, addresses).settle()
    assert rules.done_at == [START]
    assert clock.now() == START


async def test_a_rising_counter_counts_as_work_although_no_process_is_busy(clock: DevelopmentClock) -> None:
    counters = iter([1, 2, 3, *[4] * 100])
    async with served(rules=lambda: {"busy": [], "next_due": None, "counter": next(counters)}) as addresses:
        await VirtualClock(clock, addresses).settle()
    assert next(counters) == 4


async def test_the_error_names_the_busy_process_and_its_task(clock: DevelopmentClock) -> None:
    async with served(rules=reporting(["outbox"]), ingest=reporting([])) as addresses:
        with pytest.raises(NotIdle, match=r"not idle after 0 s at 2027-03-03 09:00:00: rules: outbox$"):
            await VirtualClock(clock, addresses).settle(within=0.2)


async def test_the_error_names_what_is_due_and_never_done(clock: DevelopmentClock) -> None:
    async with served(rules=reporting([], next_due=START)) as addresses:
        with pytest.raises(NotIdle, match="rules: due at 2027-03-03 09:00:00"):
            await VirtualClock(clock, addresses).settle(within=0.2)


async def test_a_process_that_does_not_answer_is_not_idle(clock: DevelopmentClock) -> None:
    (port,) = free_ports(1)
    with pytest.raises(NotIdle, match="writeback: no answer"):
        await VirtualClock(clock, {"writeback": f"http://{LOOPBACK}:{port}/idle"}).settle(within=0.2)


async def test_a_process_that_died_is_reported_at_once(clock: DevelopmentClock) -> None:
    def check() -> None:
        raise RuntimeError("rules ended")

    with pytest.raises(RuntimeError, match="rules ended"):
        await VirtualClock(clock, {}, check).settle()
