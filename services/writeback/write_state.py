"""A write as it is stored, and its state machine as one table: which event moves it from which state to which.

The store takes the states of its SQL from this table, and docs/architecture.md draws it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.writeback.protocol import WriteAttempt
from shared.contracts.ids import TenantId
from shared.contracts.writes import RequestWrite


class WriteState(StrEnum):
    """``intent``: an attempt is committed, so Consonance may hold the value; ``manual``: a person has a task."""

    QUEUED = "queued"
    INTENT = "intent"
    MANUAL = "manual"
    SETTLED = "settled"


class WriteEvent(StrEnum):
    """The transitions of a write; a retry is every attempt after the first. Each further request renews its attempt."""

    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_RENEWED = "attempt_renewed"
    ANSWER_RECORDED = "answer_recorded"
    FIRST_ATTEMPT_WITHDRAWN = "first_attempt_withdrawn"
    RETRY_WITHDRAWN = "retry_withdrawn"
    POSTPONED = "postponed"
    OUTCOME_RECORDED = "outcome_recorded"
    TASK_OPENED = "task_opened"
    TASK_CLOSED = "task_closed"


TRANSITIONS: Mapping[tuple[WriteState, WriteEvent], WriteState] = {
    (WriteState.QUEUED, WriteEvent.ATTEMPT_STARTED): WriteState.INTENT,
    (WriteState.QUEUED, WriteEvent.POSTPONED): WriteState.QUEUED,
    (WriteState.QUEUED, WriteEvent.OUTCOME_RECORDED): WriteState.SETTLED,
    (WriteState.QUEUED, WriteEvent.TASK_OPENED): WriteState.MANUAL,
    (WriteState.INTENT, WriteEvent.ATTEMPT_RENEWED): WriteState.INTENT,
    (WriteState.INTENT, WriteEvent.ANSWER_RECORDED): WriteState.INTENT,
    (WriteState.INTENT, WriteEvent.ATTEMPT_STARTED): WriteState.INTENT,
    (WriteState.INTENT, WriteEvent.FIRST_ATTEMPT_WITHDRAWN): WriteState.QUEUED,
    (WriteState.INTENT, WriteEvent.RETRY_WITHDRAWN): WriteState.INTENT,
    (WriteState.INTENT, WriteEvent.POSTPONED): WriteState.INTENT,
    (WriteState.INTENT, WriteEvent.OUTCOME_RECORDED): WriteState.SETTLED,
    (WriteState.INTENT, WriteEvent.TASK_OPENED): WriteState.MANUAL,
    (WriteState.MANUAL, WriteEvent.TASK_CLOSED): WriteState.SETTLED,
}


def source_states(event: WriteEvent) -> list[WriteState]:
    """The states in which a write may be when the event happens."""
    return [state for state, name in TRANSITIONS if name is event]


def target_state(event: WriteEvent) -> WriteState:
    """The state that the event leads to. Raises ValueError where that depends on the state before."""
    (target,) = {target for (_, name), target in TRANSITIONS.items() if name is event}
    return target


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWrite:
    """``ordering_key``: the partition key; writes that share it are executed one at a time, in order.

    ``reads``: reads in a row that settled nothing; ``failed_reads``: the latest of them, in a row, that Consonance
    answered with errors. ``before``: the value each change found before the first attempt. ``error_messages``: the
    server's texts about the latest attempt, known only to the process that made it.
    """

    tenant: TenantId
    write: RequestWrite
    ordering_key: str
    event_id: str
    correlation_id: str | None = None
    traceparent: str | None = None
    idempotency_key: str | None = None
    attempt: WriteAttempt | None = None
    reads: int = 0
    failed_reads: int = 0
    is_unknown_published: bool = False
    before: Mapping[str, str | None] = field(default_factory=dict)
    error_messages: tuple[str, ...] = ()

    @property
    def attempts(self) -> int:
        return self.attempt.number if self.attempt is not None else 0
