"""What Consonance answers, read into views; pure. A field the tenant's Consonance does not offer is not there.

A record that says whose it is always gives a view: a field that cannot be read is absent in it, and noted, so that what
was true before does not go on as if nothing had changed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stdnum import isbn

from services.ingest.addresses import phone_of_contact
from services.ingest.house_words import Words
from services.ingest.notes import Node, Notes, id_of, nodes
from services.ingest.values import country_of, language_of, person_name
from services.ingest.views import ContactView, Contributor, ProductView, WorkView
from shared.clients.working_calendar import find_zone
from shared.contracts.canonical import canonical_text
from shared.contracts.consonance import Check, Component, ComponentState, MetadataField
from shared.contracts.ids import ContactId, Phone, ProductId, WorkId
from shared.contracts.vocabulary import Named, PartyKind

UNTITLED = "(untitled)"
_CANCELLED = "01"  # ONIX list 64
_TEXTS = {
    "shortDescription": MetadataField.SHORT_DESCRIPTION,
    "coverCopy": MetadataField.COVER_COPY,
    "secondaryCoverCopy": MetadataField.SECONDARY_COVER_COPY,
}
_RESOURCES = (Component.FRONT_COVER, Component.FULL_COVER, Component.INTERIOR_FILES, Component.EBOOK_FILE)


def work_view(node: Node, words: Words, notes: Notes | None = None) -> WorkView:
    """Raises Malformed where a work has no id."""
    notes = notes or Notes()
    work_id = WorkId(id_of(node, "work"))
    title, subtitle = notes.text(node, "title"), notes.text(node, "subtitle")
    credited = notes.text(node, "contributorPrettyList")
    products = tuple(_products(node, (title, subtitle), notes))
    texts = _texts(node, notes)
    checks = _checks(node, products, texts)
    return WorkView(
        work_id=work_id,
        title=title or UNTITLED,
        subtitle=subtitle,
        inhouse_ref=notes.text(node, "inHouseWorkReference"),
        imprint=_imprint(node, notes),
        contributors_display=credited if person_name(credited) else None,
        url=notes.text(node, "publishersUrl"),
        stage=notes.text(node, "projectStage"),
        people=tuple(_people(node, words, notes)),
        products=products,
        texts=texts,
        components=_components(node, words, checks, notes),
        checks=checks,
        cancelled=bool(products) and all(product.publishing_status == _CANCELLED for product in products),
        embargo_until=notes.day(node, "embargoUntil"),
        unread=notes.digests(),
    )


def contact_view(node: Node, words: Words, notes: Notes | None = None) -> ContactView:
    """Raises Malformed where a contact has no id."""
    notes = notes or Notes()
    contact_id = ContactId(id_of(node, "contact"))
    tagged = words.meaning(notes.texts(node, "contactTags"))
    contributions = notes.nodes(node, "contributions")
    contributed = (words.contributor(_code(one.get("onixContributorRole"))) for one in contributions)
    country = _country(node, notes)
    return ContactView(
        contact_id=contact_id,
        kind=_kind(node),
        name=_name(node),
        country=country,
        language=_tag(tagged.languages, language_of, "language", notes),
        zone=_tag(tagged.zones, find_zone, "zone", notes),
        roles=tuple(sorted({*tagged.roles, *contributed})),
        phone=_phone(node, country, notes),
        unread=notes.digests(),
    )


def _tag(written: Iterable[str], known: Callable[[str], str | None], what: str, notes: Notes) -> str | None:
    """What the first of these tags that means anything does."""
    found = [(tag, known(tag)) for tag in written]
    for tag, meaning in found:
        if meaning is None:
            notes.add("contactTags", f"{what}:{notes.quoted(tag)} is no {_WORDS[what]}", tag)
    return next((meaning for _, meaning in found if meaning is not None), None)


_WORDS = {"language": "language", "zone": "time zone"}


def _people(node: Node, words: Words, notes: Notes) -> Iterable[Contributor]:
    listed = notes.nodes(node, "contributions")
    for one in sorted(listed, key=lambda contribution: _order(contribution.get("sequenceNumber"))):
        contributor = one.get("contributor")
        if contributor is None:
            continue
        contact = notes.id(contributor, f"contributions.{notes.name(one)}.contributor.id")
        if contact is not None:
            role = words.contributor(_code(one.get("onixContributorRole")))
            yield Contributor(
                contact_id=ContactId(contact), kind=_kind(contributor), name=_name(contributor), role=role
            )


def _products(node: Node, inherited: tuple[str | None, str | None], notes: Notes) -> Iterable[ProductView]:
    for place, product in enumerate(notes.nodes(node, "products")):
        product_id = notes.id(product, f"products.{place}.id")
        if product_id is not None:
            yield _product(ProductId(product_id), product, inherited, notes.within(f"products.{product_id}"))


def _product(product_id: ProductId, node: Node, inherited: tuple[str | None, str | None], notes: Notes) -> ProductView:
    """``onixPublishingStatus.code`` is bare; the enum beside it has an underscore."""
    status = _code(node.get("onixPublishingStatus")) or notes.text(node, "onixPublishingStatusCode")
    edition = node.get("inHouseEdition")
    return ProductView(
        product_id=product_id,
        isbn13=_isbn(node, notes),
        format=_code(node.get("onix21ProductForm")),
        edition=notes.text(edition, "name") if isinstance(edition, dict) else None,
        title=_override(notes.text(node, "title"), inherited[0]),
        subtitle=_override(notes.text(node, "subtitle"), inherited[1]),
        pub_date=notes.day(node, "publicationDate"),
        planned_pub_date=notes.day(node, "plannedPublicationDate"),
        publishing_status=status.lstrip("_") if status else None,
    )


def _texts(node: Node, notes: Notes) -> dict[MetadataField, str]:
    found = {field: _newest(notes.nodes(node, alias)) for alias, field in _TEXTS.items() if alias in node}
    written = {field: notes.text(one, "externalText", at=field) for field, one in found.items() if one is not None}
    texts = {field: canonical_text(text) for field, text in written.items()}
    membership = next(iter(notes.nodes(node, "seriesMemberships")), None)
    if membership is not None:
        series = membership.get("series")
        name = notes.text(series, "name", at="seriesMemberships.series") if isinstance(series, dict) else None
        number = notes.text(membership, "partNumber", at="seriesMemberships")
        said = {MetadataField.SERIES_NAME: name, MetadataField.SERIES_NUMBER: number}
        texts |= {field: value for field, value in said.items() if value}
    return texts


def _components(
    node: Node, words: Words, checks: tuple[Check, ...], notes: Notes
) -> dict[Component, ComponentState]:  # fmt: skip
    """A component is told only where Consonance offers what tells its state."""
    found: dict[Component, ComponentState] = {}
    resources = notes.nodes(node, "supportingResources")
    if "supportingResources" in node:
        for component in _RESOURCES:
            newest = _newest([one for one in resources if one.get("variant") == component.value])
            found[component] = _approval(newest, "status", words, notes)
    if "coverCopy" in node:
        copy = _newest(nodes(node["coverCopy"]))
        found[Component.JACKET_COPY] = _approval(copy, "approvalStatusName", words, notes)
    found[Component.METADATA] = _metadata(node, words, checks, notes)
    return found


def _approval(node: Node | None, name: str, words: Words, notes: Notes) -> ComponentState:
    return ComponentState.MISSING if node is None else words.approval(notes.text(node, name))


def _metadata(node: Node, words: Words, checks: tuple[Check, ...], notes: Notes) -> ComponentState:
    """As Consonance says where it says; else final when every check holds."""
    if "metadataStatus" in node:
        return words.approval(notes.text(node, "metadataStatus"))
    return ComponentState.FINAL if all(check.ok for check in checks) else ComponentState.DRAFT


def _checks(node: Node, products: tuple[ProductView, ...], texts: Mapping[MetadataField, str]) -> tuple[Check, ...]:
    """When the bibliographic record of a work is complete enough to announce it."""
    dated = any(product.pub_date for product in products)
    return (
        Check(rule="has_title", ok=bool(node.get("title"))),
        Check(rule="has_contributor", ok=bool(nodes(node.get("contributions")))),
        Check(rule="has_publication_date", ok=dated),
        Check(rule="has_description", ok=MetadataField.SHORT_DESCRIPTION in texts),
    )


def _phone(node: Node, country: str | None, notes: Notes) -> Phone | None:
    """The first number that says it is for WhatsApp, else the first mobile one, else the first that is a number."""
    found: list[tuple[str, Phone]] = []
    for place, phone in enumerate(notes.nodes(node, "phones", most=_MOST_PHONES)):
        written = notes.text(phone, "phoneNumber", at=f"phones.{place}")
        number = phone_of_contact(written, country) if written else None
        if number is not None:
            found.append((str(phone.get("phoneType") or "").casefold(), number))
        elif written and any(map(str.isalnum, written)) and written.casefold() not in _NO_NUMBERS:
            notes.add(f"phones.{place}.phoneNumber", "there is no usable number in it", written)
    return next((number for wanted in _PREFERRED for kind, number in found if wanted(kind)), None)


_NO_NUMBERS = frozenset({"n/a", "na", "none", "unknown", "tbc", "tba", "tbd", "x", "no"})
_PREFERRED: tuple[Callable[[str], bool], ...] = (
    lambda kind: "whatsapp" in kind,
    lambda kind: "mob" in kind or "cell" in kind,
    lambda _: True,
)


def _country(node: Node, notes: Notes) -> str | None:
    codes = [code for address in notes.nodes(node, "addresses") if (code := _code(address.get("country")))]
    return next((found for code in codes if (found := _known_country(code, notes)) is not None), None)


def _known_country(code: str, notes: Notes) -> str | None:
    country = country_of(code)
    if country is None:
        notes.add("addresses.country.code", f"{notes.quoted(code)} is no country", code)
    return country


def _kind(node: Node) -> PartyKind:
    return PartyKind.ORGANISATION if node.get("__typename") == "Organisation" else PartyKind.PERSON


def _name(node: Node) -> str:
    names = map(person_name, (node.get("personName"), node.get("organisationName"), node.get("name")))
    return next((name for name in names if name), f"contact {node.get('id')}")


def _isbn(node: Node, notes: Notes) -> str | None:
    written = node["isbn"].get("isbn13") if isinstance(node.get("isbn"), dict) else node.get("isbn")
    if not isinstance(written, str) or not any(map(str.isdigit, written)):
        return None  # "No ISBN" is what Consonance writes where there is none
    if not isbn.is_valid(written):
        notes.add("isbn", "it is no ISBN", written)
        return None
    return str(isbn.to_isbn13(isbn.compact(written)))


def _override(own: str | None, inherited: str | None) -> str | None:
    return own if own != inherited else None


def _imprint(node: Node, notes: Notes) -> Named | None:
    imprint = node.get("imprint")
    if not isinstance(imprint, dict) or imprint.get("id") is None:
        return None
    number = notes.id(imprint, "imprint.id")
    return None if number is None else Named(id=number, name=notes.text(imprint, "name", at="imprint"))


def _code(node: Any) -> str | None:
    """An ONIXCode's bare code."""
    code = node.get("code") if isinstance(node, dict) else None
    return code.replace("\0", "").lstrip("_")[:_LONGEST_CODE] or None if isinstance(code, str) else None


_LONGEST_CODE = 60
_MOST_PHONES = 20  # finding a number in a text takes time


def _newest(listed: Iterable[Node]) -> Node | None:
    return max(listed, key=lambda node: _order(node.get("id")), default=None)


def _order(value: Any) -> int:
    """By number; what has none comes first."""
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value[:18].isdigit() and len(value) < 19 else 0
