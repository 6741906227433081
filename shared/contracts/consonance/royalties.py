"""Events about royalties: statements, payments and documents. None carries an amount."""

from datetime import date
from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta, field

from shared.contracts.consonance.base import ConsonanceData
from shared.contracts.values import NonEmptyStr, Value, drop_placeholder_dates
from shared.contracts.vocabulary import DocRef, PartyRef, WorkRef


class Period(Value):
    from_: date = field(name="from")
    to: date


class StatementReady(ConsonanceData):
    """A royalty statement can be read. It never carries an amount: chat must not."""

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
    """A payment was made."""

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
    """A payment cannot be made, and the payee can help."""

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
    """A document about royalties, other than a new statement, can be read."""

    kind: ClassVar[str] = "consonance.royalty.document_available.v1"
    document: DocRef
    payee: PartyRef
    document_kind: RoyaltyDocument = field(name="kind")
    ack_required: bool
