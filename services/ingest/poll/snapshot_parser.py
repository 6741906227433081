"""Parses records of Consonance into snapshots. Pure.

A record with an id always gives a snapshot. A field that the tenant's Consonance does not offer is absent in it; a
field that cannot be read is absent as well, and reported, so that an outdated value does not stay in force.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from msgspec import ValidationError
from stdnum import isbn

from services.ingest.fields import (
    FieldReader,
    find_phone,
    has_bsuid_shape,
    objects_in,
    parse_country,
    parse_language,
    parse_person_name,
    parse_record_id,
    required_id,
    to_invalid_inputs,
)
from services.ingest.poll.snapshots import ContactSnapshot, Contributor, ProductSnapshot, WorkSnapshot
from services.ingest.poll.vocabulary import TenantVocabulary
from services.ingest.records import MAX_RECORD_BYTES, InvalidInput, to_parkable_json
from shared.clients.phone_numbers import is_landline
from shared.clients.working_calendar import find_zone
from shared.contracts.canonical import canonical_text
from shared.contracts.consonance import Component, ComponentCheck, ComponentState, MetadataField
from shared.contracts.errors import Malformed, Unavailable
from shared.contracts.ids import Bsuid, ContactId, Phone, ProductId, WorkId
from shared.contracts.values import JsonObject, Value, decode, describe_error, encode
from shared.contracts.vocabulary import Named, PartyKind

UNTITLED = "(untitled)"
_CANCELLED = "01"  # ONIX list 64
_TEXTS = {
    "shortDescription": MetadataField.SHORT_DESCRIPTION,
    "coverCopy": MetadataField.COVER_COPY,
    "secondaryCoverCopy": MetadataField.SECONDARY_COVER_COPY,
}
_RESOURCES = (Component.FRONT_COVER, Component.FULL_COVER, Component.INTERIOR_FILES, Component.EBOOK_FILE)


def parse_work(node: JsonObject, vocabulary: TenantVocabulary, reader: FieldReader | None = None) -> WorkSnapshot:
    """Raises Malformed for a work without an id."""
    reader = reader or FieldReader()
    work_id = WorkId(required_id(node, "work"))
    title, subtitle = reader.text(node, "title"), reader.text(node, "subtitle")
    credited = reader.text(node, "contributorPrettyList")
    products = tuple(_products(node, (title, subtitle), reader))
    texts = _texts(node, reader)
    checks = _checks(node, products, texts)
    return WorkSnapshot(
        work_id=work_id,
        title=title or UNTITLED,
        subtitle=subtitle,
        inhouse_ref=reader.text(node, "inHouseWorkReference"),
        imprint=_imprint(node, reader),
        contributors_display=credited if parse_person_name(credited) else None,
        url=reader.text(node, "publishersUrl"),
        stage=reader.text(node, "projectStage"),
        people=tuple(_people(node, vocabulary, reader)),
        products=products,
        texts=texts,
        components=_components(node, vocabulary, checks, reader),
        checks=checks,
        cancelled=bool(products) and all(product.publishing_status == _CANCELLED for product in products),
        embargo_until=reader.day(node, "embargoUntil"),
        unread=reader.digests(),
    )


def parse_contact(node: JsonObject, vocabulary: TenantVocabulary, reader: FieldReader | None = None) -> ContactSnapshot:
    """Raises Malformed for a contact without an id."""
    reader = reader or FieldReader()
    contact_id = ContactId(required_id(node, "contact"))
    tags = vocabulary.parse_tags(reader.texts(node, "contactTags"))
    contributions = reader.objects(node, "contributions")
    contributed = (vocabulary.contributor_role(_code(one.get("onixContributorRole"))) for one in contributions)
    country = _country(node, reader)
    return ContactSnapshot(
        contact_id=contact_id,
        kind=_kind(node),
        name=_name(node),
        country=country,
        language=_tag(tags.languages, parse_language, "language", reader),
        zone=_tag(tags.zones, find_zone, "zone", reader),
        roles=tuple(sorted({*tags.roles, *contributed})),
        phone=_phone(node, country, reader),
        bsuid=_bsuid(node),
        unread=reader.digests(),
    )


def _tag(written: Iterable[str], known: Callable[[str], str | None], what: str, reader: FieldReader) -> str | None:
    """The value of the first of these tags that is known."""
    found = [(tag, known(tag)) for tag in written]
    for tag, meaning in found:
        if meaning is None:
            reader.report("contactTags", f"{what}:{reader.quote(tag)} is no {_TAG_NOUNS[what]}", tag)
    return next((meaning for _, meaning in found if meaning is not None), None)


_TAG_NOUNS = {"language": "language", "zone": "time zone"}


def _people(node: JsonObject, vocabulary: TenantVocabulary, reader: FieldReader) -> Iterable[Contributor]:
    listed = reader.objects(node, "contributions")
    for one in sorted(listed, key=lambda contribution: _order(contribution.get("sequenceNumber"))):
        contributor = one.get("contributor")
        if contributor is None:
            continue
        contact = reader.id(contributor, f"contributions.{reader.name_of(one)}.contributor.id")
        if contact is not None:
            role = vocabulary.contributor_role(_code(one.get("onixContributorRole")))
            yield Contributor(
                contact_id=ContactId(contact), kind=_kind(contributor), name=_name(contributor), role=role
            )


def _products(
    node: JsonObject, inherited: tuple[str | None, str | None], reader: FieldReader
) -> Iterable[ProductSnapshot]:
    for position, product in enumerate(reader.objects(node, "products")):
        product_id = reader.id(product, f"products.{position}.id")
        if product_id is not None:
            yield _product(ProductId(product_id), product, inherited, reader.within(f"products.{product_id}"))


def _product(
    product_id: ProductId, node: JsonObject, inherited: tuple[str | None, str | None], reader: FieldReader
) -> ProductSnapshot:
    """``onixPublishingStatus.code`` has the code alone; the enum beside it begins with an underscore."""
    status = _code(node.get("onixPublishingStatus")) or reader.text(node, "onixPublishingStatusCode")
    edition = node.get("inHouseEdition")
    return ProductSnapshot(
        product_id=product_id,
        isbn13=_isbn(node, reader),
        format=_code(node.get("onix21ProductForm")),
        edition=reader.text(edition, "name") if isinstance(edition, dict) else None,
        title=_override(reader.text(node, "title"), inherited[0]),
        subtitle=_override(reader.text(node, "subtitle"), inherited[1]),
        pub_date=reader.day(node, "publicationDate"),
        planned_pub_date=reader.day(node, "plannedPublicationDate"),
        publishing_status=status.lstrip("_") if status else None,
    )


def _texts(node: JsonObject, reader: FieldReader) -> dict[MetadataField, str]:
    found = {field: _newest(reader.objects(node, alias)) for alias, field in _TEXTS.items() if alias in node}
    written = {field: reader.text(one, "externalText", at=field) for field, one in found.items() if one is not None}
    texts = {field: words for field, text in written.items() if (words := canonical_text(text))}
    membership = next(iter(reader.objects(node, "seriesMemberships")), None)
    if membership is not None:
        series = membership.get("series")
        name = reader.text(series, "name", at="seriesMemberships.series") if isinstance(series, dict) else None
        number = reader.text(membership, "partNumber", at="seriesMemberships")
        series_fields = {MetadataField.SERIES_NAME: name, MetadataField.SERIES_NUMBER: number}
        texts |= {field: value for field, value in series_fields.items() if value}
    return texts


def _components(
    node: JsonObject, vocabulary: TenantVocabulary, checks: tuple[ComponentCheck, ...], reader: FieldReader
) -> dict[Component, ComponentState]:
    """Only the components whose state this tenant's Consonance offers."""
    found: dict[Component, ComponentState] = {}
    resources = reader.objects(node, "supportingResources")
    if "supportingResources" in node:
        for component in _RESOURCES:
            newest = _newest([one for one in resources if one.get("variant") == component.value])
            found[component] = _approval(newest, "status", vocabulary, reader)
    if "coverCopy" in node:
        copy = _newest(objects_in(node["coverCopy"]))
        found[Component.JACKET_COPY] = _approval(copy, "approvalStatusName", vocabulary, reader)
    found[Component.METADATA] = _metadata(node, vocabulary, checks, reader)
    return found


def _approval(node: JsonObject | None, name: str, vocabulary: TenantVocabulary, reader: FieldReader) -> ComponentState:
    return ComponentState.MISSING if node is None else vocabulary.approval(reader.text(node, name))


def _metadata(
    node: JsonObject, vocabulary: TenantVocabulary, checks: tuple[ComponentCheck, ...], reader: FieldReader
) -> ComponentState:
    """The status that Consonance gives; without one, final when all checks pass."""
    if "metadataStatus" in node:
        return vocabulary.approval(reader.text(node, "metadataStatus"))
    return ComponentState.FINAL if all(check.ok for check in checks) else ComponentState.DRAFT


def _checks(
    node: JsonObject, products: tuple[ProductSnapshot, ...], texts: Mapping[MetadataField, str]
) -> tuple[ComponentCheck, ...]:
    """The checks for a bibliographic record that is complete enough to announce the work."""
    dated = any(product.pub_date for product in products)
    return (
        ComponentCheck(rule="has_title", ok=bool(node.get("title"))),
        ComponentCheck(rule="has_contributor", ok=bool(objects_in(node.get("contributions")))),
        ComponentCheck(rule="has_publication_date", ok=dated),
        ComponentCheck(rule="has_description", ok=MetadataField.SHORT_DESCRIPTION in texts),
    )


def _phone(node: JsonObject, country: str | None, reader: FieldReader) -> Phone | None:
    """The first number marked for WhatsApp, else the first mobile number, else the first that is no landline.

    A landline is taken where there is nothing else: some offices have WhatsApp on theirs.
    """
    found: list[tuple[str, Phone]] = []
    for position, phone in enumerate(reader.objects(node, "phones", limit=_MAX_PHONES)):
        written = reader.text(phone, "phoneNumber", at=f"phones.{position}")
        if has_bsuid_shape(written):
            continue
        number = find_phone(written, country) if written else None
        if number is not None:
            found.append((str(phone.get("phoneType") or "").casefold(), number))
        elif written and any(map(str.isalnum, written)) and written.casefold() not in _NO_PHONES:
            reader.report(f"phones.{position}.phoneNumber", "there is no usable number in it", written)
    return next((one[1] for prefers in _PHONE_PREFERENCES for one in found if prefers(*one)), None)


def _bsuid(node: JsonObject) -> Bsuid | None:
    """WhatsApp's own id for the person, where the publisher has written it into a phone field."""
    written = (str(phone.get("phoneNumber")) for phone in objects_in(node.get("phones")))
    return next((Bsuid(value) for value in written if has_bsuid_shape(value)), None)


_NO_PHONES = frozenset({"n/a", "na", "none", "unknown", "tbc", "tba", "tbd", "x", "no"})
_PHONE_PREFERENCES: tuple[Callable[[str, Phone], bool], ...] = (
    lambda kind, _: "whatsapp" in kind,
    lambda kind, number: ("mob" in kind or "cell" in kind) and not is_landline(number),
    lambda _, number: not is_landline(number),
    lambda *_: True,
)


def _country(node: JsonObject, reader: FieldReader) -> str | None:
    codes = [code for address in reader.objects(node, "addresses") if (code := _code(address.get("country")))]
    return next((found for code in codes if (found := _known_country(code, reader)) is not None), None)


def _known_country(code: str, reader: FieldReader) -> str | None:
    country = parse_country(code)
    if country is None:
        reader.report("addresses.country.code", f"{reader.quote(code)} is no country", code)
    return country


def _kind(node: JsonObject) -> PartyKind:
    return PartyKind.ORGANISATION if node.get("__typename") == "Organisation" else PartyKind.PERSON


def _name(node: JsonObject) -> str:
    names = map(parse_person_name, (node.get("personName"), node.get("organisationName"), node.get("name")))
    return next((name for name in names if name), f"contact {node.get('id')}")


def _isbn(node: JsonObject, reader: FieldReader) -> str | None:
    written = node["isbn"].get("isbn13") if isinstance(node.get("isbn"), dict) else node.get("isbn")
    if not isinstance(written, str) or not any(map(str.isdigit, written)):
        return None  # Consonance writes "No ISBN" where there is none
    if not isbn.is_valid(written):
        reader.report("isbn", "it is no ISBN", written)
        return None
    return str(isbn.to_isbn13(isbn.compact(written)))


def _override(own: str | None, inherited: str | None) -> str | None:
    return own if own != inherited else None


def _imprint(node: JsonObject, reader: FieldReader) -> Named | None:
    imprint = node.get("imprint")
    if not isinstance(imprint, dict) or imprint.get("id") is None:
        return None
    number = reader.id(imprint, "imprint.id")
    return None if number is None else Named(id=number, name=reader.text(imprint, "name", at="imprint"))


def _code(node: Any) -> str | None:
    """The code of an ONIXCode, without its underscore."""
    code = node.get("code") if isinstance(node, dict) else None
    return code.replace("\0", "").lstrip("_")[:_MAX_CODE_LENGTH] or None if isinstance(code, str) else None


_MAX_CODE_LENGTH = 60
_MAX_PHONES = 20  # finding a number in a text takes time


def _newest(listed: Iterable[JsonObject]) -> JsonObject | None:
    return max(listed, key=lambda node: _order(node.get("id")), default=None)


def _order(value: Any) -> int:
    """Sorts by number; values without a number come first."""
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value[:18].isdigit() and len(value) < 19 else 0


# ------------------------------------------------------------------ pages of records

_S = TypeVar("_S", bound=Value)

_MAX_REQUESTABLE_ID = 2**31 - 1
"""GraphQL's Int: a greater id cannot be asked for."""


@dataclass(frozen=True, slots=True)
class ParsedNode(Generic[_S]):
    """``node`` is the record that ``snapshot`` was read from; ``reader`` has its unreadable fields."""

    node: Any
    snapshot: _S
    reader: FieldReader

    def invalid_fields(self, record: str, reported: tuple[str, ...]) -> Iterator[InvalidInput]:
        """The unreadable fields that were not reported before."""
        return to_invalid_inputs(record, self.reader.unreadable, reported)

    def to_invalid_input(self, reason: str, sentence: str) -> InvalidInput:
        """The whole record, for one that the database refuses."""
        return InvalidInput(to_parkable_json(self.node), reason, sentence)


def parse_page(
    model: type[_S], nodes: Iterable[Any], parse: Callable[[JsonObject, FieldReader], _S]
) -> tuple[list[ParsedNode[_S]], list[InvalidInput]]:
    """The records that can be parsed, and the others. An event with a snapshot has to fit into its topic."""
    parsed: list[ParsedNode[_S]] = []
    invalid: list[InvalidInput] = []
    for node in nodes:
        reader = FieldReader()
        try:
            raw = encode(_parse_node(node, reader, parse))
            snapshot = decode(model, raw)
        except Exception as fault:  # noqa: BLE001 -- a tenant's schema may be of any shape: it is that record's fault
            invalid.append(InvalidInput(to_parkable_json(node), "malformed", _sentence(fault, model)))
            continue
        if len(raw) > MAX_RECORD_BYTES // 2:
            sentence = f"it is larger than {MAX_RECORD_BYTES // 2} bytes"
            invalid.append(InvalidInput(to_parkable_json(node), "too_large", sentence))
        else:
            parsed.append(ParsedNode(node, snapshot, reader))
    return parsed, invalid


def requestable_ids(page: Iterable[Any]) -> list[int]:
    """The ids of a page that can be asked for."""
    return [number for node in page if (number := _requestable_id(node)) is not None]


def last_id(page: Sequence[Any], after: int) -> int:
    """The id after which the next page begins. Raises Unavailable for a page that would be asked for again."""
    last = max(requestable_ids(page), default=after)
    if last <= after:
        raise Unavailable(f"Consonance's page after {after} has no record with a greater id")
    return last


def _parse_node(node: Any, reader: FieldReader, parse: Callable[[JsonObject, FieldReader], _S]) -> _S:
    if not isinstance(node, dict):
        raise Malformed("a record of the list is no object")
    return parse(node, reader)


def _requestable_id(node: Any) -> int | None:
    try:
        number = parse_record_id(node.get("id") if isinstance(node, dict) else None)
    except ValueError:
        return None
    return number if number <= _MAX_REQUESTABLE_ID else None


def _sentence(fault: Exception, model: type[Value]) -> str:
    """Names the field at fault, never its value."""
    if isinstance(fault, ValidationError):
        return describe_error(fault, model)
    return str(fault) if isinstance(fault, Malformed) else f"it has not the shape of its type ({type(fault).__name__})"
