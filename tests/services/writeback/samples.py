"""Requests as rules would make them, for works and cards of the simulator."""

from datetime import UTC, date, datetime
from typing import Any

from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import Level, MetadataField
from shared.contracts.envelope import Event
from shared.contracts.ids import (
    ChainId,
    EventId,
    PersonId,
    RuleId,
    TenantId,
    Wamid,
    WorkId,
    WriteId,
    derive_id,
    partition_key,
)
from shared.contracts.writes import (
    AdvanceWorkflow,
    AppendAcquisition,
    ApplyMetadata,
    CompleteMilestone,
    CreateAcquisition,
    MetadataItem,
    RecordDecision,
    RequestWrite,
    RightsDecision,
    WriteEvidence,
    WriteInput,
)

TENANT = TenantId("penrose")
NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
SUBTITLE, NEW_SUBTITLE = "A traveller’s companion", "A traveller’s company"


def item(new: str = NEW_SUBTITLE, old: str | None = SUBTITLE, **fields: Any) -> MetadataItem:
    field = fields.get("field", MetadataField.SUBTITLE)
    given: dict[str, Any] = {"item_id": "i1", "field": field, "level": Level.WORK, "target_ids": (61421,), **fields}
    return MetadataItem(new_value=new, old_value=old, baseline_hash=canonical_hash(field, old), **given)


def metadata(*items: MetadataItem) -> ApplyMetadata:
    return ApplyMetadata(request_id="M-1", items=items or (item(),))


def decision(decided: RightsDecision = RightsDecision.APPROVED, **fields: Any) -> RecordDecision:
    given = {
        "request_id": "RQ-1",
        "rights_record_id": "R-9",
        "terms_hash": "t" * 64,
        "needs_signature": False,
        **fields,
    }
    return RecordDecision(decision=decided, decided_at=NOW, **given)


def advance(**fields: Any) -> AdvanceWorkflow:
    given = {"request_id": "RQ-1", "rights_record_id": "R-9", "to_stage": "licensed", **fields}
    return AdvanceWorkflow(**given)


def pitch(**fields: Any) -> CreateAcquisition:
    given = {"dedupe_key": "d1", "reference": "PITCH-7", "title": "Sea Glass", "pitch_text": "A beach.", **fields}
    return CreateAcquisition(submitter_name="A. Writer", **given)


def follow_up(message: str = "wamid.2", **fields: Any) -> AppendAcquisition:
    return AppendAcquisition(reference="PITCH-7", text="One more thing", source_message_id=Wamid(message), **fields)


def milestone(done_on: date = date(2027, 3, 2)) -> CompleteMilestone:
    return CompleteMilestone(milestone_id="MS-1", done_on=done_on)


def request(
    write_input: WriteInput, name: str = "w1", record: str = "works/61421", work_id: int | None = 61421
) -> Event:
    """The event as rules publishes it; each ``name`` makes another write."""
    write = RequestWrite(
        write_id=WriteId(derive_id(name)),
        record=record,
        work_id=None if work_id is None else WorkId(work_id),
        input=write_input,
        evidence=WriteEvidence(
            rule=RuleId("a-rule"),
            chain_id=ChainId("c1"),
            person_id=PersonId("p1"),
            rendered="Shall the subtitle read so?",
            reply="yes",
            reply_wamid=Wamid("wamid.1"),
        ),
        requested_at=NOW,
    )
    lane = partition_key(TENANT, "works", work_id) if work_id is not None else partition_key(TENANT, record)
    return Event(
        id=EventId(derive_id("asked", name)),
        source="stet/rules",
        type=write.kind,
        time=NOW,
        recordedtime=NOW,
        tenantid=TENANT,
        partitionkey=lane,
        data=write,
    )
