"""Writes to Consonance: asked for by rules (``writes.requested``), settled by writeback (``writes.events``)."""

from datetime import date
from enum import StrEnum
from typing import ClassVar

import msgspec

from shared.contracts.consonance import Level, MetadataField
from shared.contracts.envelope import EventData, kinds_by_type
from shared.contracts.ids import ChainId, ContactId, MessageId, PersonId, RuleId, Wamid, WorkId, WriteId
from shared.contracts.values import Instant, NonEmptyStr, Value
from shared.contracts.whatsapp import Media


class WriteOperation(StrEnum):
    """The word that a rule file uses after ``record``; docs/reference/events.md lists their input and rules."""

    RECORD_DECISION = "rights.record_decision"
    ADVANCE_WORKFLOW = "rights.advance_workflow"
    APPLY_METADATA = "metadata.apply"
    CREATE_ACQUISITION = "acquisition.create"
    APPEND_ACQUISITION = "acquisition.append"
    RECORD_ACKNOWLEDGEMENT = "acknowledgement.record"
    COMPLETE_MILESTONE = "milestone.complete"


class RightsDecision(StrEnum):
    APPROVED = "approved"
    APPROVED_SUBJECT_TO_SIGNATURE = "approved_subject_to_signature"
    DECLINED = "declined"
    QUESTION = "question"
    COUNTER_OFFER = "counter_offer"
    EXPIRED = "expired"


class AcknowledgementKind(StrEnum):
    """``acknowledged`` beats ``read`` beats ``delivered``; ``disputed`` opens a task for finance."""

    DELIVERED = "delivered"
    READ = "read"
    ACKNOWLEDGED = "acknowledged"
    DISPUTED = "disputed"


class RecordDecision(Value, tag_field="operation", tag=WriteOperation.RECORD_DECISION.value):
    """Records the decision of a rights holder. Writeback alone turns approved into approved_subject_to_signature.

    ``also_on_behalf_of`` are further holders where one person stands in for several.
    """

    operation: ClassVar[WriteOperation] = WriteOperation.RECORD_DECISION
    request_id: NonEmptyStr
    rights_record_id: NonEmptyStr
    decision: RightsDecision
    decided_by: ContactId | None = None
    on_behalf_of: ContactId | None = None
    decided_at: Instant
    terms_hash: NonEmptyStr
    needs_signature: bool
    note: str | None = None
    also_on_behalf_of: tuple[ContactId, ...] = ()


class AdvanceWorkflow(Value, tag_field="operation", tag=WriteOperation.ADVANCE_WORKFLOW.value):
    """Moves the rights record, and not the book, to another stage."""

    operation: ClassVar[WriteOperation] = WriteOperation.ADVANCE_WORKFLOW
    request_id: NonEmptyStr
    rights_record_id: NonEmptyStr
    to_stage: NonEmptyStr


class MetadataItem(Value):
    item_id: NonEmptyStr
    field: MetadataField
    level: Level
    target_ids: tuple[int, ...]
    new_value: str
    old_value: str | None = None
    baseline_hash: NonEmptyStr


class ApplyMetadata(Value, tag_field="operation", tag=WriteOperation.APPLY_METADATA.value):
    """Writes confirmed metadata, each item only where Consonance still holds the value from before."""

    operation: ClassVar[WriteOperation] = WriteOperation.APPLY_METADATA
    request_id: NonEmptyStr
    items: tuple[MetadataItem, ...]


class Attachment(Media):
    """A file of a record. Writeback adds ``url``, where the file is kept, and ``verdict``.

    ``verdict`` is the scan's, or why the file is not kept; None while that is not known.
    """

    url: str | None = None
    verdict: str | None = None

    @classmethod
    def of(cls, media: Media) -> "Attachment":
        return cls(**msgspec.structs.asdict(media))


class CreateAcquisition(Value, tag_field="operation", tag=WriteOperation.CREATE_ACQUISITION.value):
    """Files what a form has gathered as a submission, once; the person quotes its ``reference``, which is ours.

    It is idempotent on ``dedupe_key``. ``further`` are the answers to fields that only this form has, by their names.
    """

    operation: ClassVar[WriteOperation] = WriteOperation.CREATE_ACQUISITION
    dedupe_key: NonEmptyStr
    reference: NonEmptyStr
    title: NonEmptyStr
    author: str | None = None
    pitch_text: str
    genre: str | None = None
    ai_use_declared: str | None = None
    further: dict[str, str] = msgspec.field(default_factory=dict)
    submitter_name: str
    submitter_contact: ContactId | None = None
    attachments: tuple[Attachment, ...] = ()
    source_message_ids: tuple[Wamid, ...] = ()


class AppendAcquisition(Value, tag_field="operation", tag=WriteOperation.APPEND_ACQUISITION.value):
    """Adds a text or files to a submission, and changes nothing that is there."""

    operation: ClassVar[WriteOperation] = WriteOperation.APPEND_ACQUISITION
    reference: NonEmptyStr
    text: str | None = None
    attachments: tuple[Attachment, ...] = ()
    source_message_id: Wamid


class RecordAcknowledgement(Value, tag_field="operation", tag=WriteOperation.RECORD_ACKNOWLEDGEMENT.value):
    """Records that a document was delivered, read, acknowledged or disputed; it never goes back to a lower kind."""

    operation: ClassVar[WriteOperation] = WriteOperation.RECORD_ACKNOWLEDGEMENT
    document_id: NonEmptyStr
    contact_id: ContactId | None = None
    acknowledgement: AcknowledgementKind
    at: Instant


class CompleteMilestone(Value, tag_field="operation", tag=WriteOperation.COMPLETE_MILESTONE.value):
    """Completes a milestone, by a button or an operator and never from free text."""

    operation: ClassVar[WriteOperation] = WriteOperation.COMPLETE_MILESTONE
    milestone_id: NonEmptyStr
    done_on: date


WriteInput = (
    RecordDecision
    | AdvanceWorkflow
    | ApplyMetadata
    | CreateAcquisition
    | AppendAcquisition
    | RecordAcknowledgement
    | CompleteMilestone
)
"""JSON tells them apart by ``operation``."""


class WriteEvidence(Value):
    """The proof that a person requested a write; ``rendered`` is the text they answered, ``reply`` their answer.

    ``template`` is the one that was asked for by its name in the rule files; ``sent_template`` is the one that WhatsApp
    sent, by Meta's name: it may be the fallback. None for free text, and where the dispatcher did not say it.
    """

    rule: RuleId
    chain_id: ChainId
    person_id: PersonId | None = None
    question: MessageId | None = None
    question_wamids: tuple[Wamid, ...] = ()
    template: str | None = None
    template_version: int | None = None
    sent_template: str | None = None
    language: str | None = None
    rendered: str | None = None
    reply_wamid: Wamid | None = None
    reply: str | None = None
    answered_at: Instant | None = None
    terms: str | None = None


class RequestWrite(EventData):
    """``record`` names what is written (``rights/R-9``, ``works/61417``); writes of one record keep their order."""

    kind: ClassVar[str] = "writes.write.requested.v1"
    write_id: WriteId
    record: NonEmptyStr
    work_id: WorkId | None = None
    input: WriteInput
    evidence: WriteEvidence
    requested_at: Instant


class WriteOutcome(StrEnum):
    VERIFIED = "verified"
    ALREADY_APPLIED = "already_applied"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"
    MANUAL = "manual"
    DONE_BY_HAND = "done_by_hand"


SUCCESSFUL_OUTCOMES = frozenset({WriteOutcome.VERIFIED, WriteOutcome.ALREADY_APPLIED, WriteOutcome.DONE_BY_HAND})
"""Outcomes after which what waited on a write goes on."""


class WriteEventData(EventData):
    outcome: ClassVar[WriteOutcome]
    write_id: WriteId
    operation: WriteOperation
    record: NonEmptyStr
    work_id: WorkId | None = None
    reference: str | None = None
    detail: str | None = None
    at: Instant


class WriteVerified(WriteEventData):
    """``detail`` names what was recorded where that is not what was asked (approved_subject_to_signature)."""

    kind: ClassVar[str] = "writes.write.verified.v1"
    outcome: ClassVar[WriteOutcome] = WriteOutcome.VERIFIED


class WriteAlreadyApplied(WriteEventData):
    kind: ClassVar[str] = "writes.write.already_applied.v1"
    outcome: ClassVar[WriteOutcome] = WriteOutcome.ALREADY_APPLIED


DROPPED_BY_HAND = "dropped"
"""The ``detail`` of a write that a person of the house decided against: its task was closed without it."""


class WriteConflicted(WriteEventData):
    """Consonance held neither the baseline nor the new value, or a person decided against it; nothing was written."""

    kind: ClassVar[str] = "writes.write.conflict.v1"
    outcome: ClassVar[WriteOutcome] = WriteOutcome.CONFLICT


class WriteUnknown(WriteEventData):
    """It may have taken effect; Consonance is read again before anything else."""

    kind: ClassVar[str] = "writes.write.unknown.v1"
    outcome: ClassVar[WriteOutcome] = WriteOutcome.UNKNOWN


class WriteManual(WriteEventData):
    """This Consonance cannot do it; a durable task stands for it."""

    kind: ClassVar[str] = "writes.write.manual.v1"
    outcome: ClassVar[WriteOutcome] = WriteOutcome.MANUAL


class WriteDoneByHand(WriteEventData):
    kind: ClassVar[str] = "writes.write.done_by_hand.v1"
    outcome: ClassVar[WriteOutcome] = WriteOutcome.DONE_BY_HAND


class AppliedChange(Value):
    change_id: NonEmptyStr
    field: MetadataField
    level: Level
    target_id: int
    old: str | None = None
    new: str


class MetadataApproved(EventData):
    """Metadata that a person confirmed, that was written and read back, for downstream sales and channel systems."""

    kind: ClassVar[str] = "metadata.change.approved.v1"
    request_id: NonEmptyStr
    work_id: WorkId
    changes: tuple[AppliedChange, ...]
    approved_by: tuple[ContactId, ...] = ()
    at: Instant


REQUEST_KINDS = kinds_by_type((RequestWrite,))
EVENT_KINDS = kinds_by_type(
    (WriteVerified, WriteAlreadyApplied, WriteConflicted, WriteUnknown, WriteManual, WriteDoneByHand)
)
APPROVED_KINDS = kinds_by_type((MetadataApproved,))
