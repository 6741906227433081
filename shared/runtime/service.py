"""What every service's process is made of: neighbours waited for, telemetry, a relay, a consumer, health, an end."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import uvloop

from shared.contracts.errors import Misconfigured
from shared.contracts.topics import Topic
from shared.runtime.batch import TRANSIENT_ERRORS, BatchProcessor, Handler
from shared.runtime.caught_up import LagMonitor
from shared.runtime.clock import Clock, DevelopmentClock, machine_now
from shared.runtime.consumer import BatchConsumer
from shared.runtime.health import Check, Health, IdleCheck, IdleStatus, Route, merge_idle_statuses
from shared.runtime.inbox import purge_expired
from shared.runtime.kafka import Producer
from shared.runtime.outbox import Relay
from shared.runtime.postgres import Pool, open_pool
from shared.runtime.settings import ServiceSettings
from shared.runtime.supervisor import Work, supervise
from shared.runtime.telemetry import configure_logs, configure_traces, end_traces, gauge, get_logger
from shared.runtime.topic_setup import wait_for_topics
from shared.runtime.transaction import QUERIES

log = get_logger()
_STOP_SECONDS = 4.5
_MEASURE_SECONDS = 5.0
_NEW_OBJECTS = 50_000  # between two collections; a batch makes some tens of thousands, and frees them itself

Main = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Process:
    """Register consumers, tasks and reports, then wait in ``until_stopped``.

    A task that fails is started again (``supervisor``); only an error that no restart mends ends the process.
    """

    settings: ServiceSettings
    service: str
    clock: Clock
    pool: Pool
    producer: Producer
    relay: Relay
    health: Health
    consumers: list[tuple[BatchConsumer, LagMonitor]] = field(default_factory=list)
    reports: list[IdleCheck] = field(default_factory=list)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def routes(self) -> dict[str, Route]:
        """What a development stack may POST to, by path; they exist only with a development clock."""
        return self.health.routes

    def consume(self, topics: Sequence[Topic], handler: Handler) -> BatchConsumer:
        batches = BatchProcessor(self.service, topics, handler, pool=self.pool, clock=self.clock)
        watch = LagMonitor(self.settings, batches, self.pool, self.clock)
        consumer = BatchConsumer(self.settings, batches, self.pool, watch)
        self.consumers.append((consumer, watch))
        self.task("consumer", consumer.run)
        self.task("watch", lambda: watch.run(consumer.commit_offsets, consumer.restart, consumer.halt))
        self.add_readiness_check("consumer", consumer.reads)
        return consumer

    def task(self, name: str, work: Work) -> None:
        """From now on, for as long as the process runs; ``work`` is called again where it fails."""
        self._tasks[name] = asyncio.ensure_future(supervise(name, work))

    def add_readiness_check(self, name: str, check: Check) -> None:
        self.health.checks[name] = check

    def add_idle_check(self, report: IdleCheck) -> None:
        self.reports.append(report)

    async def idle(self) -> IdleStatus:
        """This process's own part first: the topics it reads and the outbox."""
        behind = [await _behind(consumer, watch) for consumer, watch in self.consumers]
        waiting = await self.pool.fetchval("select exists (select from outbox)")
        busy = [reason for reason in (*behind, "outbox" if waiting else "") if reason]
        counter = self.relay.relayed + sum(consumer.batches.handled for consumer, _ in self.consumers)
        return merge_idle_statuses(
            [IdleStatus(tuple(busy), None, counter), *[await report() for report in self.reports]]
        )

    async def run_until_stopped(self, drain_seconds: float = 0) -> None:
        """Serve until SIGTERM or SIGINT, or until a task dies of what no restart mends, whose error is raised.

        For ``drain_seconds`` after the signal it serves on, not ready any more: who sends requests here must first have
        seen that it is not.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self.health.idle = self.idle
        self.health.checks.pop("start", None)
        _spare_the_collector()
        log.info("process.started", tenant=self.settings.tenant)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({stopping, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
            self._raise_of_the_dead()
            if drain_seconds:
                log.info("process.drains", seconds=drain_seconds)
                await asyncio.wait(self._tasks.values(), timeout=drain_seconds, return_when=asyncio.FIRST_COMPLETED)
                self._raise_of_the_dead()
        finally:
            stopping.cancel()

    async def measure(self) -> None:
        """Forever: what waits in the outbox, and what is parked."""
        rows = gauge(f"stet_{self.service}_outbox_rows", "Records waiting to leave (counted up to 10,000)")
        age = gauge(f"stet_{self.service}_outbox_oldest_seconds", "Age of the oldest record waiting to leave")
        parked = gauge(f"stet_{self.service}_parked_records", "Records parked now, by reason", "reason")
        while True:
            try:
                state = await self.pool.fetchrow(QUERIES.outbox_state)
                rows.set(state["waiting"])
                age.set((machine_now() - state["oldest"]).total_seconds() if state["oldest"] else 0)
                parked.clear()
                for row in await self.pool.fetch(QUERIES.count_parked):
                    parked.labels(row["reason"]).set(row["records"])
            except TRANSIENT_ERRORS as error:
                log.info("measure.waits", error=type(error).__name__)
            await asyncio.sleep(_MEASURE_SECONDS)

    async def end(self) -> None:
        """Every task is asked to end, and given a little time: a batch in hand is finished, locks are given back."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_STOP_SECONDS)
        for _, watch in self.consumers:
            await watch.stop()
        log.info("process.stopped")

    def _stop(self) -> None:
        self.health.checks["stopping"] = _not_yet
        self._stopping.set()

    def _raise_of_the_dead(self) -> None:
        for name, task in self._tasks.items():
            if task.done() and not task.cancelled():
                error = task.exception() or RuntimeError(f"the task {name} ended by itself")
                log.critical("task.died", task=name, exc_info=error)
                raise error


def _spare_the_collector() -> None:
    """What lives as long as the process is not looked at again; the rest goes without it, as values hold no cycles."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 100)


async def _not_yet() -> bool:
    return False


async def _behind(consumer: BatchConsumer, watch: LagMonitor) -> str:
    if not await consumer.reads():
        return "joining"
    await watch.look()
    return "" if watch.settled and watch.lag == 0 else "behind"


@asynccontextmanager
async def service_process(settings: ServiceSettings, service: str) -> AsyncIterator[Process]:
    """Everything a service stands on, in the order it is needed and given back in the other."""
    configure_logs(service, settings.log_level)
    configure_traces(service, settings.otlp_endpoint)
    clock = settings.clock()
    health = Health(driven=isinstance(clock, DevelopmentClock), checks={"start": _not_yet})
    async with AsyncExitStack() as stack:
        stack.callback(end_traces)
        await stack.enter_async_context(health.serving(settings.health_host, settings.health_port))
        pool = await open_pool(settings, service)
        stack.callback(pool.terminate)
        await wait_for_topics(settings, service)
        producer = Producer(settings)
        await producer.start()
        stack.push_async_callback(producer.stop)
        process = Process(settings, service, clock, pool, producer, Relay(settings, service, producer), health)
        stack.push_async_callback(process.end)
        process.task("relay", process.relay.run)
        process.task("forget", lambda: purge_expired(pool))
        process.task("measure", process.measure)
        process.add_readiness_check("database", lambda: _takes_writes(pool))
        yield process


async def _takes_writes(pool: Pool) -> bool:
    """A row that is really committed: a standby answers questions, and a full disk or a lost synchronous copy too."""
    try:
        async with asyncio.timeout(2):
            await pool.execute(QUERIES.write_readiness, machine_now())
    except (asyncpg.PostgresError, *TRANSIENT_ERRORS):
        return False
    return True


def run_service(main: Main) -> None:
    """Run a service's ``main``. Exit codes: 2 for a wrong setting, named on one line; 1 for a task that died."""
    try:
        uvloop.run(main())
    except Misconfigured as error:
        print(f"misconfigured: {error}", file=sys.stderr)  # noqa: T201 -- the process has no log yet
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        log.critical("process.died", exc_info=error)
        sys.exit(1)
