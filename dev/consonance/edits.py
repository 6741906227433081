"""Changes to works, products and contacts, by a mutation or by somebody at a keyboard: checked, tidied, dated."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, TypeVar

from dev.consonance import trade
from dev.consonance.complaints import Complaint, Missing
from dev.consonance.house import House
from dev.consonance.normalise import line, prose, split_title
from dev.consonance.records import Contact, MarketingText, Product, Work

_TITLE_LENGTH = 255
Fields = Mapping[str, Any]
_T = TypeVar("_T")


def work_of(house: House, work_id: int) -> Work:
    return _found(house.works, work_id, "Work")


def product_of(house: House, product_id: int) -> Product:
    return _found(house.products, product_id, "Product")


def contact_of(house: House, contact_id: int) -> Contact:
    return _found(house.contacts, contact_id, "Contact")


def _found(records: Mapping[int, _T], id_: int, kind: str) -> _T:
    try:
        return records[id_]
    except KeyError:
        raise Missing(f"Couldn't find {kind} with 'id'={id_}") from None


def edit_work(house: House, work_id: int, fields: Fields, today: date) -> Work:
    """All of ``fields`` or, when one is refused, none."""
    work = work_of(house, work_id)
    _apply(work, {_WORK_NAMES.get(name, name): _checked(_WORK, name, value, house) for name, value in fields.items()})
    work.changed_on = today
    return work


def edit_product(house: House, product_id: int, fields: Fields, today: date) -> Product:
    """A title of its own that comes without a prefix is split: ``The Salt Road`` reads back in two parts."""
    product = product_of(house, product_id)
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        kept[_PRODUCT_NAMES.get(name, name)] = _checked(_PRODUCT, name, value, house)
    if "own_title" in kept and "title_prefix" not in kept:
        kept["title_prefix"], rest = split_title(kept["own_title"] or "")
        kept["own_title"] = rest or None
    _apply(product, kept)
    product.changed_on = today
    return product


def edit_contact(house: House, contact_id: int, fields: Fields, today: date) -> Contact:
    contact = contact_of(house, contact_id)
    _apply(contact, {name: _checked(_CONTACT, name, value, house) for name, value in fields.items()})
    contact.changed_on = today
    return contact


def add_text(house: House, work_id: int, variant: str, fields: Fields, today: date) -> MarketingText:
    work = work_of(house, work_id)
    given: dict[str, Any] = {name: prose(value) if isinstance(value, str) else value for name, value in fields.items()}
    if not given.get("external_text_markdown"):
        raise Complaint("externalTextMarkdown", "can't be blank")
    text = MarketingText(house.new_id(), work_id, variant, **given)
    house.marketing_texts[text.id] = text
    work.changed_on = today
    return text


def _checked(tests: Mapping[str, Callable[[Any, House], Any]], name: str, value: Any, house: House) -> Any:
    if name not in tests:
        raise Complaint(name, "is not a field that can be changed")
    try:
        return tests[name](value, house)
    except ValueError as error:
        raise Complaint(name, str(error)) from None


def _apply(record: object, kept: Fields) -> None:
    for name, value in kept.items():
        setattr(record, name, value)


def _title(value: str | None, _: House) -> str:
    title = line(value or "")
    if not title:
        raise ValueError("can't be blank")
    if len(title) > _TITLE_LENGTH:
        raise ValueError(f"is too long (maximum is {_TITLE_LENGTH} characters)")
    return title


def _text(value: str | None, _: House) -> str | None:
    return line(value or "") or None


def _as_is(value: Any, _: House) -> Any:
    return value


def _stage(value: int | str, house: House) -> int:
    """A number from a mutation; from the keyboard its name will do."""
    ids = {name: id_ for id_, name in house.stages.items()} | {id_: id_ for id_ in house.stages}
    if value not in ids:
        raise ValueError("must exist")
    return ids[value]


def _status(value: str, _: House) -> str:
    code = value.removeprefix("_")
    if code not in trade.STATUS_CODES:
        raise ValueError("is not included in the list")
    return code


def _isbn(value: str | None, _: House) -> str | None:
    if value and not trade.is_isbn(value):
        raise ValueError("is not a valid ISBN")
    return trade.plain_isbn(value) if value else None


_WORK_NAMES = {"stage": "project_stage_id", "alternative_titles": "titles_elsewhere"}
_WORK: Mapping[str, Callable[[Any, House], Any]] = {
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
_PRODUCT: Mapping[str, Callable[[Any, House], Any]] = {
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
_CONTACT: Mapping[str, Callable[[Any, House], Any]] = {
    "given_name": _title,
    "key_names": _text,
    "country": _as_is,
    "town": _text,
    "phones": _as_is,
    "contact_tags": _as_is,
    "biographical_note": _text,
}
