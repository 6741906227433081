"""The root fields of queries: the documented ones, and those of the extended profile."""

from collections.abc import Mapping
from typing import Any

from dev.consonance import search
from dev.consonance.edits import contact_of
from dev.consonance.product_fields import prices
from dev.consonance.publisher import PublisherRecords
from dev.consonance.records import (
    Acknowledgement,
    Acquisition,
    Contact,
    ContactKind,
    Contract,
    Milestone,
    Product,
    RightsRequest,
    WorkRecord,
)
from dev.consonance.search import Search


def _works(
    publisher: PublisherRecords, _: None, work_search: Search | None = None, product_search: Search | None = None
) -> list[WorkRecord]:
    return search.works(publisher, work_search, product_search)


def _work(publisher: PublisherRecords, _: None, work_search: Search | None = None) -> WorkRecord | None:
    return next(iter(search.works(publisher, work_search, None)), None)


def _products(
    publisher: PublisherRecords,
    _: None,
    product_search: Search | None = None,
    work_search: Search | None = None,
    price_search: Search | None = None,
) -> list[Product]:
    found = search.products(publisher, product_search, work_search)
    return [one for one in found if prices(publisher, one, price_search)] if price_search else found


def _product(publisher: PublisherRecords, _: None, product_search: Search | None = None) -> Product | None:
    return next(iter(search.products(publisher, product_search, None)), None)


def _contract(publisher: PublisherRecords, _: None, contract_search: Search | None = None) -> Contract | None:
    return publisher.contracts.get((contract_search or {}).get("id_eq", 0))


def _contacts(publisher: PublisherRecords, _: None, contact_search: Search | None = None) -> list[Contact]:
    """All of them: no page or filter by time is known for contacts."""
    part = (contact_search or {}).get("person_name_cont") or ""
    return [one for one in publisher.contacts.values() if part.casefold() in one.name.casefold()]


def _organisation(publisher: PublisherRecords, _: None, organisation_search: Search | None = None) -> Contact | None:
    name = (organisation_search or {}).get("name_eq")
    organisations = (one for one in publisher.contacts.values() if one.kind is ContactKind.ORGANISATION)
    return next((one for one in organisations if one.name == name), None)


def _person(publisher: PublisherRecords, _: None, id: int | None = None) -> Contact | None:  # noqa: A002 -- the API's argument
    found = publisher.contacts.get(id or 0)
    return found if found and found.kind is ContactKind.PERSON else None


def _acquisition(
    publisher: PublisherRecords,
    _: None,
    reference: str | None = None,
    dedupe_key: str | None = None,
    acquisition_id: str | None = None,
) -> Acquisition | None:
    asked = {"reference": reference, "dedupe_key": dedupe_key, "acquisition_id": acquisition_id}
    given = {name: value for name, value in asked.items() if value is not None}
    matching = (one for one in publisher.acquisitions.values() if given and given.items() <= vars(one).items())
    return next(matching, None)


def _acknowledgement(
    publisher: PublisherRecords, _: None, document_id: str, contact_id: int | None = None
) -> Acknowledgement | None:
    return publisher.acknowledgements.get(f"{document_id}/{contact_id or ''}")


def _rights_requests(publisher: PublisherRecords, _: None, work_id: int | None = None) -> list[RightsRequest]:
    return [one for one in publisher.rights_requests.values() if work_id in (None, one.work_id)]


def _milestones(publisher: PublisherRecords, _: None, work_id: int | None = None) -> list[Milestone]:
    return [one for one in publisher.milestones.values() if work_id in (None, one.work_id)]


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
        "projectStages": lambda publisher, _: [{"id": id_, "name": name} for id_, name in publisher.stages.items()],
        "rightsRequest": lambda publisher, _, request_id: publisher.rights_requests.get(request_id),
        "rightsRequests": _rights_requests,
        "rightsRecord": lambda publisher, _, rights_record_id: publisher.rights_records.get(rights_record_id),
        "acquisition": _acquisition,
        "acquisitions": lambda publisher, _: list(publisher.acquisitions.values()),
        "acknowledgement": _acknowledgement,
        "acknowledgements": lambda publisher, _: list(publisher.acknowledgements.values()),
        "milestone": lambda publisher, _, milestone_id: publisher.milestones.get(milestone_id),
        "milestones": _milestones,
        "contactNotes": lambda publisher, _, contact_id: contact_of(publisher, contact_id).notes,
    },
    "RightsRequest": {
        "work": lambda publisher, one: publisher.works.get(one.work_id),
        "workflowStage": lambda publisher, one: publisher.rights_records[one.rights_record_id].workflow_stage,
    },
    "RightsRecord": {
        "requests": lambda publisher, record: [
            one for one in publisher.rights_requests.values() if one.rights_record_id == record.rights_record_id
        ],
    },
    "Milestone": {"work": lambda publisher, one: publisher.works.get(one.work_id)},
}
