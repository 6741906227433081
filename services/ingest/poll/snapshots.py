"""Snapshots of works and contacts: their state in Consonance at the last poll, in our terms, stored and compared."""

from datetime import date

from msgspec import field

from shared.contracts.consonance import (
    Component,
    ComponentCheck,
    ComponentState,
    MetadataField,
    ObservedComponent,
    WorkObserved,
)
from shared.contracts.ids import Bsuid, ContactId, Phone, ProductId, TenantId, WorkId, person_id_of_contact
from shared.contracts.values import Value
from shared.contracts.vocabulary import Named, PartyKind, PartyRef, ProductRef, Role, Stage, Version, WorkRef


class Contributor(Value):
    contact_id: ContactId
    kind: PartyKind
    name: str
    role: Role


class ProductSnapshot(Value):
    """``title`` and ``subtitle`` are set only where they differ from the work's."""

    product_id: ProductId
    isbn13: str | None = None
    format: str | None = None
    edition: str | None = None
    title: str | None = None
    subtitle: str | None = None
    pub_date: date | None = None
    planned_pub_date: date | None = None
    publishing_status: str | None = None


class WorkSnapshot(Value):
    """``components`` has those whose state this tenant's Consonance offers; among them, missing ones as MISSING.

    ``unread`` has digests of the fields that could not be read (``FieldReader``), so that each is reported once.
    """

    work_id: WorkId
    title: str
    subtitle: str | None = None
    inhouse_ref: str | None = None
    imprint: Named | None = None
    contributors_display: str | None = None
    url: str | None = None
    stage: str | None = None
    people: tuple[Contributor, ...] = ()
    products: tuple[ProductSnapshot, ...] = ()
    texts: dict[MetadataField, str] = field(default_factory=dict)
    components: dict[Component, ComponentState] = field(default_factory=dict)
    checks: tuple[ComponentCheck, ...] = ()
    cancelled: bool = False
    embargo_until: date | None = None
    unread: tuple[str, ...] = ()


class ContactSnapshot(Value):
    """``unread`` as in ``WorkSnapshot``."""

    contact_id: ContactId
    kind: PartyKind
    name: str
    country: str | None = None
    language: str | None = None
    zone: str | None = None
    roles: tuple[Role, ...] = ()
    phone: Phone | None = None
    unread: tuple[str, ...] = ()
    bsuid: Bsuid | None = None


def work_ref(work: WorkSnapshot) -> WorkRef:
    return WorkRef(
        work_id=work.work_id,
        title=work.title,
        subtitle=work.subtitle,
        inhouse_ref=work.inhouse_ref,
        imprint=work.imprint,
        contributors_display=work.contributors_display,
        stage=work.stage,
        url=work.url,
    )


def product_ref(work: WorkSnapshot, product: ProductSnapshot) -> ProductRef:
    return ProductRef(
        product_id=product.product_id,
        work_id=work.work_id,
        isbn13=product.isbn13,
        format=product.format,
        edition=product.edition,
        pub_date=product.pub_date,
        planned_pub_date=product.planned_pub_date,
        publishing_status=product.publishing_status,
    )


def work_observed(work: WorkSnapshot, stage: Stage, version: Version, tenant: TenantId) -> WorkObserved:
    """The full state of a work, as an event."""
    return WorkObserved(
        work=work_ref(work),
        version=version,
        stage_key=stage,
        people=tuple(_to_party(one, tenant) for one in work.people),
        products=tuple(product_ref(work, product) for product in work.products),
        components=tuple(ObservedComponent(component=name, state=state) for name, state in work.components.items()),
        texts=work.texts,
        cancelled=work.cancelled,
        embargo_until=work.embargo_until,
    )


def _to_party(one: Contributor, tenant: TenantId) -> PartyRef:
    return PartyRef(
        person_id=person_id_of_contact(tenant, one.contact_id),
        contact_id=one.contact_id,
        kind=one.kind,
        display_name=one.name,
        role=one.role,
    )
