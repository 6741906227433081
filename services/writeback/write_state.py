"""A write as it is stored; its state machine as one table; and the events that writeback publishes about it.

The table says which event moves a write from which state to which. The store takes the states of its SQL from it, and
docs/architecture.md draws it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from services.writeback.changes import metadata_key
from services.writeback.protocol import WriteAttempt
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import ContactId, EventId, TenantId, WorkId, derive_id
from shared.contracts.writes import (
    SUCCESSFUL_OUTCOMES,
    AppliedChange,
    ApplyMetadata,
    MetadataApproved,
    RequestWrite,
    WriteAlreadyApplied,
    WriteConflicted,
    WriteDoneByHand,
    WriteEventData,
    WriteManual,
    WriteOutcome,
    WriteUnknown,
    WriteVerified,
)


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


# ------------------------------------------------------------------ published events

SOURCE = "stet/writeback"
_EVENT_TYPES: Mapping[WriteOutcome, type[WriteEventData]] = {
    kind.outcome: kind
    for kind in (WriteVerified, WriteAlreadyApplied, WriteConflicted, WriteUnknown, WriteManual, WriteDoneByHand)
}


def outcome_event(
    stored: StoredWrite,
    outcome: WriteOutcome,
    now: datetime,
    *,
    detail: str | None = None,
    reference: str | None = None,
) -> Event:
    write = stored.write
    data = _EVENT_TYPES[outcome](
        write_id=write.write_id,
        operation=write.input.operation,
        record=write.record,
        work_id=write.work_id,
        reference=reference,
        detail=detail,
        at=now,
    )
    return _event(stored, data, now, outcome.value)


def approved_event(
    stored: StoredWrite, outcome: WriteOutcome, approved_by: ContactId | None, now: datetime
) -> Event | None:
    """None unless the write is metadata and its outcome a success."""
    request = stored.write.input
    work_id = stored.write.work_id
    if outcome not in SUCCESSFUL_OUTCOMES or not isinstance(request, ApplyMetadata) or work_id is None:
        return None
    data = MetadataApproved(
        request_id=request.request_id,
        work_id=WorkId(work_id),
        changes=_applied_changes(stored, request),
        approved_by=() if approved_by is None else (approved_by,),
        at=now,
    )
    return _event(stored, data, now, "approved")


def _applied_changes(stored: StoredWrite, request: ApplyMetadata) -> tuple[AppliedChange, ...]:
    return tuple(
        AppliedChange(
            change_id=derive_id(stored.write.write_id, item.item_id, target),
            field=item.field,
            level=item.level,
            target_id=target,
            old=stored.before.get(metadata_key(item, target), item.old_value),
            new=item.new_value,
        )
        for item in request.items
        for target in item.target_ids
    )


def _event(stored: StoredWrite, data: EventData, now: datetime, suffix: str) -> Event:
    return Event(
        id=EventId(derive_id(stored.tenant, stored.write.write_id, suffix)),
        source=SOURCE,
        type=data.kind,
        subject=stored.write.record,
        time=now,
        recordedtime=now,
        tenantid=stored.tenant,
        partitionkey=stored.ordering_key,
        correlationid=stored.correlation_id,
        causationid=stored.event_id,
        traceparent=stored.traceparent,
        data=data,
    )
