"""Values of the fields of products and prices that are more than an attribute."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from dev.consonance import trade
from dev.consonance.publisher import (
    PublisherRecords,
    credits_of,
    full_title,
    subtitle_of,
    title_of,
    title_prefix,
    title_without_prefix,
)
from dev.consonance.records import MarketingText, Product, SupportingResource
from dev.consonance.search import Search, price_passes

_DIRECTIVES = "%-d %B %Y"
_MILLIMETRES = {"MM": 1.0, "CM": 10.0, "IN": 25.4}
_HEIGHT, _WIDTH, _THICKNESS = 216.0, 138.0, 22.0


def price_of(product: Product) -> dict[str, Any]:
    code = product.currency_code
    return {
        "id": product.id * 10 + 1,
        "amount": product.amount,
        "price_amount": product.amount,
        "currency_code": code,
        "amount_with_currency_code": f"{code} {product.amount:.2f}",
        "amount_with_currency_symbol": f"£{product.amount:.2f}",
        "label": f"{code} consumer price including tax",
        "onix_price_type": trade.onix("02"),
        "onix_price_type_code": "02",
        "onix_price_type_qualifier": trade.onix("05"),
        "onix_price_type_qualifier_code": "05",
    }


def prices(_: PublisherRecords, product: Product, price_search: Search | None = None) -> list[dict[str, Any]]:
    return [price_of(product)] if price_passes(product, price_search) else []


def _texts(publisher: PublisherRecords, product: Product, variant_in: list[str] | None = None) -> list[MarketingText]:
    texts = [
        text for text in publisher.texts_of(product.work_id) if not text.product_ids or product.id in text.product_ids
    ]
    return [text for text in texts if not variant_in or text.variant in variant_in]


def _resources(publisher: PublisherRecords, product: Product) -> list[SupportingResource]:
    return publisher.resources_of(product.work_id)


def _isbn(_: PublisherRecords, product: Product) -> dict[str, str] | None:
    return None if product.isbn_13 is None else trade.isbn_parts(product.isbn_13)


def _written(day: date | None, directives: str | None) -> str | None:
    return None if day is None else day.strftime(directives or _DIRECTIVES)


def _length(millimetres: float, unit: str | None) -> float:
    return round(millimetres / _MILLIMETRES[unit or "MM"], 1)


_SHARED: Mapping[str, Any] = {
    "title": title_of,
    "fullTitle": full_title,
    "titlePrefix": title_prefix,
    "titleWithoutPrefix": title_without_prefix,
    "subtitle": subtitle_of,
    "authorshipDescription": lambda publisher, product: credits_of(publisher, product.work_id),
    "productAuthorshipDescription": lambda *_: None,
    "contributions": lambda publisher, product: publisher.contributions_of(product.work_id),
    "isbn": _isbn,
    "isForSaleWorldwide": lambda *_: True,
    "forSaleCountryCodes": lambda *_: [],
    "notForSaleCountryCodes": lambda *_: [],
    "salesRightsDescription": lambda *_: "For sale with exclusive rights worldwide",
    "inHouseFormat": lambda _, product: {
        "code": product.form_code,
        "name": trade.onix(product.form_code)["description"],
    },
    "inHouseEdition": lambda *_: {"id": 1, "code": "1", "name": "First edition"},
    "marketingTexts": _texts,
    "supportingResources": _resources,
    "onix21ProductForm": lambda _, product: trade.onix(product.form_code),
    "onix21ProductFormCode": lambda _, product: product.form_code,
    "onixPublishingStatus": lambda _, product: trade.publishing_status(product.status_code),
    "onixPublishingStatusCode": lambda _, product: product.status_code,
    "publicationDateString": lambda _, product, directives=None: _written(product.publication_date, directives),
    "plannedPublicationDateString": (
        lambda _, product, directives=None: _written(product.planned_publication_date, directives)
    ),
    "prices": prices,
    "webLinks": lambda *_: [],
    "work": lambda publisher, product: publisher.works[product.work_id],
}
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "Product": _SHARED,
    "PhysicalBookProduct": {
        "productHeight": lambda _, __, unit=None: _length(_HEIGHT, unit),
        "productWidth": lambda _, __, unit=None: _length(_WIDTH, unit),
        "productThickness": lambda _, __, unit=None: _length(_THICKNESS, unit),
    },
}
