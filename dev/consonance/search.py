"""Selects records by the search attributes of a query, and pages them. Pure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, Protocol, TypeVar

from dev.consonance.publisher import PublisherRecords, full_title, title_of, title_prefix
from dev.consonance.records import Product, WorkRecord

PAGE = 50
"""Works and products in one answer; the vendor does not say, so a client must page until an empty one."""

Search = Mapping[str, Any]


class _Numbered(Protocol):
    id: int


_T = TypeVar("_T", bound=_Numbered)


def works(publisher: PublisherRecords, work_search: Search | None, product_search: Search | None) -> list[WorkRecord]:
    found = [work for work in publisher.works.values() if _passes(publisher, work, work_search, _WORK)]
    if product_search:
        found = [work for work in found if _some_product(publisher, work, product_search)]
    return _page(found)


def products(publisher: PublisherRecords, product_search: Search | None, work_search: Search | None) -> list[Product]:
    found = [product for product in publisher.products.values() if product_passes(publisher, product, product_search)]
    if work_search:
        found = [one for one in found if _passes(publisher, publisher.works[one.work_id], work_search, _WORK)]
    return _page(found)


def product_passes(publisher: PublisherRecords, product: Product, search: Search | None) -> bool:
    return _passes(publisher, product, search, _PRODUCT)


def price_passes(product: Product, search: Search | None) -> bool:
    """Every price here is a recommended retail price including tax, for consumers."""
    asked = search or {}
    if product.amount is None or product.currency_code not in (
        asked.get("currency_code_in") or [product.currency_code]
    ):
        return False
    kinds = asked.get("onix_price_type_code_in") or ["02"]
    ceiling = asked.get("amount_lteq")
    return "02" in kinds and (ceiling is None or product.amount <= ceiling)


def _page(records: Iterable[_T]) -> list[_T]:
    return sorted(records, key=lambda record: record.id)[:PAGE]


def _passes(
    publisher: PublisherRecords, record: Any, search: Search | None, tests: Mapping[str, Callable[..., bool]]
) -> bool:
    asked = {name: value for name, value in (search or {}).items() if value is not None}
    return all(tests[name](publisher, record, value) for name, value in asked.items())


def _some_product(publisher: PublisherRecords, work: WorkRecord, search: Search) -> bool:
    return any(product_passes(publisher, product, search) for product in publisher.products_of(work.id))


def _under_contract(publisher: PublisherRecords, work: WorkRecord, contract_id: int) -> bool:
    contract = publisher.contracts.get(contract_id)
    return contract is not None and contract.work_id == work.id


def _holds(text: str | None, part: str) -> bool:
    return part.casefold() in (text or "").casefold()


def _dated(product: Product, test: Callable[[date], bool]) -> bool:
    return product.publication_date is not None and test(product.publication_date)


_WORK: Mapping[str, Callable[..., bool]] = {
    "after": lambda _, work, value: work.id > value,
    "id_eq": lambda _, work, value: work.id == value,
    "contract_id_eq": _under_contract,
    "changed_since": lambda publisher, work, value: publisher.changed_on(work.id) >= value,
    "title_eq": lambda _, work, value: work.title == value,
    "title_cont": lambda _, work, value: _holds(work.title, value),
    "subtitle_eq": lambda _, work, value: work.subtitle == value,
    "subtitle_cont": lambda _, work, value: _holds(work.subtitle, value),
    "subtitle_present": lambda _, work, value: bool(work.subtitle) == value,
    "imprint_id_in": lambda _, work, value: work.imprint_id in value,
}
_PRODUCT: Mapping[str, Callable[..., bool]] = {
    "after": lambda _, product, value: product.id > value,
    "id_eq": lambda _, product, value: product.id == value,
    "isbn_13_eq": lambda _, product, value: product.isbn_13 == value,
    "isbn_13_in": lambda _, product, value: product.isbn_13 in value,
    "isbn_13_assigned": lambda _, product, value: (product.isbn_13 is not None) == value,
    "title_eq": lambda publisher, product, value: title_of(publisher, product) == value,
    "title_cont": lambda publisher, product, value: _holds(full_title(publisher, product), value),
    "title_prefix_present": lambda publisher, product, value: (
        bool(title_prefix(publisher, product)) == (value != "false")
    ),
    "publication_date_eq": lambda _, product, value: product.publication_date == value,
    "publication_date_gt": lambda _, product, value: _dated(product, lambda day: day > value),
    "publication_date_lt": lambda _, product, value: _dated(product, lambda day: day < value),
    "publication_date_gteq": lambda _, product, value: _dated(product, lambda day: day >= value),
    "publication_date_lteq": lambda _, product, value: _dated(product, lambda day: day <= value),
    "onix_21_product_form_code_in": lambda _, product, value: product.form_code in value,
    "changed_since": lambda publisher, product, value: publisher.changed_on(product.work_id) >= value,
    "product_types": lambda _, product, value: not value or product.typename in value,
}
