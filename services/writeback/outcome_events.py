"""The events that writeback publishes about a write: its outcome, and for metadata in force the approved change.

Ids are derived from the write and the outcome, so publishing an event again is the same event.
"""

from collections.abc import Mapping
from datetime import datetime

from services.writeback.changes import metadata_key
from services.writeback.write_state import StoredWrite
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import ContactId, EventId, WorkId, derive_id
from shared.contracts.writes import (
    SUCCESSFUL_OUTCOMES,
    AppliedChange,
    ApplyMetadata,
    MetadataApproved,
    WriteAlreadyApplied,
    WriteConflicted,
    WriteDoneByHand,
    WriteEventData,
    WriteManual,
    WriteOutcome,
    WriteUnknown,
    WriteVerified,
)

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
