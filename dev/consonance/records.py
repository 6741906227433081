"""The records that a publisher keeps in Consonance. Field names are the API's in snake case, so most need no resolver;
``changed_on`` is the business day of the last edit, which only ``changedSince`` uses.
"""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

LONG_AGO = date(2026, 1, 5)
"""When a record of the seed was last edited, unless it says otherwise."""


class ContactKind(StrEnum):
    PERSON = "person"
    ORGANISATION = "organisation"


@dataclass
class Contact:
    """Tags are this simulator's choice: ``staff``, ``payee``, ``role:agent``, ``language:fr``."""

    id: int
    kind: ContactKind
    given_name: str
    key_names: str | None
    country: str
    town: str
    phones: list[dict[str, str]] = field(default_factory=list)
    emails: list[dict[str, str]] = field(default_factory=list)
    contact_tags: list[str] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    biographical_note: str | None = None
    agency_id: int | None = None
    changed_on: date = LONG_AGO

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.given_name, self.key_names) if part)


@dataclass
class Contribution:
    id: int
    work_id: int
    contact_id: int
    role_code: str
    sequence_number: int


@dataclass
class MarketingText:
    id: int
    work_id: int
    variant: str
    external_text_markdown: str
    internal_text_markdown: str = ""
    alternate_external_text_markdown: str = ""
    approval_status: str = "draft"
    onix_language_code: str | None = None
    onix_content_audience_codes: list[str] = field(default_factory=lambda: ["00"])
    product_ids: list[int] = field(default_factory=list)
    from_date: date | None = None
    until_date: date | None = None
    date_published: date | None = None
    date_released: date | None = None


@dataclass
class SupportingResource:
    id: int
    work_id: int
    variant: str
    status: str
    caption: str
    url: str


@dataclass
class WorkRecord:
    """``project_stage_id`` names the stage; ``metadata_status`` and ``embargo_until`` are extended."""

    id: int
    title: str
    subtitle: str | None
    imprint_id: int
    project_stage_id: int
    in_house_work_reference: str
    season: str
    work_type: str = "Book"
    marketing_tier: str | None = None
    acronym: str | None = None
    titles_elsewhere: list[str] = field(default_factory=list)
    subjects: dict[str, list[str]] = field(default_factory=dict)
    series_id: int | None = None
    part_number: str | None = None
    metadata_status: str = "draft"
    embargo_until: date | None = None
    client_id: int = 1
    changed_on: date = LONG_AGO


@dataclass
class Product:
    """``own_title`` and ``own_subtitle`` override the work's. Codes are bare (``04``), as ONIX writes them."""

    id: int
    work_id: int
    typename: str
    form_code: str
    isbn_13: str | None
    status_code: str
    publication_date: date | None
    planned_publication_date: date | None = None
    title_prefix: str | None = None
    own_title: str | None = None
    own_subtitle: str | None = None
    amount: float | None = None
    currency_code: str = "GBP"
    approximate_page_count: int | None = None
    changed_on: date = LONG_AGO


@dataclass
class Contract:
    id: int
    work_id: int
    contract_name: str
    signed_date: date | None
    description: str | None = None
    ms_delivery_date: date | None = None
    term: str | None = "84"
    free_copies: str | None = "6"
    free_copies_used: str | None = "0"
    author_discount: str | None = "40"
    remainder_rate: str | None = None
    remainder_rate_over_cost: float | None = None
    guaranteed_royalty_value: float | None = None
    flat_fee_value: float | None = None
    termination_reason: str | None = None
    terminated_date: date | None = None
    delivery_dates: list[dict[str, object]] = field(default_factory=list)
    licensed_rights: list[dict[str, object]] = field(default_factory=list)
    client_id: int = 1


@dataclass
class GratisCopy:
    id: int
    contract_id: int
    product_id: int
    contact_id: int
    number_of_copies: int
    send_on: date | None = None
    sent_on: date | None = None
    note: str | None = None


@dataclass
class RightsRequest:
    """Extended. ``status`` follows the decision; the card's stage is moved apart from it."""

    request_id: str
    rights_record_id: str
    work_id: int
    kind: str
    right_type: str
    terms_hash: str
    terms_summary: str
    exclusivity: str
    requires_signature: bool
    rights_holder_id: int
    respond_by: date
    status: str = "pending"
    decision: str | None = None
    decided_by: int | None = None
    on_behalf_of: int | None = None
    decided_at: str | None = None
    evidence_id: str | None = None
    note: str | None = None


@dataclass
class RightsRecordRow:
    """Extended. A card on the rights board."""

    rights_record_id: str
    work_id: int
    workflow_stage: str = "request"

    @property
    def status(self) -> str:
        return self.workflow_stage


@dataclass
class Acquisition:
    """Extended."""

    acquisition_id: str
    reference: str
    dedupe_key: str
    title: str
    pitch_text: str
    submitter_name: str
    author: str | None = None
    genre: str | None = None
    ai_use_declared: str | None = None
    submitter_contact_id: int | None = None
    attachments: list[dict[str, str]] = field(default_factory=list)
    source_message_ids: list[str] = field(default_factory=list)
    entries: list[dict[str, object]] = field(default_factory=list)
    status: str = "received"


@dataclass
class Acknowledgement:
    """Extended."""

    document_id: str
    contact_id: int | None
    kind: str
    at: str
    message_id: str | None = None


@dataclass
class Milestone:
    """Extended. ``affected`` is who outside waits for it: contact ids by role."""

    milestone_id: str
    work_id: int
    name: str
    milestone_key: str
    due_on: date | None = None
    done_on: date | None = None
    affected: list[dict[str, object]] = field(default_factory=list)
    basis: str = "absolute"
