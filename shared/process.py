"""What every service's process is made of: telemetry, neighbours waited for, relay, consumer, health, a clean end."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

from shared.batch import AWAY, Batches, Handler
from shared.clock import Clock, DevelopmentClock
from shared.consumer import BatchConsumer
from shared.errors import Misconfigured
from shared.health import Check, Idle, IdleReport, Route, application, merge
from shared.inbox import forget_old
from shared.kafka import open_producer
from shared.outbox import Relay
from shared.postgres import Pool, open_pool
from shared.settings import ServiceSettings
from shared.telemetry import configure_logs, configure_traces, get_logger
from shared.topics import Topic
from shared.topics_check import wait_for_topics
from shared.transaction import QUERIES

log = get_logger()
_STOP_SECONDS = 5.0

Main = Callable[[], Coroutine[Any, Any, None]]
Work = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Process:
    """Register consumers, tasks and reports, then wait in ``until_stopped``. A task that dies ends the process."""

    settings: ServiceSettings
    service: str
    clock: Clock
    pool: Pool
    producer: AIOKafkaProducer
    relay: Relay
    consumers: list[BatchConsumer] = field(default_factory=list)
    checks: dict[str, Check] = field(default_factory=dict)
    reports: list[IdleReport] = field(default_factory=list)
    routes: dict[str, Route] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def consume(self, topics: Sequence[Topic], handler: Handler) -> BatchConsumer:
        batches = Batches(self.service, topics, handler, pool=self.pool, clock=self.clock)
        consumer = BatchConsumer(self.settings, batches, self.pool, self.clock)
        self.consumers.append(consumer)
        self.task("consumer", consumer.run)
        self.task("catch_up", consumer.catch_up)
        self.ready_when("consumer", lambda: _now(consumer.assigned))
        return consumer

    def task(self, name: str, work: Work) -> None:
        self._tasks[name] = asyncio.ensure_future(_run(work))

    def ready_when(self, name: str, check: Check) -> None:
        self.checks[name] = check

    def idle_when(self, report: IdleReport) -> None:
        self.reports.append(report)

    async def idle(self) -> Idle:
        """This process's own part first: the outbox and the topics it reads."""
        state = await self.pool.fetchrow(QUERIES.outbox_state)
        busy = ["outbox"] if state["waiting"] else []
        busy += ["behind" for consumer in self.consumers if await consumer.behind()]
        counter = self.relay.relayed + sum(consumer.batches.handled for consumer in self.consumers)
        return merge([Idle(tuple(busy), None, counter), *[await report() for report in self.reports]])

    async def until_stopped(self) -> None:
        """Serve until SIGTERM or SIGINT, or until a task dies, whose error is raised."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        driven = isinstance(self.clock, DevelopmentClock)
        async with _serving(self.settings.health_port, self.checks, self.idle if driven else None, self.routes):
            log.info("process.started", tenant=self.settings.tenant)
            await self._watch()
        await self._end()

    async def _watch(self) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        done, _ = await asyncio.wait({stopping, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for name, task in self._tasks.items():
            if task in done and (error := task.exception()) is not None:
                log.critical("task.died", task=name, error=type(error).__name__, exc_info=error)
                await self._end()
                raise error

    async def _end(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.wait(self._tasks.values(), timeout=_STOP_SECONDS)
        log.info("process.stopped")


async def _now(value: bool) -> bool:  # noqa: FBT001 -- a check's answer
    return value


async def _run(work: Work) -> None:
    await work()


@asynccontextmanager
async def _serving(port: int, checks: dict[str, Check], idle: IdleReport | None, routes: dict[str, Route]) -> Any:
    runner = web.AppRunner(application(checks, idle, routes), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 -- the cluster's probes and Prometheus come from outside
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running(settings: ServiceSettings, service: str) -> AsyncIterator[Process]:
    """Everything a service stands on, in the order it is needed and given back in the other."""
    configure_logs(service, settings.log_level)
    configure_traces(service, settings.otlp_endpoint)
    async with AsyncExitStack() as stack:
        pool = await open_pool(settings, service)
        stack.callback(pool.terminate)
        await wait_for_topics(settings)
        producer = await open_producer(settings)
        stack.push_async_callback(producer.stop)
        relay = Relay(settings, service, producer)
        process = Process(settings, service, settings.clock(), pool, producer, relay)
        process.task("relay", relay.run)
        process.task("inbox", lambda: forget_old(pool))
        process.ready_when("database", lambda: _answers(pool))
        yield process


async def _answers(pool: Pool) -> bool:
    try:
        async with asyncio.timeout(2):
            return bool(await pool.fetchval("select true"))
    except AWAY:
        return False


def start(main: Main) -> None:
    """Run a service's ``main``; exit code 2 for a setting that is wrong, named on one line."""
    try:
        uvloop.run(main())
    except Misconfigured as error:
        print(f"misconfigured: {error}", file=sys.stderr)  # noqa: T201 -- the process has no log yet
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
