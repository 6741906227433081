"""Writeback's metrics, and the loop that refreshes those of the backlog."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from services.writeback.circuit_breaker import PauseReason
from services.writeback.store import OpenTasks, WriteBacklog, WriteStore
from services.writeback.write_state import StoredWrite
from shared.contracts.writes import SUCCESSFUL_OUTCOMES, WriteOperation, WriteOutcome
from shared.runtime.clock import Clock
from shared.runtime.failures import repeat
from shared.runtime.metrics import DELAYS, RULE, Metrics, label, rule_label
from shared.runtime.outbox import PARKING_REASON

_metrics = Metrics.of("writeback")
_operation = label("operation", WriteOperation)
_OUTCOMES = _metrics.counter(
    "stet_write_outcomes_total",
    "Outcomes of writes; manual: a task was opened.",
    RULE,
    _operation,
    label("outcome", [outcome for outcome in WriteOutcome if outcome is not WriteOutcome.DONE_BY_HAND]),
)
_WRITE_DURATION = _metrics.histogram(
    "stet_write_duration_seconds",
    "Time from the reply that asks for a write, else from the request, until its value was read in Consonance.",
    _operation,
    buckets=(*DELAYS, 1800.0, 3600.0),
)
DEFERRED = _metrics.counter("stet_writes_deferred_total", "Writes deferred after an unexpected error.", PARKING_REASON)
PAUSED = _metrics.gauge(
    "stet_writes_paused", "1 while nothing is written, by the reason, else 0.", label("reason", PauseReason)
)
OPERATION_SUPPORTED = _metrics.gauge(
    "stet_operation_supported",
    "1 where Consonance offers a mapped operation, else 0.",
    label("operation", description="an operation of the mapping"),
)
_OLDEST_PENDING = _metrics.gauge(
    "stet_oldest_pending_write_age_seconds", "Time since the oldest write that is not settled was requested."
)
_PENDING = _metrics.gauge("stet_pending_writes", "Writes that are due or wait for a later read.")
_BLOCKED = _metrics.gauge("stet_blocked_writes", "Writes behind a manual task of their record.")
_OPEN_TASKS = _metrics.gauge("stet_open_manual_tasks", "Manual tasks that are not closed.", _operation)
_OLDEST_TASK = _metrics.gauge(
    "stet_oldest_manual_task_age_seconds", "Time since the oldest open manual task was opened.", _operation
)

_REFRESH_SECONDS = 5.0


def count_outcome(stored: StoredWrite, outcome: WriteOutcome, now: datetime) -> None:
    """``now`` is business time."""
    write, operation = stored.write, stored.write.input.operation
    _OUTCOMES.labels(rule_label(write.evidence.rule), operation, outcome).inc()
    if outcome in SUCCESSFUL_OUTCOMES:
        since = write.evidence.answered_at or write.requested_at
        _WRITE_DURATION.labels(operation).observe_all([(now - since).total_seconds()])


@dataclass(frozen=True, slots=True)
class BacklogReporter:
    store: WriteStore
    clock: Clock

    async def run(self) -> None:
        """Refresh the gauges until the task is cancelled. After an error the last values stay."""
        await repeat("backlog", self._refresh, _REFRESH_SECONDS)

    async def _refresh(self) -> None:
        self.show(await self.store.fetch_backlog())
        self.show_tasks(await self.store.fetch_open_tasks())

    def show(self, backlog: WriteBacklog) -> None:
        _OLDEST_PENDING.set(self._age(backlog.oldest))
        _PENDING.set(backlog.pending)
        _BLOCKED.set(backlog.blocked)

    def show_tasks(self, tasks: Mapping[WriteOperation, OpenTasks]) -> None:
        for operation in WriteOperation:
            found = tasks.get(operation)
            _OPEN_TASKS.labels(operation).set(found.tasks if found else 0)
            _OLDEST_TASK.labels(operation).set(self._age(found.oldest if found else None))

    def _age(self, since: datetime | None) -> float:
        return max((self.clock.now() - since).total_seconds(), 0.0) if since is not None else 0.0
