"""The roots of a read: the documented ones, and those of the extended profile."""

from collections.abc import Mapping
from typing import Any

from dev.consonance import search
from dev.consonance.edits import contact_of
from dev.consonance.house import House
from dev.consonance.read_products import prices
from dev.consonance.records import (
    Acknowledgement,
    Acquisition,
    Contact,
    ContactKind,
    Contract,
    Milestone,
    Product,
    RightsRequest,
    Work,
)
from dev.consonance.search import Search


def _works(
    house: House, _: None, work_search: Search | None = None, product_search: Search | None = None
) -> list[Work]:
    return search.works(house, work_search, product_search)


def _work(house: House, _: None, work_search: Search | None = None) -> Work | None:
    return next(iter(search.works(house, work_search, None)), None)


def _products(
    house: House,
    _: None,
    product_search: Search | None = None,
    work_search: Search | None = None,
    price_search: Search | None = None,
) -> list[Product]:
    found = search.products(house, product_search, work_search)
    return [one for one in found if prices(house, one, price_search)] if price_search else found


def _product(house: House, _: None, product_search: Search | None = None) -> Product | None:
    return next(iter(search.products(house, product_search, None)), None)


def _contract(house: House, _: None, contract_search: Search | None = None) -> Contract | None:
    return house.contracts.get((contract_search or {}).get("id_eq", 0))


def _contacts(house: House, _: None, contact_search: Search | None = None) -> list[Contact]:
    """All of them: no page or filter by time is known for contacts."""
    part = (contact_search or {}).get("person_name_cont") or ""
    return [one for one in house.contacts.values() if part.casefold() in one.name.casefold()]


def _organisation(house: House, _: None, organisation_search: Search | None = None) -> Contact | None:
    name = (organisation_search or {}).get("name_eq")
    organisations = (one for one in house.contacts.values() if one.kind is ContactKind.ORGANISATION)
    return next((one for one in organisations if one.name == name), None)


def _person(house: House, _: None, id: int | None = None) -> Contact | None:  # noqa: A002 -- the API's argument
    found = house.contacts.get(id or 0)
    return found if found and found.kind is ContactKind.PERSON else None


def _acquisition(
    house: House,
    _: None,
    reference: str | None = None,
    dedupe_key: str | None = None,
    acquisition_id: str | None = None,
) -> Acquisition | None:
    asked = {"reference": reference, "dedupe_key": dedupe_key, "acquisition_id": acquisition_id}
    given = {name: value for name, value in asked.items() if value is not None}
    matching = (one for one in house.acquisitions.values() if given and given.items() <= vars(one).items())
    return next(matching, None)


def _acknowledgement(house: House, _: None, document_id: str, contact_id: int | None = None) -> Acknowledgement | None:
    return house.acknowledgements.get(f"{document_id}/{contact_id or ''}")


def _rights_requests(house: House, _: None, work_id: int | None = None) -> list[RightsRequest]:
    return [one for one in house.rights_requests.values() if work_id in (None, one.work_id)]


def _milestones(house: House, _: None, work_id: int | None = None) -> list[Milestone]:
    return [one for one in house.milestones.values() if work_id in (None, one.work_id)]


FIELDS: Mapping[str, Mapping[str, Any]] = {
    "Query": {
        "works": _works,
        "work": _work,
        "products": _products,
        "product": _product,
        "contract": _contract,
        "contacts": _contacts,
        "organisation": _organisation,
        "person": _person,
    }
}
EXTENDED: Mapping[str, Mapping[str, Any]] = {
    "Query": {
        "projectStages": lambda house, _: [{"id": id_, "name": name} for id_, name in house.stages.items()],
        "rightsRequest": lambda house, _, request_id: house.rights_requests.get(request_id),
        "rightsRequests": _rights_requests,
        "rightsRecord": lambda house, _, rights_record_id: house.rights_records.get(rights_record_id),
        "acquisition": _acquisition,
        "acquisitions": lambda house, _: list(house.acquisitions.values()),
        "acknowledgement": _acknowledgement,
        "acknowledgements": lambda house, _: list(house.acknowledgements.values()),
        "milestone": lambda house, _, milestone_id: house.milestones.get(milestone_id),
        "milestones": _milestones,
        "contactNotes": lambda house, _, contact_id: contact_of(house, contact_id).notes,
    },
    "RightsRequest": {
        "work": lambda house, one: house.works.get(one.work_id),
        "workflowStage": lambda house, one: house.rights_records[one.rights_record_id].workflow_stage,
    },
    "RightsRecord": {
        "requests": lambda house, record: [
            one for one in house.rights_requests.values() if one.rights_record_id == record.rights_record_id
        ],
    },
    "Milestone": {"work": lambda house, one: house.works.get(one.work_id)},
}
