"""Values of the fields of works, texts and contracts that are more than an attribute."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from dev.consonance import trade
from dev.consonance.product_fields import price_of
from dev.consonance.publisher import PublisherRecords, credits_of, html, plain
from dev.consonance.records import GratisCopy, MarketingText, Product, WorkRecord
from dev.consonance.search import Search, product_passes

_PRINTED_BEFORE = timedelta(weeks=6)
_PRINT_RUN = 3_000
_SCHEMES = {"THEMA": "Thema", "BISAC": "BISAC", "BIC": "BIC"}


def _full_title(_: PublisherRecords, work: WorkRecord) -> str:
    return f"{work.title}: {work.subtitle}" if work.subtitle else work.title


def _texts(publisher: PublisherRecords, work: WorkRecord, variant_in: list[str] | None = None) -> list[MarketingText]:
    return [text for text in publisher.texts_of(work.id) if not variant_in or text.variant in variant_in]


def _products(publisher: PublisherRecords, work: WorkRecord, product_search: Search | None = None) -> list[Product]:
    return [product for product in publisher.products_of(work.id) if product_passes(publisher, product, product_search)]


def _imprint(publisher: PublisherRecords, work: WorkRecord) -> dict[str, object]:
    return {"id": work.imprint_id, "name": publisher.imprints[work.imprint_id]}


def _subjects(
    _: PublisherRecords, work: WorkRecord, schemes_in: list[str] | None = None, *, main_only: bool | None = None
) -> list[dict[str, object]]:
    codes = [
        {"scheme": _SCHEMES[scheme], "code": code, "description": code, "main": place == 0}
        for scheme, listed in work.subjects.items()
        if not schemes_in or scheme in schemes_in
        for place, code in enumerate(listed)
    ]
    return [code for code in codes if code["main"] or not main_only]


def _memberships(publisher: PublisherRecords, work: WorkRecord) -> list[dict[str, object]]:
    if work.series_id is None:
        return []
    series = publisher.series[work.series_id]
    whole = f"{series['name']}: {series['subtitle']}" if series["subtitle"] else series["name"]
    named = {**series, "title_with_subtitle": whole}
    return [{"id": work.id * 10, "part_number": work.part_number, "series": named}]


def _production_runs(publisher: PublisherRecords, work: WorkRecord) -> list[dict[str, object]]:
    printed = [one for one in publisher.products_of(work.id) if one.typename == "PhysicalBookProduct"]
    empty: dict[str, list[object]] = {
        part: [] for part in ("bindings", "covers", "embellishments", "finishes", "interiors")
    }
    return [
        {
            **empty,
            "id": one.id * 10,
            "name": "First printing",
            "delivery_date": one.publication_date and one.publication_date - _PRINTED_BEFORE,
            "product_ids": [one.id],
            "quantities": [{"id": one.id * 100, "product_id": one.id, "quantity": _PRINT_RUN}],
            "work": work,
            "work_id": work,
        }
        for one in printed
    ]


def _alternate(_: PublisherRecords, text: MarketingText, *, strip_html: bool | None = None) -> str:
    return _shown(text.alternate_external_text_markdown, strip_html)


def _external(_: PublisherRecords, text: MarketingText, *, strip_html: bool | None = None) -> str:
    return _shown(text.external_text_markdown, strip_html)


def _internal(_: PublisherRecords, text: MarketingText, *, strip_html: bool | None = None) -> str:
    return _shown(text.internal_text_markdown, strip_html)


def _shown(markdown: str, strip_html: bool | None) -> str:  # noqa: FBT001 -- the API's own argument
    return plain(markdown) if strip_html else html(markdown)


def _gratis_copies(publisher: PublisherRecords, contract: Any) -> list[GratisCopy]:
    return [copy for copy in publisher.gratis_copies.values() if copy.contract_id == contract.id]


def _client(publisher: PublisherRecords, record: Any) -> dict[str, object]:
    return {"id": record.client_id, "name": publisher.name}


_WORK: Mapping[str, Any] = {
    "alternativeTitles": lambda _, work: "; ".join(work.titles_elsewhere) or None,
    "audience": lambda *_: {"description": "General readers", "onix_audiences": [], "content_warnings": []},
    "authorshipDescription": lambda publisher, work: credits_of(publisher, work.id),
    "bics": lambda _, work: work.subjects.get("BIC", []),
    "bisacs": lambda _, work: work.subjects.get("BISAC", []),
    "bindersOfRecord": lambda *_: [],
    "bindersOfRecordIds": lambda *_: [],
    "contributions": lambda publisher, work: publisher.contributions_of(work.id),
    "contributorPrettyList": lambda publisher, work: credits_of(publisher, work.id),
    "imprint": _imprint,
    "marketingTexts": _texts,
    "prices": lambda publisher, work: [
        price_of(one) for one in publisher.products_of(work.id) if one.amount is not None
    ],
    "prizes": lambda *_: [],
    "productionRuns": _production_runs,
    "products": _products,
    "projectStage": lambda publisher, work: publisher.stages[work.project_stage_id],
    "seriesMemberships": _memberships,
    "similarProducts": lambda *_: [],
    "subjectCodes": _subjects,
    "supportingResources": lambda publisher, work: publisher.resources_of(work.id),
    "titleStatement": _full_title,
}
_MARKETING_TEXT: Mapping[str, Any] = {
    "alternateExternalText": _alternate,
    "approvalStatusName": lambda _, text: text.approval_status.replace("_", " ").capitalize(),
    "externalText": _external,
    "externalTextNumberOfCharacters": lambda _, text: len(text.external_text_markdown),
    "htmlCharsCount": lambda _, text: str(len(html(text.external_text_markdown))),
    "internalText": _internal,
    "internalTextNumberOfCharacters": lambda _, text: len(text.internal_text_markdown),
    "onixContentAudiences": lambda _, text: [trade.onix(code) for code in text.onix_content_audience_codes],
}
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "Work": _WORK,
    "MarketingText": _MARKETING_TEXT,
    "Contract": {
        "client": _client,
        "gratisCopies": _gratis_copies,
        "work": lambda publisher, contract: publisher.works[contract.work_id],
    },
}
