"""What Consonance last said of a work or a contact, in our words: the snapshots that are kept and compared."""

from datetime import date

from msgspec import field

from shared.contracts.consonance import Check, Component, ComponentState, MetadataField, ObservedComponent, WorkObserved
from shared.contracts.ids import ContactId, Phone, ProductId, TenantId, WorkId, person_id_of_contact
from shared.contracts.values import Value
from shared.contracts.vocabulary import Named, PartyKind, PartyRef, ProductRef, Role, Stage, Version, WorkRef


class Contributor(Value):
    contact_id: ContactId
    kind: PartyKind
    name: str
    role: Role


class ProductView(Value):
    """``title`` and ``subtitle`` only where they override the work's."""

    product_id: ProductId
    isbn13: str | None = None
    format: str | None = None
    edition: str | None = None
    title: str | None = None
    subtitle: str | None = None
    pub_date: date | None = None
    planned_pub_date: date | None = None
    publishing_status: str | None = None


class WorkView(Value):
    """``components`` holds only what this tenant's Consonance can tell; the missing among them are there as missing.

    ``unread``: digests of what could not be read (``notes``), so that it is told once.
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
    products: tuple[ProductView, ...] = ()
    texts: dict[MetadataField, str] = field(default_factory=dict)
    components: dict[Component, ComponentState] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    cancelled: bool = False
    embargo_until: date | None = None
    unread: tuple[str, ...] = ()


class ContactView(Value):
    """``unread`` as in a work's."""

    contact_id: ContactId
    kind: PartyKind
    name: str
    country: str | None = None
    language: str | None = None
    zone: str | None = None
    roles: tuple[Role, ...] = ()
    phone: Phone | None = None
    unread: tuple[str, ...] = ()


def work_ref(view: WorkView) -> WorkRef:
    return WorkRef(
        work_id=view.work_id,
        title=view.title,
        subtitle=view.subtitle,
        inhouse_ref=view.inhouse_ref,
        imprint=view.imprint,
        contributors_display=view.contributors_display,
        stage=view.stage,
        url=view.url,
    )


def product_ref(view: WorkView, product: ProductView) -> ProductRef:
    return ProductRef(
        product_id=product.product_id,
        work_id=view.work_id,
        isbn13=product.isbn13,
        format=product.format,
        edition=product.edition,
        pub_date=product.pub_date,
        planned_pub_date=product.planned_pub_date,
        publishing_status=product.publishing_status,
    )


def observed(view: WorkView, stage: Stage, version: Version, tenant: TenantId) -> WorkObserved:
    """The whole work as an event."""
    return WorkObserved(
        work=work_ref(view),
        version=version,
        stage_key=stage,
        people=tuple(_party(one, tenant) for one in view.people),
        products=tuple(product_ref(view, product) for product in view.products),
        components=tuple(ObservedComponent(component=name, state=state) for name, state in view.components.items()),
        texts=view.texts,
        cancelled=view.cancelled,
        embargo_until=view.embargo_until,
    )


def _party(one: Contributor, tenant: TenantId) -> PartyRef:
    return PartyRef(
        person_id=person_id_of_contact(tenant, one.contact_id),
        contact_id=one.contact_id,
        kind=one.kind,
        display_name=one.name,
        role=one.role,
    )
