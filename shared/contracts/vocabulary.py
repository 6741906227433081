"""Closed sets and small values that several areas share: stages, roles, parties, works, products, documents."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from shared.contracts.ids import ContactId, PersonId, ProductId, WorkId
from shared.contracts.values import Instant, NonEmptyStr, Value, drop_placeholder_dates


class Stage(StrEnum):
    """Canonical stages of a work; a tenant maps its own names to them; what it has not mapped is ``unmapped``."""

    PROPOSAL = "proposal"
    ACQUIRED = "acquired"
    MANUSCRIPT_DELIVERED = "manuscript_delivered"
    EDITORIAL_REVIEW = "editorial_review"
    EDITORIAL_REVIEW_COMPLETE = "editorial_review_complete"
    COPYEDIT_ASSIGNED = "copyedit_assigned"
    COPYEDIT_COMPLETE = "copyedit_complete"
    TYPESETTING = "typesetting"
    FIRST_PROOFS = "first_proofs"
    AUTHOR_PROOF_REVIEW = "author_proof_review"
    REVISED_PROOFS = "revised_proofs"
    FINAL_PROOF_APPROVED = "final_proof_approved"
    COVER_APPROVED = "cover_approved"
    FILES_TO_PRESS = "files_to_press"
    ADVANCE_COPIES_RECEIVED = "advance_copies_received"
    EX_WORKS = "ex_works"
    DELIVERED_TO_WAREHOUSE = "delivered_to_warehouse"
    PUBLISHED = "published"
    UNMAPPED = "unmapped"


class MilestoneKey(StrEnum):
    MANUSCRIPT_DELIVERY = "manuscript_delivery"
    MANUSCRIPT_RECEIVED = "manuscript_received"
    MANUSCRIPT_TO_PRODUCTION = "manuscript_to_production"
    TEXT_TO_COPY_EDITOR = "text_to_copy_editor"
    EDITED_TEXT_TO_DESIGN = "edited_text_to_design"
    FIRST_LAYOUTS = "first_layouts"
    FILES_TO_REPRO_AND_INDEXER = "files_to_repro_and_indexer"
    PP_DECISION = "pp_decision"
    FILES_TO_PRESS = "files_to_press"
    ADVANCE_COPIES_RECEIVED = "advance_copies_received"
    EX_WORKS = "ex_works"
    DELIVERED_TO_WAREHOUSE = "delivered_to_warehouse"
    OTHER = "other"


class Role(StrEnum):
    AUTHOR = "author"
    ILLUSTRATOR = "illustrator"
    TRANSLATOR = "translator"
    CONTRIBUTOR_OTHER = "contributor_other"
    AGENT = "agent"
    ESTATE = "estate"
    RIGHTS_HOLDER = "rights_holder"
    EDITOR = "editor"
    COMMISSIONING_EDITOR = "commissioning_editor"
    COPYEDITOR = "copyeditor"
    PROOFREADER = "proofreader"
    INDEXER = "indexer"
    DESIGNER = "designer"
    TYPESETTER = "typesetter"
    PRINTER = "printer"
    FREELANCER = "freelancer"
    PRODUCTION_LEAD = "production_lead"
    PRODUCTION_COORDINATOR = "production_coordinator"
    MANAGING_EDITOR = "managing_editor"
    RIGHTS_MANAGER = "rights_manager"
    METADATA_MANAGER = "metadata_manager"
    MARKETING = "marketing"
    PUBLICITY = "publicity"
    SALES = "sales"
    FINANCE = "finance"
    OWNER = "owner"
    ESCALATION_1 = "escalation_1"
    ESCALATION_2 = "escalation_2"


class PartyKind(StrEnum):
    PERSON = "person"
    ORGANISATION = "organisation"


class ActorType(StrEnum):
    USER = "user"
    CONTACT = "contact"
    SYSTEM = "system"
    INTEGRATION = "integration"


class Sensitivity(StrEnum):
    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"


class VersionKind(StrEnum):
    API_VERSION = "api_version"
    UPDATED_AT = "updated_at"
    CONTENT_HASH = "content_hash"


class Named(Value):
    id: int
    name: str | None = None


class WorkRef(Value):
    work_id: WorkId
    title: NonEmptyStr
    subtitle: str | None = None
    inhouse_ref: str | None = None
    imprint: Named | None = None
    contributors_display: str | None = None
    stage: str | None = None
    url: str | None = None


class ProductRef(Value):
    product_id: ProductId
    work_id: WorkId
    isbn13: Annotated[str, Meta(pattern=r"^97[89][0-9]{10}$")] | None = None
    format: str | None = None
    edition: str | None = None
    pub_date: date | None = None
    planned_pub_date: date | None = None
    publishing_status: str | None = None

    def __post_init__(self) -> None:
        drop_placeholder_dates(self, "pub_date", "planned_pub_date")


class PartyRef(Value):
    """A person in an event. A sender outside Stet gives ``contact_id``; ingest adds ``person_id`` before publishing."""

    person_id: PersonId
    contact_id: ContactId | None = None
    kind: PartyKind = PartyKind.PERSON
    display_name: NonEmptyStr
    role: Role
    via_agent_contact_id: ContactId | None = None


class Actor(Value):
    type: ActorType
    id: str | None = None
    name: str | None = None


class DocRef(Value):
    doc_id: NonEmptyStr
    kind: NonEmptyStr
    title: NonEmptyStr
    mime: NonEmptyStr
    bytes: int | None = None
    sha256: str | None = None
    url: str | None = None
    url_expires_at: Instant | None = None
    sensitivity: Sensitivity


class Version(Value):
    """``number`` counts the states of the record that the poll has seen; 0 where it is pushed, or not known."""

    token: NonEmptyStr
    kind: VersionKind
    observed_at: Instant
    number: int = 0
