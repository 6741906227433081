"""Values of the fields of contacts and contributions that are more than an attribute."""

from collections.abc import Mapping
from typing import Any

from dev.consonance import trade
from dev.consonance.publisher import PublisherRecords
from dev.consonance.records import Contact, ContactKind, Contribution

_POSTCODES = {"GB": "ZZ99 3VZ", "US": "00000"}


def _addresses(_: PublisherRecords, contact: Contact) -> list[dict[str, object]]:
    return [
        {
            "address_line_1": f"{contact.id % 97 + 1} Quay Street",
            "address_line_3": contact.town,
            "postcode": _POSTCODES.get(contact.country),
            "country": trade.onix(contact.country),
        }
    ]


def _contributions(publisher: PublisherRecords, contact: Contact) -> list[Contribution]:
    return [one for one in publisher.contributions.values() if one.contact_id == contact.id]


def _inverted(_: PublisherRecords, person: Contact) -> str:
    return f"{person.key_names}, {person.given_name}" if person.key_names else person.given_name


def _affiliation(publisher: PublisherRecords, person: Contact, agency_id: int) -> dict[str, object]:
    agency = publisher.contacts[agency_id]
    return {
        "id": person.id * 10,
        "contact": person,
        "organisation": agency,
        "organisation_name": agency.name,
        "professional_position": "Agent",
    }


def _affiliations(publisher: PublisherRecords, person: Contact) -> list[dict[str, object]]:
    return [] if person.agency_id is None else [_affiliation(publisher, person, person.agency_id)]


def _affiliated(publisher: PublisherRecords, organisation: Contact) -> list[dict[str, object]]:
    members = (one for one in publisher.contacts.values() if one.agency_id == organisation.id)
    return [_affiliation(publisher, one, organisation.id) for one in members]


def _product_ids(publisher: PublisherRecords, contribution: Contribution) -> list[int]:
    return [product.id for product in publisher.products_of(contribution.work_id)]


_CONTACT: Mapping[str, Any] = {
    "addresses": _addresses,
    "contributions": _contributions,
    "corporateName": lambda _, contact: contact.name if contact.kind is ContactKind.ORGANISATION else None,
}
_CONTRIBUTION: Mapping[str, Any] = {
    "contributor": lambda publisher, one: publisher.contacts[one.contact_id],
    "languagesFrom": lambda *_: [],
    "languagesFromCodes": lambda *_: [],
    "languagesTo": lambda *_: [],
    "languagesToCodes": lambda *_: [],
    "onixContributorRole": lambda _, one: trade.onix(one.role_code),
    "onixContributorRoleCode": lambda _, one: one.role_code,
    "onixTerritories": lambda *_: [],
    "onixTerritoryCodes": lambda *_: [],
    "productIds": _product_ids,
    "work": lambda publisher, one: publisher.works[one.work_id],
}
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "Contact": _CONTACT,
    "Person": {
        "addressAs": lambda _, person: person.given_name,
        "personName": lambda _, person: person.name,
        "personNameInverted": _inverted,
        "professionalAffiliations": _affiliations,
        "roleFulfillments": lambda *_: [],
    },
    "Organisation": {
        "organisationName": lambda _, organisation: organisation.name,
        "organisationCountry": lambda _, organisation: organisation.country,
        "affiliatedProfessionals": _affiliated,
    },
    "Contribution": _CONTRIBUTION,
}
