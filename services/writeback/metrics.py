"""Writeback's metrics, and the loop that refreshes those of the backlog."""

import asyncio
from dataclasses import dataclass

from services.writeback.store import WriteBacklog, WriteStore
from shared.runtime.clock import Clock
from shared.runtime.failures import TRANSIENT_ERRORS, describe_failure
from shared.runtime.telemetry import counter, gauge, get_logger

OUTCOMES = counter("stet_writeback_outcomes_total", "Outcomes of writes.", "operation", "outcome")
DEFERRED = counter("stet_writeback_deferred_writes_total", "Writes deferred after an unexpected error.", "reason")
LOOP_ERRORS = counter("stet_writeback_loop_errors_total", "Errors that a loop met and continued after.", "loop")
PAUSED = gauge("stet_writeback_paused", "1 while nothing is written, by the reason, else 0.", "reason")
OPERATION_SUPPORTED = gauge(
    "stet_writeback_operation_supported", "1 where Consonance offers a mapped operation, else 0.", "operation"
)
_OLDEST_PENDING = gauge(
    "stet_writeback_oldest_pending_seconds", "Age in business time of the oldest confirmed reply not yet written."
)
_PENDING = gauge("stet_writeback_pending_writes", "Writes that are due or wait for a later read.")
_BLOCKED = gauge("stet_writeback_blocked_writes", "Writes behind a manual task of their record.")
_OPEN_TASKS = gauge("stet_writeback_open_tasks", "Manual tasks that are not closed.")

_REFRESH_SECONDS = 5.0

log = get_logger()


def record_loop_error(loop: str, error: BaseException) -> None:
    """For an error that no single write explains. The log holds no value: texts of errors may quote data."""
    LOOP_ERRORS.labels(loop).inc()
    log.error("loop.failed", loop=loop, sentence=describe_failure(error))


@dataclass(frozen=True, slots=True)
class BacklogReporter:
    store: WriteStore
    clock: Clock

    async def run(self) -> None:
        while True:
            try:
                self.show(await self.store.fetch_backlog())
            except TRANSIENT_ERRORS:
                log.info("backlog.skipped")  # the relay and the consumer log the cause; the last values stay
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: no input may end it
                record_loop_error("backlog", error)
            await asyncio.sleep(_REFRESH_SECONDS)

    def show(self, backlog: WriteBacklog) -> None:
        age = (self.clock.now() - backlog.oldest).total_seconds() if backlog.oldest is not None else 0.0
        _OLDEST_PENDING.set(max(age, 0.0))
        _PENDING.set(backlog.pending)
        _BLOCKED.set(backlog.blocked)
        _OPEN_TASKS.set(backlog.manual)
