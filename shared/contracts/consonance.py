"""What happened in Consonance: topic ``consonance.events``. State (``work.observed``) travels before change, same key.

docs/reference/events.md lists them with their fields; a rule file uses the short name (``work.stage_changed``).
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, ClassVar

from msgspec import Meta, field

from shared.contracts.envelope import EventData, kinds_by_type
from shared.contracts.ids import ContactId
from shared.contracts.values import Instant, NonEmptyStr, Value, drop_placeholder_dates
from shared.contracts.vocabulary import (
    Actor,
    DocRef,
    MilestoneKey,
    Named,
    PartyRef,
    ProductRef,
    Stage,
    Version,
    WorkRef,
)

PREFIX = "consonance."
SUFFIX = ".v1"


@lru_cache(maxsize=128)
def short_name(kind: str) -> str:
    """``consonance.work.stage_changed.v1`` → ``work.stage_changed``, as rule files say it."""
    return kind.removeprefix(PREFIX).removesuffix(SUFFIX)


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


class ActionRequired(StrEnum):
    NONE = "none"
    REVISE = "revise"
    REVIEW_PROOFS = "review_proofs"
    APPROVE = "approve"
    HANDOFF = "handoff"


class Basis(StrEnum):
    ABSOLUTE = "absolute"
    RELATIVE = "relative"


class MetadataField(StrEnum):
    TITLE = "title"
    SUBTITLE = "subtitle"
    CONTRIBUTOR_NAME = "contributor_name"
    CONTRIBUTOR_ORDER = "contributor_order"
    CONTRIBUTOR_ROLE = "contributor_role"
    COVER_COPY = "cover_copy"
    SECONDARY_COVER_COPY = "secondary_cover_copy"
    SHORT_DESCRIPTION = "short_description"
    SERIES_NAME = "series_name"
    SERIES_NUMBER = "series_number"
    BIO_NOTE = "bio_note"
    PUB_DATE = "pub_date"


class ConsonanceData(EventData):
    """What every Consonance event may carry besides its own fields."""

    actor: Actor | None = None
    version: Version | None = None


class WorkEventData(ConsonanceData):
    work: WorkRef


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


class StageChanged(WorkEventData):
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
    kind: ClassVar[str] = "consonance.milestone.reopened.v1"
    milestone_id: NonEmptyStr
    name: NonEmptyStr
    milestone_key: MilestoneKey
    due_on: date | None = None

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "due_on")


class DateSet(WorkEventData):
    kind: ClassVar[str] = "consonance.schedule.date_set.v1"
    milestone_id: NonEmptyStr
    milestone_key: MilestoneKey
    name: NonEmptyStr
    old_due: date | None = None
    new_due: date | None = None
    basis: Basis
    basis_date_name: str | None = None
    reason: str | None = None
    affected: tuple[PartyRef, ...] = ()

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "old_due", "new_due")


class DateChanged(DateSet):
    """``new_due`` absent: the date was removed, or is not known any more."""

    kind: ClassVar[str] = "consonance.schedule.date_changed.v1"


class RequestKind(StrEnum):
    PERMISSION = "permission"
    SUBSIDIARY_RIGHT = "subsidiary_right"
    LICENCE = "licence"


class RightType(StrEnum):
    """Subsidiary rights and permissions as rights systems list them, and the two that need a signature."""

    PERMISSION = "permission"
    TRANSLATION = "translation"
    TERRITORIAL = "territorial"
    PAPERBACK = "paperback"
    LARGE_PRINT = "large_print"
    BOOK_CLUB = "book_club"
    FIRST_SERIAL = "first_serial"
    SECOND_SERIAL = "second_serial"
    EXTRACT = "extract"
    AUDIO_BOOK = "audio_book"
    AUDIO_BROADCAST = "audio_broadcast"
    FILM_AND_TV = "film_and_tv"
    PUBLIC_PERFORMANCE = "public_performance"
    MECHANICAL = "mechanical"
    MERCHANDISING = "merchandising"
    EBOOK = "ebook"
    ACCESSIBLE_EDITION = "accessible_edition"
    ASSIGNMENT = "assignment"
    OTHER = "other"


class AssetType(StrEnum):
    IMAGE = "image"
    EXCERPT = "excerpt"
    TEXT = "text"
    TRANSLATION = "translation"
    AUDIO = "audio"
    OTHER = "other"


class Exclusivity(StrEnum):
    EXCLUSIVE = "exclusive"
    NON_EXCLUSIVE = "non_exclusive"


class Answer(StrEnum):
    APPROVE = "approve"
    DECLINE = "decline"
    QUESTION = "question"


class Asset(Value):
    type: AssetType
    description: NonEmptyStr
    ref: str | None = None


class Money(Value):
    amount: Decimal
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]


class Terms(Value):
    summary: NonEmptyStr
    territory: tuple[str, ...] | str
    languages: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    print_run: int | None = None
    term: str | None = None
    exclusivity: Exclusivity
    fee: Money | None = None
    credit_line: str | None = None


class ApprovalRequested(WorkEventData):
    kind: ClassVar[str] = "consonance.rights.approval_requested.v1"
    request_id: NonEmptyStr
    request_kind: RequestKind = field(name="kind")
    rights_record_id: NonEmptyStr
    right_type: RightType
    asset: Asset
    terms: Terms
    terms_hash: NonEmptyStr
    rights_holder: PartyRef
    requested_by: Actor
    respond_by: date
    allowed_decisions: tuple[Answer, ...]
    requires_signature: bool
    documents: tuple[DocRef, ...] = ()

    @property
    def needs_signature(self) -> bool:
        return licence_needs_signature(
            requires_signature=self.requires_signature,
            exclusivity=self.terms.exclusivity,
            right_type=self.right_type,
        )


def licence_needs_signature(*, requires_signature: bool, exclusivity: str | None, right_type: str | None) -> bool:
    """Whether a licence holds only once it is signed: its terms say so, it is exclusive, or it is an assignment.

    Copyright, Designs and Patents Act 1988, https://www.legislation.gov.uk/ukpga/1988/48/section/90 (3) and section 92.
    """
    return requires_signature or exclusivity == Exclusivity.EXCLUSIVE or right_type == RightType.ASSIGNMENT


class RequestChangeReason(StrEnum):
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    OWNERSHIP_CHANGED = "ownership_changed"
    CLOSED = "closed"


class RequestChanged(WorkEventData):
    kind: ClassVar[str] = "consonance.rights.request_changed.v1"
    request_id: NonEmptyStr
    reason: RequestChangeReason
    new_terms_hash: str | None = None


class RequestWithdrawn(RequestChanged):
    kind: ClassVar[str] = "consonance.rights.request_withdrawn.v1"


class RightsStatus(StrEnum):
    """States of a permission request, then of a rights sale (docs/reference/consonance.md, 4)."""

    PENDING = "pending"
    MORE_INFORMATION_REQUESTED = "more_information_requested"
    QUOTATION_ISSUED = "quotation_issued"
    LICENSED = "licensed"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    CHANGE_OF_OWNERSHIP = "change_of_ownership"
    CLOSED = "closed"
    REQUEST = "request"
    SUBMISSION = "submission"
    OFFER = "offer"
    SOLD = "sold"
    REJECTED = "rejected"
    EXPIRED = "expired"


class RightsStatusChanged(WorkEventData):
    kind: ClassVar[str] = "consonance.rights.status_changed.v1"
    rights_record_id: NonEmptyStr
    from_: str | None = field(default=None, name="from")
    to: RightsStatus


class RightsExpiring(WorkEventData):
    kind: ClassVar[str] = "consonance.rights.expiring.v1"
    rights_record_id: NonEmptyStr
    expires_on: date
    days_left: int


class Level(StrEnum):
    WORK = "work"
    PRODUCT = "product"


class Quorum(StrEnum):
    FIRST = "first"
    ALL = "all"


class OnixField(Value):
    list: str | int
    code: str


class ConfirmationItem(Value):
    item_id: NonEmptyStr
    field: MetadataField
    level: Level
    target_ids: Annotated[tuple[int, ...], Meta(min_length=1)]
    onix: OnixField | None = None
    current_value: str | None = None
    current_hash: NonEmptyStr
    proposed_value: NonEmptyStr
    max_chars: int | None = None


class ConfirmationRequested(WorkEventData):
    kind: ClassVar[str] = "consonance.metadata.confirmation_requested.v1"
    request_id: NonEmptyStr
    items: Annotated[tuple[ConfirmationItem, ...], Meta(min_length=1)]
    confirmers: Annotated[tuple[PartyRef, ...], Meta(min_length=1)]
    quorum: Quorum
    respond_by: date


class MetadataChange(Value):
    field: MetadataField
    level: Level
    target_id: int
    old: str | None = None
    new: str | None = None
    old_hash: str | None = None
    new_hash: str | None = None


class MetadataChanged(WorkEventData):
    kind: ClassVar[str] = "consonance.metadata.changed.v1"
    changes: Annotated[tuple[MetadataChange, ...], Meta(min_length=1)]


class DistributionMethod(StrEnum):
    ONIX_FULL = "onix_full"
    ONIX_BLOCK = "onix_block"
    CSV = "csv"
    API = "api"


class DistributionStatus(StrEnum):
    SENT = "sent"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class MetadataDistributed(WorkEventData):
    kind: ClassVar[str] = "consonance.metadata.distributed.v1"
    change_ids: tuple[str, ...]
    channel: NonEmptyStr
    method: DistributionMethod
    status: DistributionStatus
    at: Instant


class Check(Value):
    rule: str
    ok: bool
    message: str | None = None


class ComponentChanged(WorkEventData):
    kind: ClassVar[str] = "consonance.launch.component_changed.v1"
    component: Component
    state: ComponentState
    document: DocRef | None = None
    checks: tuple[Check, ...] = ()


class PubDateChanged(WorkEventData):
    kind: ClassVar[str] = "consonance.product.pub_date_changed.v1"
    product: ProductRef
    old: date | None = None
    new: date | None = None

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "old", "new")


class PublishingStatusChanged(WorkEventData):
    """Statuses are ONIX list 64 codes, without the underscore of GraphQL enums."""

    kind: ClassVar[str] = "consonance.product.publishing_status_changed.v1"
    product: ProductRef
    old: str | None = None
    new: str | None = None


class Period(Value):
    from_: date = field(name="from")
    to: date


class StatementReady(ConsonanceData):
    """Never carries an amount: chat must not."""

    kind: ClassVar[str] = "consonance.royalty.statement_ready.v1"
    statement_id: NonEmptyStr
    batch_id: NonEmptyStr
    period: Period
    payee: PartyRef
    beneficiary: PartyRef | None = None
    works: tuple[WorkRef, ...] = ()
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
    has_payment: bool
    document: DocRef
    ack_required: bool
    ack_by: date | None = None

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "ack_by")


class PaymentSent(ConsonanceData):
    kind: ClassVar[str] = "consonance.royalty.payment_sent.v1"
    payment_id: NonEmptyStr
    statement_id: str | None = None
    payee: PartyRef


class PaymentProblem(StrEnum):
    BANK_DETAILS_MISSING = "bank_details_missing"
    BANK_REJECTED = "bank_rejected"
    TAX_FORM_MISSING = "tax_form_missing"
    VAT_INVOICE_NEEDED = "vat_invoice_needed"
    BELOW_THRESHOLD = "below_threshold"
    ON_HOLD = "on_hold"
    OTHER = "other"


class PaymentIssue(PaymentSent):
    kind: ClassVar[str] = "consonance.royalty.payment_issue.v1"
    issue: PaymentProblem
    action_url: str | None = None
    respond_by: date | None = None

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "respond_by")


class RoyaltyDocument(StrEnum):
    STATEMENT = "statement"
    REMITTANCE = "remittance"
    TAX_CERTIFICATE = "tax_certificate"
    SALES_BREAKDOWN = "sales_breakdown"
    CONTRACT_ADDENDUM = "contract_addendum"


class DocumentAvailable(ConsonanceData):
    kind: ClassVar[str] = "consonance.royalty.document_available.v1"
    document: DocRef
    payee: PartyRef
    document_kind: RoyaltyDocument = field(name="kind")
    ack_required: bool


class BlockCause(StrEnum):
    MISSING_APPROVAL = "missing_approval"
    LATE_FILE = "late_file"
    RIGHTS_ISSUE = "rights_issue"
    METADATA_INCOMPLETE = "metadata_incomplete"
    PAYMENT = "payment"
    OTHER = "other"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class WorkBlocked(WorkEventData):
    kind: ClassVar[str] = "consonance.work.blocked.v1"
    block_id: NonEmptyStr
    cause: BlockCause
    detail: NonEmptyStr
    blocking: NonEmptyStr
    owner: PartyRef
    escalation: tuple[PartyRef, ...] = ()
    severity: Severity
    since: Instant


class WorkUnblocked(WorkEventData):
    kind: ClassVar[str] = "consonance.work.unblocked.v1"
    block_id: NonEmptyStr
    resolved_by: Actor
    resolution: str | None = None


class AcquisitionStatus(StrEnum):
    RECEIVED = "received"
    UNDER_REVIEW = "under_review"
    REVISE = "revise"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    CONTRACTED = "contracted"


class AcquisitionStatusChanged(ConsonanceData):
    kind: ClassVar[str] = "consonance.acquisition.status_changed.v1"
    work: WorkRef | None = None
    acquisition_id: NonEmptyStr
    reference: str | None = None
    from_: str | None = field(default=None, name="from")
    to: AcquisitionStatus
    submitter: PartyRef
    notify_submitter: bool


class ErasureRequested(ConsonanceData):
    kind: ClassVar[str] = "consonance.contact.erasure_requested.v1"
    contact_id: ContactId
    requested_at: Instant


class GapDetected(ConsonanceData):
    kind: ClassVar[str] = "consonance.source.gap_detected.v1"
    adapter: NonEmptyStr
    since: Instant | None = None
    detail: NonEmptyStr


class CapabilityChanged(GapDetected):
    kind: ClassVar[str] = "consonance.source.capability_changed.v1"


KINDS = kinds_by_type(
    (
        WorkObserved, StageChanged, MilestoneCompleted, MilestoneReopened, DateSet, DateChanged,
        ApprovalRequested, RequestChanged, RequestWithdrawn, RightsStatusChanged, RightsExpiring,
        ConfirmationRequested, MetadataChanged, MetadataDistributed, ComponentChanged,
        PubDateChanged, PublishingStatusChanged, StatementReady, PaymentSent, PaymentIssue, DocumentAvailable,
        WorkBlocked, WorkUnblocked, AcquisitionStatusChanged, ErasureRequested, GapDetected, CapabilityChanged,
    )
)  # fmt: skip
