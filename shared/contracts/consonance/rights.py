"""Events about rights: requests for approval with their terms, and the status of licences and permissions."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta, field

from shared.contracts.consonance.base import WorkEventData
from shared.contracts.values import NonEmptyStr, Value
from shared.contracts.vocabulary import Actor, DocRef, PartyRef


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


class ApprovalAnswer(StrEnum):
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
    """A rights holder is asked for permission on these terms."""

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
    allowed_decisions: tuple[ApprovalAnswer, ...]
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
    """A request for permission no longer stands as it was asked."""

    kind: ClassVar[str] = "consonance.rights.request_changed.v1"
    request_id: NonEmptyStr
    reason: RequestChangeReason
    new_terms_hash: str | None = None


class RequestWithdrawn(RequestChanged):
    """A request for permission was taken back."""

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
    """A permission request or a rights sale has another status."""

    kind: ClassVar[str] = "consonance.rights.status_changed.v1"
    rights_record_id: NonEmptyStr
    from_: str | None = field(default=None, name="from")
    to: RightsStatus


class RightsExpiring(WorkEventData):
    """A right ends soon."""

    kind: ClassVar[str] = "consonance.rights.expiring.v1"
    rights_record_id: NonEmptyStr
    expires_on: date
    days_left: int
