"""The documented mutations. They overwrite without asking what was there: the real one offers no lock or version."""

from collections.abc import Mapping
from copy import copy
from datetime import date
from typing import Any

from dev.consonance import edits
from dev.consonance.complaints import Complaint, Missing
from dev.consonance.house import House
from dev.consonance.records import GratisCopy
from dev.consonance.written import Written

_SUBJECTS = {"themas": "THEMA", "bisacs": "BISAC", "bics": "BIC"}
_WORK = ("title", "subtitle", "acronym", "alternative_titles", "project_stage_id")
_PRODUCT = (
    "isbn",
    "prefix",
    "title",
    "subtitle",
    "publication_date",
    "planned_publication_date",
    "onix_publishing_status_code",
    "price",
)
_TEXT = (
    "external_text_markdown",
    "internal_text_markdown",
    "alternate_external_text_markdown",
    "onix_language_code",
    "onix_content_audience_codes",
    "product_ids",
    "from_date",
    "until_date",
    "date_published",
    "date_released",
)
Input = Mapping[str, Any]


def update_work(house: House, given: Input, today: date) -> Written:
    """All or nothing, nested products too. Documented fields of no use here (season, tier ids, …) are dropped."""
    work = edits.work_of(house, given["id"])
    fields = {name: given[name] for name in _WORK if name in given}
    subjects = {scheme: given[name] for name, scheme in _SUBJECTS.items() if name in given}
    if subjects:
        fields["subjects"] = {**work.subjects, **subjects}
    nested = given.get("products") or ()
    before = {one["id"]: copy(edits.product_of(house, one["id"])) for one in nested}
    try:
        for one in nested:
            update_product(house, one, today)
        edits.edit_work(house, work.id, fields, today)
    except Complaint:
        house.products |= before
        raise
    return Written(work)


def update_product(house: House, given: Input, today: date) -> Written:
    fields = {name: given[name] for name in _PRODUCT if name in given}
    return Written(edits.edit_product(house, given["id"], fields, today))


def update_contract(house: House, given: Input, _: date) -> Written:
    contract = house.contracts.get(given["id"])
    if contract is None:
        raise Missing(f"Couldn't find Contract with 'id'={given['id']}")
    if "contract_name" in given and not given["contract_name"]:
        raise Complaint("contractName", "can't be blank")
    for name, value in given.items():
        if name not in {"id", "client_mutation_id"}:
            setattr(contract, name, value)
    return Written(contract)


def create_gratis_copy(house: House, given: Input, _: date) -> Written:
    edits.product_of(house, given["product_id"])
    edits.contact_of(house, given["contact_id"])
    if given["number_of_copies"] < 1:
        raise Complaint("numberOfCopies", "must be greater than 0")
    made = GratisCopy(
        id=house.new_id(), **{name: value for name, value in given.items() if name != "client_mutation_id"}
    )
    house.gratis_copies[made.id] = made
    return Written(made)


def update_gratis_copy(house: House, given: Input, _: date) -> Written:
    known = house.gratis_copies.get(given["id"])
    if known is None:
        raise Missing(f"Couldn't find GratisCopy with 'id'={given['id']}")
    for name, value in given.items():
        if name != "client_mutation_id":
            setattr(known, name, value)
    return Written(known)


def create_marketing_text(house: House, given: Input, today: date) -> Written:
    if given.get("work_id") is None:
        raise Complaint("work", "must exist")
    fields = {name: given[name] for name in _TEXT if given.get(name) is not None}
    variant = given.get("variant") or "SHORT_DESCRIPTION"
    return Written(edits.add_text(house, given["work_id"], variant, fields, today))
