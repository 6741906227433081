"""What Consonance answers, read into views; pure. A field the tenant's Consonance does not offer is not there."""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from stdnum import isbn

from services.ingest.addresses import phone_of_contact
from services.ingest.house_words import Words
from services.ingest.updates import without_nul
from services.ingest.views import ContactView, Contributor, ProductView, WorkView
from shared.canonical import canonical_text
from shared.errors import Malformed
from shared.events.consonance import Check, Component, ComponentState, MetadataField
from shared.events.vocabulary import Named, PartyKind
from shared.ids import ContactId, Phone, ProductId, WorkId

UNTITLED = "(untitled)"
_CANCELLED = "01"  # ONIX list 64
_TEXTS = {
    "shortDescription": MetadataField.SHORT_DESCRIPTION,
    "coverCopy": MetadataField.COVER_COPY,
    "secondaryCoverCopy": MetadataField.SECONDARY_COVER_COPY,
}
_RESOURCES = (Component.FRONT_COVER, Component.FULL_COVER, Component.INTERIOR_FILES, Component.EBOOK_FILE)

Node = dict[str, Any]


def work_view(node: Node, words: Words) -> WorkView:
    """Raises Malformed where a work has no id."""
    node = without_nul(node)
    products = tuple(_product(product, node) for product in _nodes(node.get("products")))
    texts = _texts(node)
    checks = _checks(node, products, texts)
    return WorkView(
        work_id=WorkId(_id(node, "work")),
        title=node.get("title") or UNTITLED,
        subtitle=node.get("subtitle") or None,
        inhouse_ref=node.get("inHouseWorkReference") or None,
        imprint=_imprint(node.get("imprint")),
        contributors_display=node.get("contributorPrettyList") or None,
        url=node.get("publishersUrl") or None,
        stage=node.get("projectStage") or None,
        people=tuple(_people(node, words)),
        products=products,
        texts=texts,
        components=_components(node, words, checks),
        checks=checks,
        cancelled=bool(products) and all(product.publishing_status == _CANCELLED for product in products),
        embargo_until=_date(node.get("embargoUntil")),
    )


def contact_view(node: Node, words: Words) -> ContactView:
    """Raises Malformed where a contact has no id."""
    node = without_nul(node)
    tagged = words.meaning(tag for tag in node.get("contactTags") or () if isinstance(tag, str))
    contributed = (
        words.contributor(_code(one.get("onixContributorRole"))) for one in _nodes(node.get("contributions"))
    )
    country = _country(node)
    return ContactView(
        contact_id=ContactId(_id(node, "contact")),
        kind=_kind(node),
        name=_name(node),
        country=country,
        language=tagged.language,
        zone=tagged.zone,
        roles=tuple(sorted({*tagged.roles, *contributed})),
        phone=_phone(node, country),
    )


def _people(node: Node, words: Words) -> Iterable[Contributor]:
    listed = _nodes(node.get("contributions"))
    for one in sorted(listed, key=lambda contribution: contribution.get("sequenceNumber") or 0):
        contributor = one.get("contributor")
        if isinstance(contributor, dict) and contributor.get("id") is not None:
            role = words.contributor(_code(one.get("onixContributorRole")))
            contact = ContactId(_id(contributor, "contributor"))
            yield Contributor(contact_id=contact, kind=_kind(contributor), name=_name(contributor), role=role)


def _product(node: Node, work: Node) -> ProductView:
    """``onixPublishingStatus.code`` is bare; the enum beside it has an underscore."""
    status = _code(node.get("onixPublishingStatus")) or node.get("onixPublishingStatusCode")
    edition = node.get("inHouseEdition")
    return ProductView(
        product_id=ProductId(_id(node, "product")),
        isbn13=_isbn(node.get("isbn")),
        format=_code(node.get("onix21ProductForm")),
        edition=edition.get("name") if isinstance(edition, dict) else None,
        title=_override(node.get("title"), work.get("title")),
        subtitle=_override(node.get("subtitle"), work.get("subtitle")),
        pub_date=_date(node.get("publicationDate")),
        planned_pub_date=_date(node.get("plannedPublicationDate")),
        publishing_status=str(status).lstrip("_") if status else None,
    )


def _texts(node: Node) -> dict[MetadataField, str]:
    found = {field: _newest(node[alias]) for alias, field in _TEXTS.items() if alias in node}
    texts = {field: canonical_text(one.get("externalText")) for field, one in found.items() if one is not None}
    membership = next(iter(_nodes(node.get("seriesMemberships"))), None)
    if membership is not None:
        series = membership.get("series")
        named = {MetadataField.SERIES_NAME: series.get("name") if isinstance(series, dict) else None}
        numbered = {MetadataField.SERIES_NUMBER: membership.get("partNumber")}
        texts |= {field: str(value) for field, value in (named | numbered).items() if value}
    return texts


def _components(node: Node, words: Words, checks: tuple[Check, ...]) -> dict[Component, ComponentState]:
    """A component is told only where Consonance offers what tells its state."""
    found: dict[Component, ComponentState] = {}
    resources = _nodes(node.get("supportingResources"))
    if "supportingResources" in node:
        for component in _RESOURCES:
            newest = _newest([one for one in resources if one.get("variant") == component.value])
            found[component] = words.approval(newest.get("status")) if newest else ComponentState.MISSING
    if "coverCopy" in node:
        copy = _newest(node["coverCopy"])
        found[Component.JACKET_COPY] = (
            words.approval(copy.get("approvalStatusName")) if copy else ComponentState.MISSING
        )
    found[Component.METADATA] = _metadata(node, words, checks)
    return found


def _metadata(node: Node, words: Words, checks: tuple[Check, ...]) -> ComponentState:
    """As Consonance says where it says; else final when every check holds."""
    if "metadataStatus" in node:
        return words.approval(node["metadataStatus"])
    return ComponentState.FINAL if all(check.ok for check in checks) else ComponentState.DRAFT


def _checks(node: Node, products: tuple[ProductView, ...], texts: dict[MetadataField, str]) -> tuple[Check, ...]:
    """When the bibliographic record of a work is complete enough to announce it."""
    dated = any(product.pub_date for product in products)
    return (
        Check(rule="has_title", ok=bool(node.get("title"))),
        Check(rule="has_contributor", ok=bool(_nodes(node.get("contributions")))),
        Check(rule="has_publication_date", ok=dated),
        Check(rule="has_description", ok=MetadataField.SHORT_DESCRIPTION in texts),
    )


def _phone(node: Node, country: str | None) -> Phone | None:
    """The first number that says it is for WhatsApp, else the first mobile one, else the first that is a number."""
    phones = _nodes(node.get("phones"))
    for wanted in _PREFERRED:
        for phone in phones:
            if wanted(str(phone.get("phoneType") or "").casefold()):
                number = phone_of_contact(str(phone.get("phoneNumber") or ""), country)
                if number is not None:
                    return number
    return None


_PREFERRED: tuple[Callable[[str], bool], ...] = (
    lambda kind: "whatsapp" in kind,
    lambda kind: "mob" in kind or "cell" in kind,
    lambda _: True,
)


def _country(node: Node) -> str | None:
    codes = (_code(address.get("country")) for address in _nodes(node.get("addresses")))
    return next((code for code in codes if code), None)


def _kind(node: Node) -> PartyKind:
    return PartyKind.ORGANISATION if node.get("__typename") == "Organisation" else PartyKind.PERSON


def _name(node: Node) -> str:
    names = (node.get("personName"), node.get("organisationName"), node.get("name"))
    return next((name for name in names if isinstance(name, str) and name.strip()), f"contact {node.get('id')}")


def _isbn(node: Any) -> str | None:
    written = node.get("isbn13") if isinstance(node, dict) else node
    if not isinstance(written, str) or not isbn.is_valid(written):
        return None
    return str(isbn.to_isbn13(isbn.compact(written)))


def _override(own: Any, inherited: Any) -> str | None:
    return own if isinstance(own, str) and own and own != inherited else None


def _imprint(node: Any) -> Named | None:
    return Named(id=_id(node, "imprint"), name=node.get("name")) if isinstance(node, dict) and node.get("id") else None


def _code(node: Any) -> str | None:
    """An ONIXCode's bare code."""
    code = node.get("code") if isinstance(node, dict) else None
    return code.lstrip("_") if isinstance(code, str) and code else None


def _newest(nodes: Any) -> Node | None:
    return max(_nodes(nodes), key=lambda node: node.get("id") or 0, default=None)


def _nodes(value: Any) -> list[Node]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _date(value: Any) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _id(node: Node, what: str) -> int:
    try:
        return int(node["id"])
    except (KeyError, TypeError, ValueError):
        raise Malformed(f"{what}.id: it is missing") from None
