"""The process of a service: its dependencies, telemetry, relay, consumers, tasks and health, and an orderly end.

A task that fails is started again after a while. Only an error that no restart mends ends the process: a wrong
setting, lost fencing, lost records, too many refused records. A task sets aside by itself what it cannot handle (a
row, an answer, a record); the restart is for errors that were not foreseen.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import uvloop

from shared.contracts.errors import Misconfigured
from shared.contracts.topics import SERVICES, Topic
from shared.runtime.audit import OUTBOX_HOP, Audit, Hop
from shared.runtime.batch import BatchProcessor, ConsumerHalted, Handler, inbox_expiries
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock, machine_now
from shared.runtime.credentials import SecretFilesWatch, SecretRestart
from shared.runtime.erasure import ErasingHandler, ErasureWorker
from shared.runtime.failures import repeat
from shared.runtime.health import UNNOTICED_SECONDS, Health, IdleCheck, IdleStatus, ReadinessCheck, merge_idle_statuses
from shared.runtime.kafka import Producer
from shared.runtime.metrics import Metrics, Replicas, collect_process_metrics, label, watch
from shared.runtime.outbox import PARKING_REASON, Relay
from shared.runtime.postgres import DatabaseCheck, Pool, load_queries, open_pool
from shared.runtime.progress import Fenced, LagMonitor, OffsetOutOfRange, TopicRecreated
from shared.runtime.retention import delete_expired
from shared.runtime.retry import Backoff
from shared.runtime.settings import ServiceSettings, load_settings, secrets_folder
from shared.runtime.startup import freeze_started_objects
from shared.runtime.telemetry import configure_logs, error_location, get_logger
from shared.runtime.topic_setup import wait_for_topics
from shared.runtime.tracing import configure_traces, end_traces

if TYPE_CHECKING:
    from shared.runtime.consumer import BatchConsumer

log = get_logger()
QUERIES = load_queries(__file__, "delivery.sql")

_SHUTDOWN_SECONDS = 4.5
_MEASURE_SECONDS = 5.0

Main = Callable[[], Coroutine[Any, Any, None]]
Work = Callable[[], Awaitable[None]]


_metrics = Metrics.of(*SERVICES)
_TASK_RESTARTS = _metrics.counter(
    "stet_task_restarts_total",
    "Tasks of the process that failed and were started again.",
    label("task", description="the name of a task in the code"),
)
_OUTBOX_RECORDS = _metrics.gauge("stet_outbox_records", "Records waiting in the outbox, counted up to 10,000.")
_OUTBOX_AGE = _metrics.gauge(
    "stet_oldest_outbox_record_age_seconds", "Machine time since the oldest record in the outbox was written."
)
_PARKED_RECORDS = _metrics.gauge("stet_parked_records", "Records that are parked now.", PARKING_REASON)
_PARKED_AGE = _metrics.gauge(
    "stet_oldest_parked_record_age_seconds", "Machine time since the oldest parked record was parked."
)
_POOL_CONNECTIONS = _metrics.gauge(
    "stet_database_pool_connections",
    "Connections of the pool to PostgreSQL.",
    label("state", ("in_use", "idle")),
    replicas=Replicas.SUM,
)
_POOL_MAX = _metrics.gauge(
    "stet_database_pool_max_connections", "Connections that the pool may have.", replicas=Replicas.SUM
)


# ------------------------------------------------------------------ tasks

FATAL_ERRORS = (Misconfigured, Fenced, ConsumerHalted, OffsetOutOfRange, TopicRecreated)
"""Errors that end a process."""

_RESTART_BACKOFF = Backoff(first=0.5, longest=30.0, jitter=0.5)
_HEALTHY_SECONDS = 60.0  # after so long a run the next failure counts as the first


async def supervise(name: str, work: Work) -> None:
    """Run ``work`` for ever; it must be safe to call again after a failure. Raises one of FATAL_ERRORS."""
    count = _TASK_RESTARTS.labels(name)
    failures = 0
    while True:
        began = time.monotonic()
        error = await _failure_of(name, work)
        if time.monotonic() - began > _HEALTHY_SECONDS:
            failures = 0
        failures += 1
        wait = _RESTART_BACKOFF.wait(failures)
        count.inc()
        log.error(
            "task.restarted",
            task=name,
            error=type(error).__name__,
            where=error_location(error),
            seconds=round(wait, 1),
            failures=failures,
        )
        await asyncio.sleep(wait)


async def _failure_of(name: str, work: Work) -> Exception:
    requests = _cancel_requests()
    try:
        await work()
    except FATAL_ERRORS:
        raise
    except ExceptionGroup as group:
        if (fatal := _fatal_error_in(group)) is not None:
            raise fatal from group
        return group
    except asyncio.CancelledError as error:
        if _cancel_requests() > requests:
            raise
        # not the task was cancelled but what it waited for, as a client does whose connection is lost
        return RuntimeError(f"a part of the task {name} was cancelled").with_traceback(error.__traceback__)
    except Exception as error:  # noqa: BLE001 -- the boundary of one task: its failure must not end the others
        return error
    return RuntimeError(f"the task {name} ended by itself")


def _cancel_requests() -> int:
    """The requests to cancel the present task; up to Python 3.12 an ended TaskGroup may leave one behind."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _fatal_error_in(group: ExceptionGroup[Exception]) -> Exception | None:
    for error in group.exceptions:
        if isinstance(error, FATAL_ERRORS):
            return error
        if isinstance(error, ExceptionGroup) and (found := _fatal_error_in(error)) is not None:
            return found
    return None


# ------------------------------------------------------------------ process


@dataclass(slots=True)
class Process:
    """A running service. Register consumers, tasks and checks, then await ``run_until_stopped``."""

    settings: ServiceSettings
    service: str
    clock: Clock
    pool: Pool
    producer: Producer
    relay: Relay
    health: Health
    consumers: list[tuple["BatchConsumer", LagMonitor]] = field(default_factory=list)
    idle_checks: list[IdleCheck] = field(default_factory=list)
    on_drain: list[Callable[[], None]] = field(default_factory=list)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _unnoticed_seconds: float = 0

    def consume(self, topics: Sequence[Topic], handler: Handler) -> "BatchConsumer":
        from shared.runtime.consumer import BatchConsumer  # noqa: PLC0415 -- FastStream, which ingest reads nothing with

        handler = ErasingHandler(self.service, handler)
        processor = BatchProcessor(self.service, topics, handler, pool=self.pool, clock=self.clock)
        lag = LagMonitor(self.settings, processor.topics, processor.positions, pool=self.pool, clock=self.clock)
        consumer = BatchConsumer(self.settings, processor, self.pool, lag)
        self.consumers.append((consumer, lag))
        self.task("consumer", consumer.run)
        self.task("erasure", ErasureWorker(self.pool, self.clock, self.service).run)
        self.task("lag_monitor", lambda: lag.run(consumer))
        self.add_readiness_check("consumer", consumer.is_assigned)
        return consumer

    def task(self, name: str, work: Work) -> None:
        """Run ``work`` from now on, for as long as the process runs; it is called again where it fails."""
        self._tasks[name] = asyncio.ensure_future(supervise(name, work))

    def audit(self, *hops: Hop) -> None:
        """Audit these hops, and that of the outbox, while this replica leads."""
        self.task("audit", Audit(self.settings, self.service, self.clock, [*hops, OUTBOX_HOP]).run)

    def add_readiness_check(self, name: str, check: ReadinessCheck) -> None:
        self.health.checks[name] = check

    def add_idle_check(self, check: IdleCheck) -> None:
        self.idle_checks.append(check)

    async def idle_status(self) -> IdleStatus:
        """The topics and the outbox first, then the service's own checks."""
        behind = [await _behind(consumer, lag) for consumer, lag in self.consumers]
        waiting = await self.pool.fetchval("select exists (select from outbox)")
        busy = tuple(reason for reason in (*behind, "outbox" if waiting else "") if reason)
        handled = self.relay.relayed + sum(consumer.processor.handled for consumer, _ in self.consumers)
        return merge_idle_statuses([IdleStatus(busy, None, handled), *[await check() for check in self.idle_checks]])

    async def run_until_stopped(self, drain_seconds: float = 0) -> None:
        """Serve until SIGTERM or SIGINT. Raises the error of a task that no restart mends.

        After the signal it serves on for ``drain_seconds`` without being ready, so that load balancers notice first;
        ``on_drain`` is called as that begins.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self.health.idle = self.idle_status
        self.health.checks.pop("start", None)
        freeze_started_objects()
        log.info("process.started", tenant=self.settings.tenant)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({stopping, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
            self._raise_failed_task()
            if drain_seconds:
                seconds = drain_seconds + self._unnoticed_seconds
                log.info("drain.started", seconds=seconds)
                for begin in self.on_drain:
                    begin()
                await asyncio.wait(self._tasks.values(), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                self._raise_failed_task()
        finally:
            stopping.cancel()

    async def measure(self) -> None:
        """Publish how much waits in the outbox, and how much is parked, for ever."""
        await repeat("outbox_state", self._measure_once, _MEASURE_SECONDS)

    async def _measure_once(self) -> None:
        outbox = await self.pool.fetchrow(QUERIES.outbox_state)
        parked = await self.pool.fetch(QUERIES.count_parked)
        _OUTBOX_RECORDS.set(outbox["waiting"])
        _OUTBOX_AGE.set(_machine_age(outbox["oldest"]))
        _PARKED_RECORDS.clear()
        for row in parked:
            _PARKED_RECORDS.labels(row["reason"]).set(row["records"])
        _PARKED_AGE.set(_machine_age(min((row["oldest"] for row in parked), default=None)))

    async def shut_down(self) -> None:
        """Cancel every task and wait a little: a current batch is finished, locks are released."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_SHUTDOWN_SECONDS)
        for _, lag in self.consumers:
            await lag.stop()
        log.info("process.stopped")

    def restart(self) -> None:
        """End as on SIGTERM, so that the process is started again.

        Only readiness tells load balancers of it, so a service that drains goes on until its probe has failed twice.
        """
        self._unnoticed_seconds = UNNOTICED_SECONDS
        self._stop()

    def _stop(self) -> None:
        self.health.checks["stopping"] = _never_ready
        self._stopping.set()

    def _raise_failed_task(self) -> None:
        for name, task in self._tasks.items():
            if task.done() and not task.cancelled():
                error = task.exception() or RuntimeError(f"the task {name} ended by itself")
                log.critical("task.failed", task=name, exc_info=error)
                raise error


def _machine_age(since: datetime | None) -> float:
    return (machine_now() - since).total_seconds() if since is not None else 0.0


def _watch_pool(pool: Pool) -> None:
    in_use = lambda: pool.get_size() - pool.get_idle_size()  # noqa: E731 -- a number that is read at each scrape
    watch(_POOL_CONNECTIONS, {"in_use": in_use, "idle": pool.get_idle_size})
    _POOL_MAX.set_function(pool.get_max_size)


async def _never_ready() -> bool:
    return False


async def _behind(consumer: "BatchConsumer", lag: LagMonitor) -> str:
    if not await consumer.is_assigned():
        return "joining"
    await lag.refresh()
    return "" if lag.is_caught_up and lag.lag == 0 else "behind"


@asynccontextmanager
async def service_process(settings: ServiceSettings, service: str) -> AsyncIterator[Process]:
    """Open what a service needs, in order, and close it in reverse. Raises Misconfigured."""
    configure_logs(service, settings.log_level, settings.log_format, settings.instance)
    configure_traces(service, settings)
    clock = settings.clock()
    collect_process_metrics()
    health = Health(
        service=service, has_development_clock=isinstance(clock, DevelopmentClock), checks={"start": _never_ready}
    )
    async with AsyncExitStack() as stack:
        stack.callback(end_traces)
        await stack.enter_async_context(health.serving(settings.health_host, settings.health_port))
        pool = await open_pool(settings, service)
        stack.callback(pool.terminate)
        _watch_pool(pool)
        await wait_for_topics(settings, service)
        producer = Producer(settings)
        await producer.start()
        stack.push_async_callback(producer.stop)
        process = Process(settings, service, clock, pool, producer, Relay(settings, service, producer), health)
        stack.push_async_callback(process.shut_down)
        process.task("relay", process.relay.run)
        expiries = inbox_expiries(pool, settings.keep_inbox_days, settings.keep_parked_days)
        process.task("inbox", lambda: delete_expired(SystemClock(), expiries))
        process.task("measure", process.measure)
        secret_files = SecretFilesWatch(secrets_folder(), settings.certificate_files(), _restart(settings, process))
        process.task("secret files", secret_files.run)
        health.details.append(secret_files.detail)
        database = DatabaseCheck(pool)
        process.add_readiness_check("database", database.is_writable)
        health.details.append(database.detail)
        yield process


def _restart(settings: ServiceSettings, process: Process) -> SecretRestart | None:
    if not settings.secrets_restart_seconds:
        return None
    return SecretRestart(settings.secrets_restart_seconds, lambda: load_settings(type(settings)), process.restart)


async def _until_signal(main: Main) -> None:
    """``main``; SIGTERM cancels it while it starts, as it may wait for its dependencies for ever."""
    starting = asyncio.current_task()
    assert starting is not None  # noqa: S101 -- a coroutine runs in a task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, starting.cancel)
    await main()


def run_service(main: Main) -> None:
    """Run a service's ``main``. Exit codes: 2 for a wrong setting, named on one line; 1 for a task that failed."""
    try:
        uvloop.run(_until_signal(main))
    except asyncio.CancelledError:
        log.info("process.stopped")
    except Misconfigured as error:
        print(f"misconfigured: {error}", file=sys.stderr)  # noqa: T201 -- the process has no log yet
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        log.critical("process.failed", exc_info=error)
        sys.exit(1)
