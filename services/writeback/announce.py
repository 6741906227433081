"""What writeback says of a write: its outcome, and, for metadata that now stands, the approved change for downstream.

Ids are derived from the write and the outcome, so saying it again is the same event.
"""

from collections.abc import Mapping
from datetime import datetime

from services.writeback.entries import Entry
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import ContactId, EventId, WorkId, derive_id
from shared.contracts.writes import (
    SUCCESSFUL_OUTCOMES,
    AppliedChange,
    ApplyMetadata,
    MetadataApproved,
    Outcome,
    WriteAlreadyApplied,
    WriteConflicted,
    WriteDoneByHand,
    WriteEventData,
    WriteManual,
    WriteUnknown,
    WriteVerified,
)

SOURCE = "stet/writeback"
_KINDS: Mapping[Outcome, type[WriteEventData]] = {
    kind.outcome: kind
    for kind in (WriteVerified, WriteAlreadyApplied, WriteConflicted, WriteUnknown, WriteManual, WriteDoneByHand)
}


def outcome_event(
    entry: Entry, outcome: Outcome, now: datetime, *, detail: str | None = None, reference: str | None = None
) -> Event:
    write = entry.write
    said = _KINDS[outcome](
        write_id=write.write_id,
        operation=write.input.operation,
        record=write.record,
        work_id=write.work_id,
        reference=reference,
        detail=detail,
        at=now,
    )
    return _event(entry, said, now, outcome.value)


def approved_event(entry: Entry, outcome: Outcome, approved_by: ContactId | None, now: datetime) -> Event | None:
    """None unless it is metadata, and stands."""
    asked = entry.write.input
    work_id = entry.write.work_id
    if outcome not in SUCCESSFUL_OUTCOMES or not isinstance(asked, ApplyMetadata) or work_id is None:
        return None
    said = MetadataApproved(
        request_id=asked.request_id,
        work_id=WorkId(work_id),
        changes=_applied(entry, asked),
        approved_by=() if approved_by is None else (approved_by,),
        at=now,
    )
    return _event(entry, said, now, "approved")


def _applied(entry: Entry, asked: ApplyMetadata) -> tuple[AppliedChange, ...]:
    return tuple(
        AppliedChange(
            change_id=derive_id(entry.write.write_id, item.item_id, target),
            field=item.field,
            level=item.level,
            target_id=target,
            old=entry.before.get(f"{item.item_id}/{target}", item.old_value),
            new=item.new_value,
        )
        for item in asked.items
        for target in item.target_ids
    )


def _event(entry: Entry, said: EventData, now: datetime, word: str) -> Event:
    return Event(
        id=EventId(derive_id(entry.tenant, entry.write.write_id, word)),
        source=SOURCE,
        type=said.kind,
        subject=entry.write.record,
        time=now,
        recordedtime=now,
        tenantid=entry.tenant,
        partitionkey=entry.lane,
        correlationid=entry.correlation_id,
        causationid=entry.event_id,
        traceparent=entry.traceparent,
        data=said,
    )
