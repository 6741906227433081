"""Executes due writes, one per ordering key at a time, as many keys at once as the circuit breaker allows.

An ordering key (a work, else a record) is locked by a session advisory lock on one connection of its own, so the lock
of a process that dies is released at once. The lock orders replicas; the attempt numbers of the store fence them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from opentelemetry.trace import SpanKind

from services.writeback import metrics
from services.writeback.circuit_breaker import CircuitBreaker, PauseReason
from services.writeback.executor import WriteExecutor
from services.writeback.store import QUERIES, DueWrite
from shared.contracts.errors import Unavailable
from shared.runtime.clock import machine_now
from shared.runtime.failures import (
    SERIALIZATION_FAILURES,
    TRANSIENT_ERRORS,
    FailureLog,
    describe_failure,
    parking_reason,
    record_loop_error,
)
from shared.runtime.health import IdleStatus
from shared.runtime.postgres import Connection, advisory_lock_key, raise_if_read_only
from shared.runtime.telemetry import get_logger
from shared.runtime.tracing import effect_span

CHANNEL = "stet_writeback_queue"
LOCK_SESSION = {"idle_session_timeout": "60s"}
"""A frozen process loses its locks; the executor then finds its intent too old to send."""

_POLL_SECONDS = 0.5  # a notification comes sooner
_RECONNECT_SECONDS = 1.0
_DRAIN_SECONDS = 4.0  # for requests in flight when the process stops; the process itself is given five
_DEFER = timedelta(seconds=30)
_CANDIDATES_PER_SLOT = 4  # some of the due keys are locked by other replicas

Connect = Callable[[], Awaitable[Connection]]

log = get_logger()


class WriteWorker:
    """``connect`` opens the connection that holds the locks.

    ``started`` counts the writes that were taken from the queue: the development clock watches it.
    """

    def __init__(self, connect: Connect, executor: WriteExecutor, breaker: CircuitBreaker) -> None:
        self._connect = connect
        self._executor = executor
        self._store = executor.store
        self._capabilities = executor.capabilities
        self._breaker = breaker
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self.started = 0
        self._failures = FailureLog("database.lost")

    async def run(self) -> None:
        while True:
            try:
                await self._run_with(await self._connect())
            except (*TRANSIENT_ERRORS, *SERIALIZATION_FAILURES) as error:
                self._failures.warn(error)
                await asyncio.sleep(_RECONNECT_SECONDS)
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: no input may end it
                record_loop_error("worker", error)
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def idle(self) -> IdleStatus:
        """A manual task, and the writes behind it, count as idle: only a person moves them."""
        pending = (await self._store.fetch_backlog()).pending
        busy = [f"{pending} writes"] if pending else []
        busy += [f"{len(self._running)} requests in flight"] if self._running else []
        return IdleStatus(tuple(busy), None, self.started)

    async def _run_with(self, connection: Connection) -> None:
        """Execute due writes until the connection that holds the locks breaks, or the process stops."""
        try:
            await connection.add_listener(CHANNEL, self._wake)
            while True:
                self._woken.clear()
                await self._release_finished(connection)
                await self._start_due(connection)
                await self._wait_until_woken()
        finally:
            await self._drain()
            connection.terminate()

    async def _start_due(self, connection: Connection) -> None:
        slots = self._breaker.allowed_concurrency(time.monotonic()) - len(self._running)
        if slots <= 0 or not await self._ensure_capabilities():
            return
        for due in await self._store.fetch_due(self._running, slots * _CANDIDATES_PER_SLOT):
            if slots > 0 and await connection.fetchval(QUERIES.lock_ordering_key, _lock_key(due.ordering_key)):
                slots -= 1
                self._start(due)

    def _start(self, due: DueWrite) -> None:
        self.started += 1
        task = asyncio.create_task(self._execute(due), name=f"write {due.write_id}")
        task.add_done_callback(self._wake)
        self._running[due.ordering_key] = task

    async def _release_finished(self, connection: Connection) -> None:
        """Release the locks of finished writes. It asks even without any, or PostgreSQL ends the idle session."""
        finished = [key for key, task in self._running.items() if task.done()]
        await connection.execute(QUERIES.unlock_ordering_keys, [_lock_key(key) for key in finished])
        raise_if_read_only(connection)
        for key in finished:
            self._running.pop(key).result()

    async def _execute(self, due: DueWrite) -> None:
        try:
            stored = await self._store.fetch(due)
            if stored is not None:
                attributes = {"stet.operation": stored.write.input.operation.value, "stet.attempts": stored.attempts}
                with effect_span("consonance.write", stored.traceparent, attributes, SpanKind.INTERNAL) as parent:
                    is_answered = await self._executor.execute(replace(stored, traceparent=parent))
                if is_answered:
                    self._resume()
        except Unavailable as error:
            self._pause(error)
        except (*TRANSIENT_ERRORS, *SERIALIZATION_FAILURES) as error:
            log.warning("write.interrupted", write_id=due.write_id, error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)
        except Exception as error:  # noqa: BLE001 -- the boundary of one write: its error must not stop the others
            await self._defer(due, error)

    async def _defer(self, due: DueWrite, error: Exception) -> None:
        """The write is tried again after a pause; later writes of its ordering key wait, other keys go on."""
        reason = parking_reason(error)
        metrics.DEFERRED.labels(reason).inc()
        log.error("write.deferred", write_id=due.write_id, reason=reason, sentence=describe_failure(error))
        try:
            await self._store.defer(due, machine_now() + _DEFER)
        except Exception as fault:  # noqa: BLE001 -- the write stays due and is tried again
            record_loop_error("defer", fault)
            await asyncio.sleep(_RECONNECT_SECONDS)

    # -------------------------------------------------------------- Consonance's availability

    async def _ensure_capabilities(self) -> bool:
        """Introspects where needed; that is also the request by which a half-open breaker tries Consonance.

        Where it described its schema and showed no record, only a record shows that it is back.
        """
        if not self._capabilities.is_outdated:
            return True
        try:
            await self._capabilities.refresh(self._executor.client)
        except Unavailable as error:
            self._pause(error)
            return False
        except Exception as error:  # noqa: BLE001 -- an introspection that cannot be read is a failure of Consonance
            record_loop_error("introspection", error)
            self._pause(Unavailable("Consonance's introspection cannot be read"))
            return False
        if self._breaker.pause_reason is not PauseReason.UNREADABLE:
            self._resume()
        return True

    def _pause(self, error: Unavailable) -> None:
        before = self._breaker.pause_reason
        self._breaker.record_failure(error, time.monotonic())
        self._capabilities.mark_outdated()
        if self._breaker.pause_reason is not before:
            log.warning("consonance.paused", reason=self._breaker.pause_reason, setting="STET_CONSONANCE_URL")
            self._show_pause()

    def _resume(self) -> None:
        was_paused = self._breaker.pause_reason is not None
        self._breaker.record_success(time.monotonic())
        if was_paused and self._breaker.pause_reason is None:
            log.info("consonance.resumed")
        self._show_pause()

    def _show_pause(self) -> None:
        for reason in PauseReason:
            metrics.PAUSED.labels(reason).set(reason is self._breaker.pause_reason)

    # -------------------------------------------------------------- waiting and stopping

    async def _wait_until_woken(self) -> None:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _drain(self) -> None:
        """Lets requests in flight end; a cancelled one is found again by its intent."""
        if self._running:
            _, late = await asyncio.wait(self._running.values(), timeout=_DRAIN_SECONDS)
            for task in late:
                task.cancel()
            self._running.clear()

    def _wake(self, *_: object) -> None:
        self._woken.set()


def _lock_key(ordering_key: str) -> int:
    return advisory_lock_key(f"queue/{ordering_key}")
