"""Changes to works, products and contacts, by a mutation or the control API: checked, normalised, dated."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, TypeVar

from dev.consonance import trade
from dev.consonance.mutation_results import FieldRefused, RecordMissing
from dev.consonance.publisher import PublisherRecords, line, prose, split_title
from dev.consonance.records import Contact, MarketingText, Product, WorkRecord

_TITLE_LENGTH = 255
Fields = Mapping[str, Any]
_T = TypeVar("_T")


def work_of(publisher: PublisherRecords, work_id: int) -> WorkRecord:
    return _found(publisher.works, work_id, "Work")


def product_of(publisher: PublisherRecords, product_id: int) -> Product:
    return _found(publisher.products, product_id, "Product")


def contact_of(publisher: PublisherRecords, contact_id: int) -> Contact:
    return _found(publisher.contacts, contact_id, "Contact")


def _found(records: Mapping[int, _T], id_: int, kind: str) -> _T:
    try:
        return records[id_]
    except KeyError:
        raise RecordMissing(f"Couldn't find {kind} with 'id'={id_}") from None


def edit_work(publisher: PublisherRecords, work_id: int, fields: Fields, today: date) -> WorkRecord:
    """All of ``fields`` or, when one is refused, none."""
    work = work_of(publisher, work_id)
    _apply(
        work, {_WORK_NAMES.get(name, name): _checked(_WORK, name, value, publisher) for name, value in fields.items()}
    )
    work.changed_on = today
    return work


def edit_product(publisher: PublisherRecords, product_id: int, fields: Fields, today: date) -> Product:
    """A title of its own that comes without a prefix is split: ``The Salt Road`` reads back in two parts."""
    product = product_of(publisher, product_id)
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        kept[_PRODUCT_NAMES.get(name, name)] = _checked(_PRODUCT, name, value, publisher)
    if "own_title" in kept and "title_prefix" not in kept:
        kept["title_prefix"], rest = split_title(kept["own_title"] or "")
        kept["own_title"] = rest or None
    _apply(product, kept)
    product.changed_on = today
    return product


def edit_contact(publisher: PublisherRecords, contact_id: int, fields: Fields, today: date) -> Contact:
    contact = contact_of(publisher, contact_id)
    _apply(contact, {name: _checked(_CONTACT, name, value, publisher) for name, value in fields.items()})
    contact.changed_on = today
    return contact


def add_text(publisher: PublisherRecords, work_id: int, variant: str, fields: Fields, today: date) -> MarketingText:
    work = work_of(publisher, work_id)
    given: dict[str, Any] = {name: prose(value) if isinstance(value, str) else value for name, value in fields.items()}
    if not given.get("external_text_markdown"):
        raise FieldRefused("externalTextMarkdown", "can't be blank")
    text = MarketingText(publisher.new_id(), work_id, variant, **given)
    publisher.marketing_texts[text.id] = text
    work.changed_on = today
    return text


def _checked(
    tests: Mapping[str, Callable[[Any, PublisherRecords], Any]], name: str, value: Any, publisher: PublisherRecords
) -> Any:
    if name not in tests:
        raise FieldRefused(name, "is not a field that can be changed")
    try:
        return tests[name](value, publisher)
    except ValueError as error:
        raise FieldRefused(name, str(error)) from None


def _apply(record: object, kept: Fields) -> None:
    for name, value in kept.items():
        setattr(record, name, value)


def _title(value: str | None, _: PublisherRecords) -> str:
    title = line(value or "")
    if not title:
        raise ValueError("can't be blank")
    if len(title) > _TITLE_LENGTH:
        raise ValueError(f"is too long (maximum is {_TITLE_LENGTH} characters)")
    return title


def _text(value: str | None, _: PublisherRecords) -> str | None:
    return line(value or "") or None


def _as_is(value: Any, _: PublisherRecords) -> Any:
    return value


def _stage(value: int | str, publisher: PublisherRecords) -> int:
    """A number from a mutation; from the keyboard its name will do."""
    ids = {name: id_ for id_, name in publisher.stages.items()} | {id_: id_ for id_ in publisher.stages}
    if value not in ids:
        raise ValueError("must exist")
    return ids[value]


def _status(value: str, _: PublisherRecords) -> str:
    code = value.removeprefix("_")
    if code not in trade.STATUS_CODES:
        raise ValueError("is not included in the list")
    return code


def _isbn(value: str | None, _: PublisherRecords) -> str | None:
    if value and not trade.is_isbn(value):
        raise ValueError("is not a valid ISBN")
    return trade.plain_isbn(value) if value else None


_WORK_NAMES = {"stage": "project_stage_id", "alternative_titles": "titles_elsewhere"}
_WORK: Mapping[str, Callable[[Any, PublisherRecords], Any]] = {
    "title": _title,
    "subtitle": _text,
    "acronym": _text,
    "alternative_titles": _as_is,
    "project_stage_id": _stage,
    "stage": _stage,
    "season": _text,
    "marketing_tier": _text,
    "subjects": _as_is,
    "embargo_until": _as_is,
}
_PRODUCT_NAMES = {
    "title": "own_title",
    "subtitle": "own_subtitle",
    "prefix": "title_prefix",
    "isbn": "isbn_13",
    "onix_publishing_status_code": "status_code",
    "status": "status_code",
    "price": "amount",
}
_PRODUCT: Mapping[str, Callable[[Any, PublisherRecords], Any]] = {
    "title": _text,
    "subtitle": _text,
    "prefix": _text,
    "isbn": _isbn,
    "onix_publishing_status_code": _status,
    "status": _status,
    "price": _as_is,
    "publication_date": _as_is,
    "planned_publication_date": _as_is,
}
_CONTACT: Mapping[str, Callable[[Any, PublisherRecords], Any]] = {
    "given_name": _title,
    "key_names": _text,
    "country": _as_is,
    "town": _text,
    "phones": _as_is,
    "contact_tags": _as_is,
    "biographical_note": _text,
}
