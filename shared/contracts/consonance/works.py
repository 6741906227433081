"""Events about a work and its editions: acquisition, stage, milestones and dates, blocks, launch, publication."""

from datetime import date
from enum import StrEnum
from typing import ClassVar

from msgspec import field

from shared.contracts.consonance.base import ConsonanceData, WorkEventData
from shared.contracts.consonance.metadata import MetadataField
from shared.contracts.values import Instant, NonEmptyStr, Value, drop_placeholder_dates
from shared.contracts.vocabulary import Actor, DocRef, MilestoneKey, Named, PartyRef, ProductRef, Stage, WorkRef


class Component(StrEnum):
    FRONT_COVER = "front_cover"
    FULL_COVER = "full_cover"
    JACKET_COPY = "jacket_copy"
    METADATA = "metadata"
    INTERIOR_FILES = "interior_files"
    EBOOK_FILE = "ebook_file"
    PRICE = "price"
    RIGHTS = "rights"


class ComponentState(StrEnum):
    MISSING = "missing"
    DRAFT = "draft"
    IN_REVIEW = "in_review"
    FINAL = "final"
    REJECTED = "rejected"


class ObservedComponent(Value):
    component: Component
    state: ComponentState


class WorkObserved(WorkEventData):
    """The full state of a work; consumers keep it, and never call back."""

    kind: ClassVar[str] = "consonance.work.observed.v1"
    stage_key: Stage = Stage.UNMAPPED
    people: tuple[PartyRef, ...] = ()
    products: tuple[ProductRef, ...] = ()
    components: tuple[ObservedComponent, ...] = ()
    texts: dict[MetadataField, str] = field(default_factory=dict)
    cancelled: bool = False
    embargo_until: date | None = None

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "embargo_until")


class AcquisitionStatus(StrEnum):
    RECEIVED = "received"
    UNDER_REVIEW = "under_review"
    REVISE = "revise"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    CONTRACTED = "contracted"


class AcquisitionStatusChanged(ConsonanceData):
    """A submission has another status."""

    kind: ClassVar[str] = "consonance.acquisition.status_changed.v1"
    work: WorkRef | None = None
    acquisition_id: NonEmptyStr
    reference: str | None = None
    from_: str | None = field(default=None, name="from")
    to: AcquisitionStatus
    submitter: PartyRef
    notify_submitter: bool


class ActionRequired(StrEnum):
    NONE = "none"
    REVISE = "revise"
    REVIEW_PROOFS = "review_proofs"
    APPROVE = "approve"
    HANDOFF = "handoff"


class StageChanged(WorkEventData):
    """A work reached another stage; a poll may skip stages between two readings."""

    kind: ClassVar[str] = "consonance.work.stage_changed.v1"
    from_stage: str | None = None
    to_stage: NonEmptyStr
    to_stage_key: Stage
    changed_at: Instant
    reason: str | None = None
    action_required: ActionRequired = ActionRequired.NONE
    action_due: date | None = None
    documents: tuple[DocRef, ...] = ()

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "action_due")


class MilestoneCompleted(WorkEventData):
    """A task of the schedule was done."""

    kind: ClassVar[str] = "consonance.milestone.completed.v1"
    milestone_id: NonEmptyStr
    name: NonEmptyStr
    milestone_key: MilestoneKey
    due_on: date | None = None
    done_on: date
    days_late: int = 0
    assignee: Named | None = None
    products: tuple[ProductRef, ...] = ()

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "due_on")


class MilestoneReopened(WorkEventData):
    """A task of the schedule that was done is open again."""

    kind: ClassVar[str] = "consonance.milestone.reopened.v1"
    milestone_id: NonEmptyStr
    name: NonEmptyStr
    milestone_key: MilestoneKey
    due_on: date | None = None

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "due_on")


class DateBasis(StrEnum):
    ABSOLUTE = "absolute"
    RELATIVE = "relative"


class DateSet(WorkEventData):
    """A date of the schedule was set for the first time."""

    kind: ClassVar[str] = "consonance.schedule.date_set.v1"
    milestone_id: NonEmptyStr
    milestone_key: MilestoneKey
    name: NonEmptyStr
    old_due: date | None = None
    new_due: date | None = None
    basis: DateBasis
    basis_date_name: str | None = None
    reason: str | None = None
    affected: tuple[PartyRef, ...] = ()

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "old_due", "new_due")


class DateChanged(DateSet):
    """A date of the schedule moved. Without ``new_due`` it was removed, or is not known any more."""

    kind: ClassVar[str] = "consonance.schedule.date_changed.v1"


class BlockCause(StrEnum):
    MISSING_APPROVAL = "missing_approval"
    LATE_FILE = "late_file"
    RIGHTS_ISSUE = "rights_issue"
    METADATA_INCOMPLETE = "metadata_incomplete"
    PAYMENT = "payment"
    OTHER = "other"


class BlockSeverity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class WorkBlocked(WorkEventData):
    """A problem stops a milestone, a launch or a distribution."""

    kind: ClassVar[str] = "consonance.work.blocked.v1"
    block_id: NonEmptyStr
    cause: BlockCause
    detail: NonEmptyStr
    blocking: NonEmptyStr
    owner: PartyRef
    escalation: tuple[PartyRef, ...] = ()
    severity: BlockSeverity
    since: Instant


class WorkUnblocked(WorkEventData):
    """A problem that stopped a work is gone."""

    kind: ClassVar[str] = "consonance.work.unblocked.v1"
    block_id: NonEmptyStr
    resolved_by: Actor
    resolution: str | None = None


class ComponentCheck(Value):
    rule: str
    ok: bool
    message: str | None = None


class ComponentChanged(WorkEventData):
    """A cover, a text, a file or another part of a launch has another state."""

    kind: ClassVar[str] = "consonance.launch.component_changed.v1"
    component: Component
    state: ComponentState
    document: DocRef | None = None
    checks: tuple[ComponentCheck, ...] = ()


class PubDateChanged(WorkEventData):
    """The publication date of one edition changed."""

    kind: ClassVar[str] = "consonance.product.pub_date_changed.v1"
    product: ProductRef
    old: date | None = None
    new: date | None = None

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "old", "new")


class PublishingStatusChanged(WorkEventData):
    """The publishing status of one edition changed.

    Statuses are ONIX list 64 codes, without the underscore of GraphQL enums.
    """

    kind: ClassVar[str] = "consonance.product.publishing_status_changed.v1"
    product: ProductRef
    old: str | None = None
    new: str | None = None
